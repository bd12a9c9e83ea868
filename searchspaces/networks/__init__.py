"""The networks by name, one file each, and the reading of their weights."""
