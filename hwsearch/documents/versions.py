"""Versions: of the package, and of whatever else can change a result."""

from __future__ import annotations

import platform
from functools import cache

__version__ = "0.1.0"
"""Of this package: what files and results that it writes say of themselves."""

_VERSIONED = ("hwsearch", "numpy", "numba", "scipy", "torch", "onnx", "onnxruntime", "optuna")


def versions() -> dict[str, str]:
    """Versions of whatever can change a result, without importing any of it."""
    return dict(_found())


@cache
def _found() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version  # a tenth of the time that `hwsearch --help` takes

    found = {"python": platform.python_version()}
    for package in _VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
