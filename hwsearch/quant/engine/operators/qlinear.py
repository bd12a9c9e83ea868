"""ONNX Runtime's integer operators between 8-bit tensors, as its CPU kernels compute them.

Containers are int8 or uint8; the kernels add zero points in floating point, so which of the two it is may show in a code. All
real numbers are single precision, and "rint" rounds halves to even.

* QLinearMatMul, QGemm: ``rint(fp32(fp32(sum) M)) + z_y``, ``M = fp32(fp32(s_a s_b) / s_y)``; sums of 32 bits.
* QLinearMul: ``rint(fp32(fp32(fp32(a b) M) + z_y))`` of shifted codes (``MlasQLinearMul``, the vector kernels).
* QLinearAdd: fused multiply-adds, in the order that ``requant`` describes; see ``add``.
* QLinearSoftmax: a table of ``e^(s_x (q - 255))``, moved up so that sums use the range of single precision, one float sum and one
  division an entry; times ``floor(1 / s_y)``. How far up is a logarithm in single precision.
* QLinearSigmoid, QLinearLeakyRelu: ``lookup.rounded``.

Operators that ONNX Runtime leaves in floating point between DequantizeLinear and QuantizeLinear (LayerNormalization, Gelu, Exp,
ReduceMean, everything at 16 bits) have no integer form: ``agreement`` lists them.
"""

from __future__ import annotations

import math

import numpy as np

from hwsearch.quant.engine.kernels.loops.float_loops import fused_sum, rational_logistic
from hwsearch.quant.engine.operators import lookup
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.engine.operators.limits import RuntimeLimit
from hwsearch.quant.engine.operators.matmul import sums


def _rounded(steps: np.ndarray, y: Grid) -> np.ndarray:
    """``rint`` and the zero point, cut to the bounds."""
    return y.clamp(np.rint(np.clip(steps, -(1 << 24), 1 << 24)).astype(np.int64) + y.zero_point)


def matmul(a: np.ndarray, b: np.ndarray, grid_a: Grid, grid_b: Grid, y: Grid, *, bias: np.ndarray | None = None) -> np.ndarray:
    """QLinearMatMul, or QGemm with ``bias int32 [N]`` in units of ``s_a s_b``: codes ``[..., M, K]`` and ``[..., K, N]``.

    Raises:
        RuntimeLimit: sums could exceed 32 bits.
    """
    total = sums(a, b, grid_a, grid_b)
    if bias is not None:
        total = total + bias
    return _rounded(total.astype(np.float32) * (grid_a.step * grid_b.step / y.step), y)


def multiply(a: np.ndarray, b: np.ndarray, grid_a: Grid, grid_b: Grid, y: Grid) -> np.ndarray:
    """QLinearMul; shapes broadcast."""
    left, right = a.astype(np.int32) - grid_a.zero_point, b.astype(np.int32) - grid_b.zero_point
    steps = (left * right).astype(np.float32) * (grid_a.step * grid_b.step / y.step) + np.float32(y.zero_point)
    return y.clamp(np.rint(np.clip(steps, -(1 << 24), 1 << 24)).astype(np.int64))


def add(a: np.ndarray, b: np.ndarray, grid_a: Grid, grid_b: Grid, y: Grid) -> np.ndarray:
    """QLinearAdd; shapes broadcast. Where the innermost axis on which they differ repeats ``a``, the kernel takes ``b`` first."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    sides = [(1,) * (len(shape) - x.ndim) + x.shape for x in (a, b)]
    inner = next(((m, n) for m, n in zip(*(reversed(side) for side in sides), strict=True) if max(m, n) > 1), (1, 1))
    if inner[0] < inner[1]:
        a, b, grid_a, grid_b = b, a, grid_b, grid_a
    left, right = (np.ascontiguousarray(np.broadcast_to(side, shape)).reshape(-1).astype(np.float32) for side in (a, b))
    ratio_a, ratio_b = grid_a.step / y.step, grid_b.step / y.step
    out = np.empty(left.size, np.float32)
    fused_sum(left, right, ratio_a, ratio_b, np.float32(grid_a.zero_point), np.float32(grid_b.zero_point),
              np.float32(y.zero_point), out)  # fmt: skip
    return y.clamp(out.reshape(shape).astype(np.int64))


def softmax_overflows(length: int, step: float) -> bool:
    """Whether single precision overflows in QLinearSoftmax, which then writes wrong codes without a word: rows of so few entries
    (one, for steps of 1/256) beside an output of so fine ``step``."""
    return float(np.floor(np.float32(1) / np.float32(step))) * float(np.exp(-5.0)) >= length


def softmax(x: np.ndarray, grid: Grid, y: Grid) -> np.ndarray:
    """QLinearSoftmax over the last axis, codes ``[..., K]``.

    Raises:
        RuntimeLimit: single precision overflows in the kernel (``softmax_overflows``).
    """
    length = x.shape[-1]
    if softmax_overflows(length, y.scale):
        raise RuntimeLimit(f"a softmax over {length} entries with steps of {y.scale:.3g}: the kernel's numbers overflow")
    room = float(np.float32(np.finfo(np.float32).max) / np.float32(length))
    # The kernel's logarithm is that of C in single precision, which is the exact one, rounded: seen for 1 to 4999 entries.
    above = max(0.0, float(np.float32(math.log(room))) - 5) / float(grid.step)
    table = np.exp((np.arange(256) - 255 + above) * float(grid.step)).astype(np.float32)
    place = x.astype(np.int32)
    value = table[255 + place - place.max(axis=-1, keepdims=True)]
    total = np.add.accumulate(value, axis=-1, dtype=np.float32)[..., -1:]
    steps = value * np.floor(np.float32(1) / y.step) / total
    return _rounded(steps, y)


def sigmoid(x: Grid, y: Grid) -> np.ndarray:
    """The table of QLinearSigmoid, whose logistic function is an approximation of its own."""

    def approximated(real: np.ndarray) -> np.ndarray:
        out = np.empty_like(real)
        rational_logistic(real, out)
        return out

    return lookup.rounded(approximated, x, y)


def leaky_relu(x: Grid, y: Grid, slope: float) -> np.ndarray:
    """The table of QLinearLeakyRelu."""
    return lookup.rounded(lambda real: np.where(real >= 0, real, np.float32(slope) * real), x, y)
