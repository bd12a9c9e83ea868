"""The endings of files that hold weights; what such a file holds is told by its content (see ``checkpoint``)."""

from __future__ import annotations

WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
USUAL = ".safetensors, .pth or .pt"
"""Those that a person is told to pass."""
