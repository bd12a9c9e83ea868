"""Products of two matrices of activations, batch by batch.

TFLite's BATCH_MATMUL, LiteRT's kernels (reference and optimized) and TFLite Micro: sums ``sum_k (a - z_a)(b - z_b)`` of 32 bits
for 8-bit operands and of 64 for 16-bit ones, times ``s_a s_b / s_y``, where LiteRT takes the product in single precision and
TFLite Micro in double; two roundings ("gemmlowp") at 8 bits, at 16 bits a multiplier of 16 bits and one rounding ("i16").

ONNX Runtime's QLinearMatMul and QGemm, 8 bits: ``rint(fp32(fp32(sum) M)) + z_y`` with ``M = fp32(fp32(s_a s_b) / s_y)``.

Sums are computed by floating-point matrix products that lose nothing: no partial sum, in any order, exceeds ``K R_a R_b``, where
``R`` is the largest distance of a code from its zero point, so float32 is exact up to 2^24 and float64 up to 2^53.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hwsearch.quant.engine.fixed_point import quantize_multiplier, reduced
from hwsearch.quant.engine.kernels.loops.integer_loops import rescale, rescale_once
from hwsearch.quant.engine.operators.activation import Library
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.engine.operators.limits import RuntimeLimit

FLOAT32_LIMIT, FLOAT64_LIMIT = 1 << 24, 1 << 53
INT32_LIMIT, INT48_LIMIT = (1 << 31) - 1, 1 << 47
"""Sums that 32-bit accumulators hold, and that the 64-bit rescaling of TFLite is defined for."""


def sums(a: np.ndarray, b: np.ndarray, grid_a: Grid, grid_b: Grid) -> np.ndarray:
    """``sum_k (a - z_a)(b - z_b)``, int64 ``[..., M, N]``, of ``a [..., M, K]`` and ``b [..., K, N]``; batches broadcast.

    Raises:
        RuntimeLimit: a sum exceeds the runtime's accumulator (8 bits: 32 bits, which 33,000 products can; 16 bits: 2^47, which
        32,768 can). On the way to a sum that fits, an accumulator wraps around and comes back.
    """
    depth, most = a.shape[-1], grid_a.reach * grid_b.reach
    limit = INT48_LIMIT if grid_a.wide else INT32_LIMIT
    left, right = (torch.from_numpy(x.astype(np.int32)) - grid.zero_point for x, grid in ((a, grid_a), (b, grid_b)))
    found: np.ndarray = exact(left, right, most).numpy().astype(np.int64)
    if depth * most > limit and (largest := int(np.abs(found).max(initial=0))) > limit:
        raise RuntimeLimit(f"sums of {depth:,} products reach {largest:,}, the runtime's accumulator holds {limit:,}")
    return found


def exact(a: Tensor, b: Tensor, most: int) -> Tensor:
    """The product of two tensors of whole numbers, in the floating-point type that holds every partial sum.

    Args:
        most: largest magnitude of one product.
    """
    carrier = torch.float32 if a.shape[-1] * most <= FLOAT32_LIMIT else torch.float64
    return torch.matmul(a.to(carrier), b.to(carrier))


def requantize(total: np.ndarray, real: float, y: Grid) -> np.ndarray:
    """Sums times ``real`` to codes: two roundings for an 8-bit ``y``, the 16-bit multiplier and one rounding for a 16-bit one.

    Raises:
        RuntimeLimit: ``real`` times the largest sum exceeds the runtime's 32-bit result.
    """
    m, shift = quantize_multiplier(real)
    if total.size and float(np.abs(total).max()) * max(real, 1.0) > INT32_LIMIT and real > 1:
        raise RuntimeLimit(f"a multiplier of {real:.3g} takes sums beyond 32 bits")
    out = np.empty(total.size, np.int64)
    if y.wide:
        rescale_once(total.reshape(-1), int(reduced(np.array(m))), shift, out)
    else:
        rescale(total.reshape(-1), m, shift, out)
    return y.clamp(out.reshape(total.shape) + y.zero_point)


def batch_matmul(
    a: np.ndarray,
    b: np.ndarray,
    grid_a: Grid,
    grid_b: Grid,
    y: Grid,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    library: Library = "litert",
) -> np.ndarray:
    """BATCH_MATMUL of TFLite: codes ``a [..., M, K]`` (``[..., K, M]`` if transposed) and ``b [..., K, N]`` to ``y [..., M, N]``.

    Raises:
        RuntimeLimit: see ``sums`` and ``requantize``.
    """
    left = np.swapaxes(a, -1, -2) if transpose_a else a
    right = np.swapaxes(b, -1, -2) if transpose_b else b
    product = grid_a.step * grid_b.step if library == "litert" else float(grid_a.step) * float(grid_b.step)
    real = float(product) / float(y.step)
    return requantize(sums(left, right, grid_a, grid_b), real, y)
