"""The rounding steps of fixed-point arithmetic, inlined by every kernel that scales integers.

All numbers are 64 bits wide here, so nothing overflows where a runtime's 32 bits do not; that they do not is for the callers to
show. ``m`` and ``shift`` are those of ``fixed_point.quantize_multiplier``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hwmodels.compiled import compiled

Integer = int | np.signedinteger[Any]
"""A whole number within 64 bits, numpy's or Python's."""


@compiled(inline="always")
def high_multiply(x: Integer, m: Integer) -> Integer:
    """``x m / 2^31`` rounded half up."""
    return (x * m + (1 << 30)) >> 31


@compiled(inline="always")
def divide(x: Integer, exponent: Integer) -> Integer:
    """``x / 2^exponent`` rounded half away from zero."""
    mask = (1 << exponent) - 1
    return (x >> exponent) + (1 if (x & mask) > (mask >> 1) + (1 if x < 0 else 0) else 0)


@compiled(inline="always")
def scaled(x: Integer, m: Integer, shift: Integer) -> Any:
    """``x m 2^(shift - 31)`` in two roundings, the arithmetic "gemmlowp"."""
    if shift > 0:
        return high_multiply(x << shift, m)
    return divide(high_multiply(x, m), -shift)


@compiled(inline="always")
def scaled_once(x: Integer, m: Integer, shift: Integer) -> Integer:
    """``x m 2^(shift - 15)`` in one rounding half up, the arithmetic "i16"; ``m`` has 16 bits."""
    total = 15 - shift
    return (x * m + (1 << (total - 1))) >> total


@compiled(inline="always")
def saturate(x: Integer) -> Integer:
    """Cut to 32 bits."""
    return min(max(x, -(1 << 31)), (1 << 31) - 1)


@compiled(inline="always")
def reciprocal(x: Integer) -> Any:
    """``1 / (1 + x)`` for ``x`` in 0 .. 1, both with 31 fractional bits: three steps of Newton's method in 2 integer bits,
    as the gemmlowp library divides."""
    total = x + (1 << 31) - 1
    half = (total + 1) >> 1  # the mean of x and 1, which are not negative, rounded half up
    y = 1515870810 + high_multiply(half, -1010580540)  # 48/17 - 32/17 half
    for _ in range(3):
        rest = (1 << 29) - high_multiply(half, y)
        y = y + saturate(high_multiply(y, rest) << 2)
    return saturate(y << 1)


@compiled(inline="always")
def bit_length(x: Integer) -> Integer:
    """Bits of a number that is not negative."""
    count = 0
    while x > 0:
        x >>= 1
        count += 1
    return count
