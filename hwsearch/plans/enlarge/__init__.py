"""Enlarging pictures by a plan's integers: strips of rows in, strips of rows out."""
