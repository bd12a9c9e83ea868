"""Versions of whatever can change a result."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_VERSIONED = ("hwsearch", "numpy", "numba", "scipy", "torch", "onnx", "onnxruntime", "optuna")


def versions() -> dict[str, str]:
    """Versions of whatever can change a result, without importing any of it."""
    found = {"python": platform.python_version()}
    for package in _VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
