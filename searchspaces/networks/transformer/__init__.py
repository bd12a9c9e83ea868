"""Networks of attention in windows, one file each."""
