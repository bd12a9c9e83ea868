"""Factors of resizing that a program of unknown origin names: checked before a kernel of PyTorch sees them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

SMALLEST = 1 / 512
"""Below it no network resizes; an antialiased kernel reaches over 2 / factor pixels, and PyTorch's ends the process where that is
no number that it can count to."""


def scales_fault(operator: str, given: Iterable[Any]) -> str | None:
    """What is wrong with the arguments of an operator, as a clause; None where nothing is.

    Args:
        operator: its name without overload, "_upsample_bilinear2d_aa".
        given: its arguments, of which those that are floating point are factors.
    """
    if "upsample" not in operator:
        return None
    for value in given:
        for factor in value if isinstance(value, list | tuple) else (value,):
            if isinstance(factor, float) and not SMALLEST <= factor < math.inf:
                return f"a resize by a factor of {factor:g}"
    return None
