"""Which plans to look at next."""
