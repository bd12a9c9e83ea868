"""Choosing plans: exactly where objectives add up, by measurement where they do not."""
