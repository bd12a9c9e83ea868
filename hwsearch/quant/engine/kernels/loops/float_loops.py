"""Loops in single precision whose roundings numpy cannot express: fused multiply-adds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from hwmodels.compiled import compiled
from hwsearch.quant.engine.kernels.products.vector_code import intrinsic


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a b + c`` with one rounding, float32."""
    f32 = types.float32
    return f32(f32, f32, f32), lambda context, builder, signature, args: builder.fma(*args)


@compiled
def fused_sum(
    a: np.ndarray, b: np.ndarray, ratio_a: np.float32, ratio_b: np.float32, zero_a: np.float32, zero_b: np.float32,
    zero: np.float32, out: np.ndarray,
) -> None:  # fmt: skip
    """``rint(a ratio_a + (b ratio_b + (zero - (zero_a ratio_a + zero_b ratio_b))))``, each bracket rounded once."""
    fix = zero - fma(zero_a, ratio_a, zero_b * ratio_b)
    for i in range(a.size):
        out[i] = np.rint(fma(a[i], ratio_a, fma(b[i], ratio_b, fix)))


_ODD = tuple(
    map(
        np.float32,
        (4.37031012579801e-11, 1.15627324459942e-07, 6.08574864600143e-05, 8.51377133304701e-03, 2.48287947061529e-01),
    )
)
_EVEN = tuple(
    map(
        np.float32,
        (
            *(6.10247389755681e-13, 5.76102136993427e-09, 6.29106785017040e-06),
            *(1.70198817374094e-03, 1.16817656904453e-01, 9.93151921023180e-01),
        ),
    )
)
"""Coefficients of the quotient of polynomials by which Eigen and ONNX Runtime approximate the logistic function less a half;
highest power first."""


@compiled
def rational_logistic(x: np.ndarray, out: np.ndarray) -> None:
    """The logistic function as ONNX Runtime's vector kernels (x86 with FMA) approximate it, within a few last places."""
    for i in range(x.size):
        value = min(max(x[i], np.float32(-18)), np.float32(18))
        square = np.float32(value * value)
        odd, even = _ODD[0], _EVEN[0]
        for power in range(1, 5):
            odd = fma(odd, square, _ODD[power])
        for power in range(1, 6):
            even = fma(even, square, _EVEN[power])
        result = np.float32(np.float32(np.float32(odd * value) / even) + np.float32(0.5))
        out[i] = min(max(result, np.float32(0)), np.float32(1))


@compiled
def normalize(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: np.float32, out: np.ndarray) -> None:
    """Layer normalization of the rows of ``x [N, C]``, each operation rounded to single precision, sums in order."""
    count = np.float32(x.shape[1])
    for r in range(x.shape[0]):
        total = np.float32(0)
        for c in range(x.shape[1]):
            total = np.float32(total + x[r, c])
        mean = np.float32(total / count)
        power = np.float32(0)
        for c in range(x.shape[1]):
            d = np.float32(x[r, c] - mean)
            power = np.float32(power + np.float32(d * d))
        root = np.float32(np.float32(1) / np.sqrt(np.float32(np.float32(power / count) + epsilon)))
        for c in range(x.shape[1]):
            d = np.float32(x[r, c] - mean)
            out[r, c] = np.float32(np.float32(np.float32(d * root) * gamma[c]) + beta[c])
