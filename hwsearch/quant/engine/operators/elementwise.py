"""Operators of two tensors that broadcast, as TFLite's reference kernels and TFLite Micro compute them.

* ADD and SUB bring both operands to the scale ``2 max(s_a, s_b)`` with 20 bits to spare (15 at 16 bits), add, and multiply down.
* SQUARED_DIFFERENCE does the same with 7 bits to spare (none at 16 bits, where LiteRT has no kernel and TFLite Micro has).
* MUL multiplies the shifted codes and then by ``s_a s_b / s_y``: taken in single precision in LiteRT, in double in TFLite Micro.
* DIV multiplies by a reciprocal of 31 bits, then by ``s_a / (s_b s_y)``, taken in single precision in LiteRT, in double in TFLite
  Micro, which has no 16-bit kernel.
* MINIMUM and MAXIMUM compare codes; all three tensors share one grid.

All roundings are those of "gemmlowp". Nothing overflows 32 bits: shifted codes with their spare bits stay within ``255 2^20``
(below 2^28) at 8 bits and ``2^15 2^15`` at 16, operands are halved before they are added, differences stay below 2^15 before they
are squared, and products of codes within 2^30. Shapes follow numpy's broadcasting.
"""

from __future__ import annotations

import numpy as np

from hwsearch.quant.engine.fixed_point import quantize_multiplier
from hwsearch.quant.engine.kernels.loops import integer_loops
from hwsearch.quant.engine.operators.activation import Library
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.engine.operators.limits import RuntimeLimit


def _pairs(a: np.ndarray, b: np.ndarray, grid_a: Grid, grid_b: Grid) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Shifted codes of both, int32, flat, of one length; and the common shape."""
    left, right = a.astype(np.int32) - grid_a.zero_point, b.astype(np.int32) - grid_b.zero_point
    shape = np.broadcast_shapes(a.shape, b.shape)
    flat = (np.ascontiguousarray(np.broadcast_to(side, shape)).reshape(-1) for side in (left, right))
    return next(flat), next(flat), shape


def _multipliers(*reals: float) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.array([quantize_multiplier(real) for real in reals], np.int64)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def _below_one(real: float, what: str) -> float:
    """Raises: RuntimeLimit: the kernel takes no multiplier from 1 on."""
    if real >= 1:
        raise RuntimeLimit(f"{what}: the output's steps are too fine (multiplier {real:.3g})")
    return real


def _weighted(a: np.ndarray, b: np.ndarray, grid_a: Grid, grid_b: Grid, y: Grid, sign: int) -> np.ndarray:
    spare = 15 if y.wide else 20
    twice = 2 * max(float(grid_a.step), float(grid_b.step))
    down = _below_one(twice / ((1 << spare) * float(y.step)), "addition")
    m, shift = _multipliers(float(grid_a.step) / twice, float(grid_b.step) / twice, down)
    left, right, shape = _pairs(a, b, grid_a, grid_b)
    out = np.empty(left.size, np.int64)
    integer_loops.weighted_sum(left, right, spare, m, shift, sign, out)
    return y.clamp(out.reshape(shape) + y.zero_point)


def add(a: np.ndarray, b: np.ndarray, grid_a: Grid, grid_b: Grid, y: Grid) -> np.ndarray:
    """ADD, 8 or 16 bits.

    Raises:
        RuntimeLimit: the output's steps are so fine that the kernel has no multiplier.
    """
    return _weighted(a, b, grid_a, grid_b, y, 1)


def subtract(a: np.ndarray, b: np.ndarray, grid_a: Grid, grid_b: Grid, y: Grid) -> np.ndarray:
    """SUB, 8 or 16 bits; errors as for ``add``."""
    return _weighted(a, b, grid_a, grid_b, y, -1)


def squared_difference(a: np.ndarray, b: np.ndarray, grid_a: Grid, grid_b: Grid, y: Grid) -> np.ndarray:
    """SQUARED_DIFFERENCE: 8 bits in both libraries, 16 bits in TFLite Micro.

    Raises:
        RuntimeLimit: the output's steps are so fine that the kernel has no multiplier.
    """
    spare = 0 if y.wide else 7
    twice = 2 * max(float(grid_a.step), float(grid_b.step))
    down = _below_one(twice * twice / ((1 << 2 * spare) * float(y.step)), "squared difference")
    m, shift = _multipliers(float(grid_a.step) / twice, float(grid_b.step) / twice, down)
    left, right, shape = _pairs(a, b, grid_a, grid_b)
    out = np.empty(left.size, np.int64)
    integer_loops.squared_difference(left, right, spare, m, shift, out)
    return y.clamp(out.reshape(shape) + y.zero_point)


def _of_product(grid_a: Grid, grid_b: Grid, y: Grid, library: Library) -> float:
    if library == "litert":
        return float(grid_a.step * grid_b.step / y.step)
    return float(grid_a.step) * float(grid_b.step) / float(y.step)


def multiplies(grid_a: Grid, grid_b: Grid, y: Grid, library: Library = "litert") -> bool:
    """Whether rescaled products of any codes keep within 32 bits."""
    return grid_a.reach * grid_b.reach * _of_product(grid_a, grid_b, y, library) <= (1 << 31) - 1


def multiply(a: np.ndarray, b: np.ndarray, grid_a: Grid, grid_b: Grid, y: Grid, library: Library = "litert") -> np.ndarray:
    """MUL, 8 or 16 bits.

    Raises:
        RuntimeLimit: the multiplier takes products beyond 32 bits.
    """
    real = _of_product(grid_a, grid_b, y, library)
    if not multiplies(grid_a, grid_b, y, library):
        raise RuntimeLimit(f"a multiplier of {real:.3g} takes products beyond 32 bits")
    left, right, shape = _pairs(a, b, grid_a, grid_b)
    out = np.empty(left.size, np.int64)
    integer_loops.product(left, right, *quantize_multiplier(real), out)
    return y.clamp(out.reshape(shape) + y.zero_point)


def multiply_once(a: np.ndarray, b: np.ndarray, grid_a: Grid, grid_b: Grid, y: Grid) -> np.ndarray:
    """MUL of XNNPACK, 8 bits, on x86: products times ``s_a s_b / s_y`` in single precision, rounded once, halves to even."""
    left, right, shape = _pairs(a, b, grid_a, grid_b)
    real = (left * right).astype(np.float32) * (grid_a.step * grid_b.step / y.step)
    return y.clamp(np.rint(real).reshape(shape).astype(np.float64) + y.zero_point)


def divide(a: np.ndarray, b: np.ndarray, grid_a: Grid, grid_b: Grid, y: Grid, library: Library = "litert") -> np.ndarray:
    """DIV: 8 bits in both libraries, 16 bits in LiteRT.

    Raises:
        RuntimeLimit: a divisor is zero, which runtimes refuse; or a quotient is so far from the output's steps that the kernel
        shifts by more than 31 bits, which has no defined result (at 8 bits never, where ``s_a / (s_b s_y)`` is 64 to 2^22).
    """
    if (b == grid_b.zero_point).any():
        raise RuntimeLimit("division by zero")
    if library == "litert":
        real = float(grid_a.step / (grid_b.step * y.step))
    else:
        real = float(grid_a.step) / (float(grid_b.step) * float(y.step))
    left, right, shape = _pairs(a, b, grid_a, grid_b)
    out = np.empty(left.size, np.int64)
    least, most = integer_loops.quotient(left, right, *quantize_multiplier(real), out)
    if least < 0 or most > 31:
        raise RuntimeLimit(
            f"a division with the multiplier {real:.3g}: the kernel would shift by {most if most > 31 else least} bits"
        )
    return y.clamp(out.reshape(shape) + y.zero_point)


def minimum(a: np.ndarray, b: np.ndarray, y: Grid) -> np.ndarray:
    """MINIMUM of codes of one grid."""
    return y.clamp(np.minimum(a, b))


def maximum(a: np.ndarray, b: np.ndarray, y: Grid) -> np.ndarray:
    """MAXIMUM of codes of one grid."""
    return y.clamp(np.maximum(a, b))
