"""Loops that scale and round integers, compiled."""
