"""Handing plans to the runtimes that ship them; one file a format."""
