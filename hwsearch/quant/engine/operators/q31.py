"""Fixed-point numbers of 32 bits and the functions that the gemmlowp library has of them, for arrays.

A number with ``n`` integer bits has ``31 - n`` fractional ones. Arrays are int64 and hold 32-bit values; sums and products are
those of ``loops.rounding``, here for whole arrays at once. Tables are made with them, so they need not be fast.
"""

from __future__ import annotations

import numpy as np

ONE = (1 << 31) - 1
"""The greatest number without integer bits, which stands for 1."""
_EIGHTH, _EXP_OF_MINUS_EIGHTH, _THIRD = 1 << 28, 1895147668, 715827883
_POWERS = {-2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401, 4: 242}
"""Exponent of two ``e`` -> ``exp(-2^e)`` with 31 fractional bits."""


def multiply(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """``a b / 2^31`` rounded half up: the product of numbers with ``n`` and ``m`` integer bits, which has ``n + m``."""
    return np.asarray((np.asarray(a, np.int64) * b + (1 << 30)) >> 31)


def divide(x: np.ndarray, exponent: int) -> np.ndarray:
    """``x / 2^exponent`` rounded half away from zero."""
    mask = (1 << exponent) - 1
    return np.asarray((x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0)))


def multiply_quantized(x: np.ndarray, m: int, shift: int) -> np.ndarray:
    """``x m 2^(shift - 31)`` in two roundings."""
    return divide(multiply(np.asarray(x, np.int64) << max(shift, 0), m), max(-shift, 0))


def _saturate(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(x, -(1 << 31), ONE))


def exp_of_negative(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """``e^x`` of numbers up to 0, without integer bits: a polynomial about -1/8 for what is below a quarter, times one constant
    for each further bit that is set."""
    quarter = 1 << (31 - integer_bits - 2)
    inside = (x & (quarter - 1)) - quarter
    a = (inside << integer_bits) + _EIGHTH
    squared = multiply(a, a)
    fourth = divide(multiply(squared, squared), 2)
    tail = divide(multiply(fourth + multiply(squared, a), _THIRD) + squared, 1)
    result = _saturate(_EXP_OF_MINUS_EIGHTH + multiply(a + tail, _EXP_OF_MINUS_EIGHTH))
    rest = inside - x
    for exponent, power in _POWERS.items():
        if exponent < integer_bits:
            bit = 1 << (31 - integer_bits + exponent)
            result = np.where(rest & bit, multiply(result, power), result)
    return np.where(x == 0, ONE, result)


def _newton(x: np.ndarray) -> np.ndarray:
    """``2 / (1 + x)`` for ``x`` in 0 .. 1 with 2 integer bits: three steps of Newton's method."""
    half = (x + ONE + 1) >> 1
    y = 1515870810 + multiply(half, -1010580540)
    for _ in range(3):
        y = y + _saturate(multiply(y, (1 << 29) - multiply(half, y)) << 2)
    return y


def inverse(x: np.ndarray) -> np.ndarray:
    """``1 / (1 + x)`` for ``x`` in 0 .. 1, no integer bits on either side."""
    return _saturate(_newton(x) << 1)


def logistic_31(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """``1 / (1 + e^-x)`` without integer bits."""
    positive = inverse(exp_of_negative(-np.abs(x), integer_bits))
    return np.where(x == 0, 1 << 30, np.where(x > 0, positive, ONE - positive))


def tanh_31(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """The hyperbolic tangent without integer bits, by ``(1 - e^-2x) / (1 + e^-2x)``."""
    size = _saturate((_newton(exp_of_negative(-np.abs(x), integer_bits + 1)) - (1 << 29)) << 2)
    return np.where(x == 0, 0, np.where(x > 0, size, -size))
