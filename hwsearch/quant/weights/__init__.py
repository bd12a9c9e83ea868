"""Weights: integers, scales, and what equalizes their channels."""
