"""Quantizing a network: ranges, rounding, simulation, and integer inference."""
