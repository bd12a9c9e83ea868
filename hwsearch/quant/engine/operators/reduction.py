"""Mean and sum over axes, as TFLite's reference kernels and TFLite Micro compute them.

Codes are added in 32 bits. For a mean the count is folded into the multiplier: ``m 2^k / N``, ``k`` the largest power of two with
``2^k <= N``, cut off to an integer; then "gemmlowp" with two roundings, for 8 and 16 bits alike.

LiteRT's reference SUM leaves its multiplier unset and answers nonsense, its optimized SUM rounds real numbers; TFLite Micro's
follows this rule.
"""

from __future__ import annotations

import math

import numpy as np

from hwsearch.quant.engine.fixed_point import quantize_multiplier
from hwsearch.quant.engine.kernels.loops.integer_loops import rescale
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.engine.operators.limits import RuntimeLimit

INT32_LIMIT = (1 << 31) - 1


def fits(count: int, grid: Grid) -> bool:
    """Whether the sum of ``count`` codes keeps within 32 bits."""
    return count * max(grid.reach, -int(np.iinfo(grid.dtype).min)) <= INT32_LIMIT


def _totals(x: np.ndarray, grid: Grid, axes: tuple[int, ...], keep: bool) -> tuple[np.ndarray, int]:
    """Sums of shifted codes, int64, and how many codes each has.

    Raises:
        RuntimeLimit: so many codes that 32 bits could overflow (65,536 at 16 bits).
    """
    count = math.prod(x.shape[axis] for axis in axes)
    if not fits(count, grid):
        raise RuntimeLimit(f"a sum of {count} codes could overflow the runtime's 32 bits")
    return x.sum(axis=axes, dtype=np.int64, keepdims=keep) - grid.zero_point * count, count


def _rescaled(totals: np.ndarray, m: int, shift: int, y: Grid) -> np.ndarray:
    out = np.empty(totals.size, np.int64)
    rescale(np.ascontiguousarray(totals).reshape(-1), m, shift, out)
    return y.clamp(out.reshape(totals.shape) + y.zero_point)


def mean(x: np.ndarray, grid: Grid, y: Grid, axes: tuple[int, ...], *, keep: bool = True) -> np.ndarray:
    """MEAN over ``axes``.

    Args:
        keep: leave axes of length 1.
    Raises:
        RuntimeLimit: see ``sum_of``.
    """
    totals, count = _totals(x, grid, axes, keep)
    m, shift = quantize_multiplier(float(grid.step) / float(y.step))
    spare = min(count.bit_length() - 1, 32, 31 + shift)
    return _rescaled(totals, (m << spare) // count, shift - spare, y)


def mean_once(x: np.ndarray, grid: Grid, y: Grid, axes: tuple[int, ...], *, keep: bool = True) -> np.ndarray:
    """MEAN of XNNPACK, 8 bits: the sum times ``s_x / (N s_y)`` in single precision, rounded once, halves to even.

    Raises:
        RuntimeLimit: see ``sum_of``.
    """
    totals, count = _totals(x, grid, axes, keep)
    real = totals.astype(np.float32) * (grid.step / (y.step * np.float32(count)))
    return y.clamp(np.rint(real).astype(np.float64) + y.zero_point)


def sum_of(x: np.ndarray, grid: Grid, y: Grid, axes: tuple[int, ...], *, keep: bool = True) -> np.ndarray:
    """SUM over ``axes``, TFLite Micro.

    Raises:
        RuntimeLimit: so many codes that the runtime's 32 bits could overflow.
    """
    totals, _ = _totals(x, grid, axes, keep)
    return _rescaled(totals, *quantize_multiplier(float(grid.step) / float(y.step)), y)
