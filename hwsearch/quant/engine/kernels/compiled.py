"""Compiling the kernels: numba keeps machine code on disk, and must not find what an older state of the files left there.

For each function numba asks only whether the file of that very function changed, not those of what it calls or inlines, such as
the instructions that ``vector_code`` writes. So the name under which the code is kept has a digest of all the kernels' files.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from importlib import resources
from typing import Any

import numba


def _digest() -> str:
    files = sorted((file.name, file.read_bytes()) for file in resources.files(__package__).iterdir() if file.name.endswith(".py"))
    return sha256(b"".join(content for _, content in files)).hexdigest()[:16]


DIGEST = _digest()


def compiled(function: Callable[..., Any]) -> Any:
    """The function compiled by numba, without Python's lock, its code kept on disk for these files alone."""
    function.__qualname__ = f"{function.__qualname__}_{DIGEST}"  # numba names its file after it
    return numba.njit(cache=True, nogil=True)(function)
