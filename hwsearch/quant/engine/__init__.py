"""Executing the quantized network: in integers, code for code, and quickly simulated."""
