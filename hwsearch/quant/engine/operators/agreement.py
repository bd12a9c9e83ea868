"""Which runtime computes which operator as this engine does, code for code, and why not where it does not.

One table: operator, bits of its tensors, runtime -> "exact", or the reason in words. Exporters and checks of plans read it; its
every entry is put to the test by the runtimes themselves. Exact means: the functions of this package, called with that runtime's
``library`` where they take one, give the codes that the runtime gives, all of them.

Runtimes:

* "litert reference": LiteRT with its plain kernels, which define TFLite's arithmetic.
* "litert": LiteRT as it comes on x86 (XNNPACK and optimized kernels).
* "tflm": TensorFlow Lite Micro.
* "onnxruntime": ONNX Runtime on the CPU; ``qlinear``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Runtime = Literal["litert reference", "litert", "tflm", "onnxruntime"]
EXACT = "exact"

_NO_KERNEL = "the runtime has no kernel"
_FLOAT = "floating point between DequantizeLinear and QuantizeLinear"
_HALVES = "XNNPACK rounds in single precision; codes that lie near a half may differ by one"
_WIDE_FLOAT = "ONNX Runtime has no 16-bit integer kernels: " + _FLOAT

_EVERYWHERE: dict[Runtime, str] = {"litert reference": EXACT, "litert": EXACT, "tflm": EXACT}


def _but(onnxruntime: str = _FLOAT, **others: str) -> dict[Runtime, str]:
    entries: dict[Runtime, str] = {**_EVERYWHERE, "onnxruntime": onnxruntime}
    names: dict[str, Runtime] = {"reference": "litert reference", "litert": "litert", "tflm": "tflm"}
    return {**entries, **{names[name]: reason for name, reason in others.items()}}


_SUM_BROKEN = "LiteRT's reference SUM leaves its multiplier unset and answers nonsense"
_SUM_FLOAT = "LiteRT's optimized SUM rounds real numbers; some codes differ by one"
_POWER_OF_TWO = "another kernel where the input's scale is a power of two; up to 12 codes apart"
_EIGHT: dict[str, dict[Runtime, str]] = {
    "batch_matmul": _but(EXACT),
    "softmax": _but(EXACT, litert="LiteRT's optimized softmax has a table in single precision; some codes differ by one"),
    "mean": _but("QLinearGlobalAveragePool is exact over the sides of pictures; ReduceMean is " + _FLOAT, litert=_HALVES),
    "sum": _but(reference=_SUM_BROKEN, litert=_SUM_FLOAT),
    "add": _but(EXACT, litert=_HALVES),
    "sub": _but(litert=_HALVES),
    "mul": _but(EXACT, litert=_HALVES),
    "squared_difference": _but(),
    "div": _but(),
    "minimum": _but(),
    "maximum": _but(),
    "gelu": _but(tflm=_NO_KERNEL),
    "gelu_tanh": _but(tflm=_NO_KERNEL),
    "exp": _but(tflm=_NO_KERNEL),
    "elu": _but(reference=_NO_KERNEL, litert=_HALVES),
    "log": _but(tflm=_NO_KERNEL),
    "hard_swish": _but(),
    "logistic": _but(EXACT, litert=_HALVES),
    "tanh": _but(litert=_HALVES),
    "rsqrt": _but(),
    "abs": _but(),
    "layer_norm": _but(
        _FLOAT + ", sums in another order than layer_norm.island",
        **dict.fromkeys(("reference", "litert", "tflm"), _NO_KERNEL + "; a chain of others, see layer_norm"),
    ),
}
_SIXTEEN: dict[str, dict[Runtime, str]] = {
    **{
        name: _but(_WIDE_FLOAT)
        for name in ("batch_matmul", "softmax", "mean", "mul", "minimum", "maximum", "sub", "rsqrt", "abs")
    },
    "sum": _but(_WIDE_FLOAT, reference=_SUM_BROKEN, litert=_SUM_FLOAT),
    "add": _but(_WIDE_FLOAT, litert="LiteRT's vectorized addition (x86 with AVX2) rounds a few sums otherwise; by one"),
    "squared_difference": _but(_WIDE_FLOAT, reference=_NO_KERNEL, litert=_NO_KERNEL),
    **{name: _but(_WIDE_FLOAT, tflm=_NO_KERNEL) for name in ("div", "gelu", "gelu_tanh", "exp", "log")},
    **{name: _but(_WIDE_FLOAT, **dict.fromkeys(("reference", "litert", "tflm"), _NO_KERNEL)) for name in ("elu", "hard_swish")},
    **{name: _but(_WIDE_FLOAT, litert=_POWER_OF_TWO) for name in ("logistic", "tanh")},
    "layer_norm": _EIGHT["layer_norm"],
}

AGREEMENT: Mapping[tuple[str, int], Mapping[Runtime, str]] = MappingProxyType(
    {(name, bits): MappingProxyType(row) for bits, table in ((8, _EIGHT), (16, _SIXTEEN)) for name, row in table.items()}
)
"""Operator and bits -> runtime -> "exact" or why not."""
