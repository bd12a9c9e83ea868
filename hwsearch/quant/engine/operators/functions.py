"""Functions of one real number in single precision, as the C library computes them.

TFLite fills its tables by ``expf``, ``erfcf``, ``tanhf`` and the like. numpy's vector code rounds many values otherwise, and a
16-bit table shows that in a few of its entries; numba calls the C library of the machine, which is the one that runtimes on the
same machine call. Another C library (a phone's, a microcontroller's) may round an entry of a table by one code otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from hwmodels.compiled import compiled

Real = Callable[[np.ndarray], np.ndarray]
"""float32 (or, for ``exp`` and ``inverse``, float64) in, the same out, element by element."""

_HALF, _ONE = np.float32(0.5), np.float32(1)
_MINUS_ROOT_HALF = np.float32(-math.sqrt(0.5))
_ROOT_TWO_OVER_PI = np.float32(2 / math.sqrt(math.pi) * math.sqrt(0.5))
_CUBIC = np.float32(0.044715)


@compiled
def exp(x: Any) -> Any:
    """``e^x``."""
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = math.exp(x[i])
    return y


@compiled
def log(x: Any) -> Any:
    """The natural logarithm of positive numbers."""
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = math.log(x[i])
    return y


@compiled
def gelu(x: Any) -> Any:
    """``x / 2 erfc(-x / sqrt(2))``."""
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = _HALF * x[i] * math.erfc(x[i] * _MINUS_ROOT_HALF)
    return y


@compiled
def gelu_tanh(x: Any) -> Any:
    """The approximation of GELU by a hyperbolic tangent."""
    y = np.empty_like(x)
    for i in range(x.size):
        inner = x[i] + _CUBIC * x[i] * x[i] * x[i]
        y[i] = _HALF * x[i] * (_ONE + math.tanh(_ROOT_TWO_OVER_PI * inner))
    return y


@compiled
def logistic(x: Any) -> Any:
    """``1 / (1 + e^-x)``."""
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = _ONE / (_ONE + math.exp(-x[i]))
    return y


@compiled
def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = math.tanh(x[i])
    return y


@compiled
def elu(x: Any) -> Any:
    """``x``, below zero ``e^x - 1``."""
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = math.expm1(x[i]) if x[i] < 0 else x[i]
    return y


def inverse(x: np.ndarray) -> np.ndarray:
    """``1 / (1 + x)``."""
    one = x.dtype.type(1)
    return np.asarray(one / (one + x))


def inverse_root(x: np.ndarray) -> np.ndarray:
    """``1 / sqrt(x)`` of positive numbers."""
    return np.asarray(x.dtype.type(1) / np.sqrt(x))


FUNCTIONS: Mapping[str, Real] = MappingProxyType(
    {"exp": exp, "gelu": gelu, "gelu_tanh": gelu_tanh, "logistic": logistic, "tanh": tanh, "elu": elu}
)
"""Functions that are defined for every real number, by name."""
