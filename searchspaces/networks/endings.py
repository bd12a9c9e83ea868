"""The endings of files that hold weights; what such a file holds is told by its content (see ``checkpoint``)."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
USUAL = ".safetensors, .pth or .pt"
"""Those that a person is told to pass."""
INDEX = ".index.json"
"""Of an index of weights in several files (see ``shards``)."""


def is_index(path: Path) -> bool:
    """Whether a file is called as an index of weights in several files is."""
    return path.name.lower().endswith(INDEX)


def is_weights(path: Path) -> bool:
    """Whether a file is called as weights are."""
    return path.suffix.lower() in WEIGHTS or is_index(path)
