"""The quantized network: its formats, its integers, and both on disk."""
