"""The quantized network: its formats, its integers, both on disk; its rewriting for a plan, and what its arithmetic adds."""
