"""Quantized networks executed in numpy by the rules of TensorFlow Lite for Microcontrollers: slow, and independent of the engine.

Where all tensors of a layer have at most 8 bits the rule is "gemmlowp" (32-bit sums, mantissas of 31 bits, two roundings), else
"i16" (64-bit sums, mantissas of 15 bits, one rounding). Python's integers have no width, so nothing can overflow here.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from hwsearch.quant import requant
from hwsearch.quant.model import LayerIntegers, QuantizedGraph, TensorFormat
from searchspaces.graph import Node, activate, apply


def mantissa_and_shift(real: float) -> tuple[int, int]:
    """``real = mantissa * 2^(shift - 31)``, ``2^30 <= |mantissa| < 2^31``, by exact rational arithmetic."""
    if real == 0:
        return 0, 0
    exact, shift = abs(Fraction(real)), 0
    while exact >= 1:
        exact, shift = exact / 2, shift + 1
    while exact < Fraction(1, 2):
        exact, shift = exact * 2, shift - 1
    mantissa = int(exact * 2**31 + Fraction(1, 2))
    if mantissa == 2**31:
        mantissa, shift = mantissa // 2, shift + 1
    if shift < -31:
        return 0, 0
    return (mantissa if real > 0 else -mantissa), shift


def narrow(x: int, real: float) -> int:
    """Rule "gemmlowp": half up to a high product, then half away from zero."""
    mantissa, shift = mantissa_and_shift(real)
    high = ((x << max(shift, 0)) * mantissa + 2**30) // 2**31
    divisor = 2 ** max(-shift, 0)
    magnitude = (abs(high) * 2 + divisor) // (2 * divisor)
    return magnitude if high >= 0 else -magnitude


def wide(x: int, real: float) -> int:
    """Rule "i16": one rounding, half up."""
    mantissa, shift = mantissa_and_shift(real)
    short = min((mantissa + 2**15) // 2**16, 32767)
    divisor = 2 ** (15 - shift)
    return (2 * x * short + divisor) // (2 * divisor)


def _sums(x: np.ndarray, node: Node, layer: LayerIntegers) -> np.ndarray:
    """Convolution of shifted codes ``int64 [C, H, W]``."""
    attrs = node.attrs
    left, right, top, bottom = attrs["padding"]
    x = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    (sy, sx), (dy, dx) = (np.broadcast_to(attrs[key], 2) for key in ("stride", "dilation"))
    kh, kw = layer.weight.shape[2:]
    windows = sliding_window_view(x, (dy * (kh - 1) + 1, dx * (kw - 1) + 1), axis=(1, 2))[:, ::sy, ::sx, ::dy, ::dx]
    groups = np.split(windows, attrs["groups"]), np.split(layer.weight.astype(np.int64), attrs["groups"])
    sums = [np.einsum("chwij,ocij->ohw", part, weight) for part, weight in zip(*groups, strict=True)]
    return np.concatenate(sums) + layer.bias[:, None, None]


def _conv(x: np.ndarray, node: Node, layer: LayerIntegers, source: TensorFormat, target: TensorFormat) -> np.ndarray:
    sums = _sums(x - source.zero_point, node, layer)
    scale = wide if max(source.bits, target.bits) > 8 else narrow
    slopes = requant.slopes(node, len(sums))
    low, high = requant.bounds(node, target)
    out = np.empty_like(sums)
    for c, plane in enumerate(sums):
        real = float(source.scale) * float(layer.scale[c]) / float(target.scale)
        steep = real if slopes is None else real * float(slopes[c])
        values = np.array([scale(int(v), steep if v < 0 else real) for v in plane.reshape(-1)])
        out[c] = np.clip(values.reshape(plane.shape) + target.zero_point, low, high)
    return out


def _add(a: np.ndarray, b: np.ndarray, node: Node, formats: list[TensorFormat]) -> np.ndarray:
    fa, fb, fy = formats
    left = 20 if max(fa.bits, fb.bits) <= 8 else 15
    largest = 2.0 * max(fa.scale, fb.scale)
    low, high = requant.bounds(node, fy)
    sums = [
        narrow(narrow((int(p) - fa.zero_point) << left, fa.scale / largest)
               + narrow((int(q) - fb.zero_point) << left, fb.scale / largest), largest / ((1 << left) * fy.scale))
        for p, q in zip(a.reshape(-1), b.reshape(-1), strict=True)
    ]  # fmt: skip
    return np.clip(np.array(sums).reshape(a.shape) + fy.zero_point, low, high)


def run(qgraph: QuantizedGraph, codes: np.ndarray) -> np.ndarray:
    """Output codes ``int64 [C', sH, sW]`` for input codes ``[C, H, W]``."""
    tensors = {qgraph.graph.input.name: codes.astype(np.int64)}
    for node in qgraph.graph.nodes[1:]:
        inputs = [tensors[name] for name in node.inputs]
        formats = [qgraph.formats[name] for name in (*node.inputs, node.name)]
        if node.op == "conv":
            layer = qgraph.layers[node.name]
            assert isinstance(layer, LayerIntegers)
            value = _conv(inputs[0], node, layer, *formats)
        elif node.op == "add":
            value = _add(inputs[0], inputs[1], node, formats)
        elif node.op == "unary":
            real = formats[0].decode(torch.from_numpy(inputs[0]).float())
            value = formats[1].encode(activate(real, node.attrs["kind"], node)).numpy().astype(np.int64)
        else:
            moved = apply(node, [torch.from_numpy(x)[None].double() for x in inputs])[0].numpy().astype(np.int64)
            value = np.clip(moved, formats[-1].qmin, formats[-1].qmax)
        tensors[node.name] = value
    return tensors[qgraph.graph.output.name]
