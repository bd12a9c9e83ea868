"""Doors for parts of any kind, ours and other people's: found by their folder, by entry points, or in files that are named."""
