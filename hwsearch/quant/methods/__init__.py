"""How ranges and integers are found."""
