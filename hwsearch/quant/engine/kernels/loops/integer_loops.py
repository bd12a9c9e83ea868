"""Loops over the codes of two tensors, and over the rows of a softmax: what numpy would do in many passes, in one.

Flat arrays of one length; codes come as int32, already less their zero points, sums as int64. What is written still lacks the
zero point of the output and the clamp, which ``Grid`` does.
"""

from __future__ import annotations

import numpy as np

from hwmodels.compiled import compiled
from hwsearch.quant.engine.kernels.loops.rounding import (
    Integer,
    bit_length,
    divide,
    high_multiply,
    reciprocal,
    scaled,
    scaled_once,
)


@compiled
def rescale(sums: np.ndarray, m: int, shift: int, out: np.ndarray) -> None:
    """Each sum times ``m 2^(shift - 31)`` in two roundings."""
    for i in range(sums.size):
        out[i] = scaled(sums[i], m, shift)


@compiled
def rescale_once(sums: np.ndarray, m: int, shift: int, out: np.ndarray) -> None:
    """Each sum times ``m 2^(shift - 15)`` in one rounding; ``m`` has 16 bits."""
    for i in range(sums.size):
        out[i] = scaled_once(sums[i], m, shift)


@compiled
def weighted_sum(a: np.ndarray, b: np.ndarray, spare: int, m: np.ndarray, shift: np.ndarray, sign: int, out: np.ndarray) -> None:
    """``a + sign b`` on the common scale of ``m[0]`` and ``m[1]`` with ``spare`` further bits, then times ``m[2]``."""
    for i in range(a.size):
        x = scaled(np.int64(a[i]) << spare, m[0], shift[0])
        y = scaled(np.int64(b[i]) << spare, m[1], shift[1])
        out[i] = scaled(x + sign * y, m[2], shift[2])


@compiled
def squared_difference(a: np.ndarray, b: np.ndarray, spare: int, m: np.ndarray, shift: np.ndarray, out: np.ndarray) -> None:
    """``(a - b)^2``, the operands as in ``weighted_sum``."""
    for i in range(a.size):
        x = scaled(np.int64(a[i]) << spare, m[0], shift[0])
        y = scaled(np.int64(b[i]) << spare, m[1], shift[1])
        out[i] = scaled((x - y) * (x - y), m[2], shift[2])


@compiled
def product(a: np.ndarray, b: np.ndarray, m: int, shift: int, out: np.ndarray) -> None:
    """``a b`` times ``m 2^(shift - 31)``."""
    for i in range(a.size):
        out[i] = scaled(np.int64(a[i]) * np.int64(b[i]), m, shift)


@compiled
def quotient(a: np.ndarray, b: np.ndarray, m: int, shift: int, out: np.ndarray) -> tuple[Integer, Integer]:
    """``a / b`` times ``m 2^(shift - 31)``; no ``b`` is zero. The reciprocal has 31 bits, and ``a`` is moved up by as many bits
    as 32 allow before it is multiplied.

    Returns the least and the greatest number of bits by which a result that is not zero was moved down.
    """
    least: Integer = 31
    most: Integer = 0
    for i in range(a.size):
        x, y = np.int64(a[i]), np.int64(b[i])
        if y < 0:
            x, y = -x, -y
        bits = bit_length(y)
        inverse = reciprocal((y << (32 - bits)) - (1 << 31))
        headroom = 31 - bit_length(x if x >= 0 else -x - 1)
        down = bits - 1 + headroom - shift
        if x == 0:
            out[i] = 0
            continue
        least, most = min(least, down), max(most, down)
        out[i] = divide(high_multiply(high_multiply(x << headroom, inverse), m), min(max(down, 0), 62))
    return least, most


@compiled
def softmax_8(rows: np.ndarray, exponential: np.ndarray, narrow: np.ndarray, bits: int, out: np.ndarray) -> None:
    """Rows ``[N, K]`` of 8-bit codes.

    ``exponential[d]`` is ``exp`` of ``d`` steps below the greatest code with 31 fractional bits, ``narrow[d]`` the same with
    19, both zero where the runtime adds nothing. ``out`` counts from 0, with ``bits`` bits.
    """
    for r in range(rows.shape[0]):
        greatest, total = rows[r].max(), np.int64(0)
        for c in range(rows.shape[1]):
            total += narrow[greatest - rows[r, c]]
        length = bit_length(total)
        scale = reciprocal((total << (32 - length)) - (1 << 31))
        exponent = 12 - (32 - length) + 31 - bits
        for c in range(rows.shape[1]):
            out[r, c] = divide(high_multiply(scale, exponential[greatest - rows[r, c]]), exponent)


@compiled
def softmax_16(rows: np.ndarray, exponential: np.ndarray, inverse: np.ndarray, m: int, shift: int, out: np.ndarray) -> None:
    """Rows ``[N, K]`` of 16-bit codes; ``exponential`` and ``inverse`` are tables of 65536 entries with 15 fractional bits, ``m``
    and ``shift`` take a difference of codes to entries of the first."""
    for r in range(rows.shape[0]):
        greatest, total = rows[r].max(), np.int64(0)
        for c in range(rows.shape[1]):
            place = scaled(np.int64(rows[r, c] - greatest), m, shift) + 32767
            out[r, c] = exponential[min(max(place, -32768), 32767) + 32768]
            total += out[r, c]
        length = bit_length(total)
        place = (((total << (31 - length)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16)
        scale = np.int64(inverse[min(max(int(place), -32768), 32767) + 32768])
        right = length - 1
        for c in range(rows.shape[1]):
            out[r, c] = (out[r, c] * scale + (1 << (right - 1))) >> right
