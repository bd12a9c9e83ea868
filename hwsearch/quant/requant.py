"""From accumulators to codes: the requantization rules, fused in one pass over the tensor.

All kernels work on arrays ``[P, C]`` (pixels, channels: a channels-last tensor seen flat) and in *shifted* codes ``q - z``.
Shifted codes make zero padding the number zero, and because they are small integers, adding the zero point after rounding and
clamping is the same as never adding it.

A rule names two arithmetics, one for layers between tensors of at most 8 bits and one for layers that touch a 16-bit tensor:

* "f32", ONNX Runtime: "f32" and "f64".
* "xnnpack", LiteRT with XNNPACK: "f32" and "i16".
* "gemmlowp", TFLite Micro, CMSIS-NN and LiteRT's reference kernels: "gemmlowp" and "i16".

The arithmetics:

* "f32": ``rint(fp32(fp32(acc) * M[c]))`` with ``M = fp32(fp32(s_x * s_w) / s_y)``; ties to even. That is what ONNX Runtime's
  QLinearConv and XNNPACK compute.
* "f64": the same in float64, ``M = double(s_x) * double(s_w) / double(s_y)``.
* "gemmlowp" and "i16": integers only, see ``fixed_point``.

PReLU and LeakyReLU under rule "f32": ``v = acc * M[c]``, then ``v * slope[c]`` where ``v < 0``, each product rounded, then
``rint``. Under the other rules the slope is part of a second multiplier (``sloped``): both results are requantized, and the
larger one is taken, the smaller one for slopes above 1.

A layer that writes floating point: ``fp32(fp32(acc) * fp32(s_x * s_w[c]))``, in float64 with one final rounding for a 16-bit
input.

Addition of 8-bit tensors under rule "f32" is ONNX Runtime's QLinearAdd, whose vector kernel (x86 with AVX2, and every ARM) uses
fused multiply-adds: ``fix = z_y - fma(r_a, z_a, fp32(r_b * z_b))``, ``fma(q_a, r_a, fma(q_b, r_b, fix))``, ``r_a = fp32(s_a /
s_y)``; found by comparing all 65536 operand pairs under many scales. One rounding of the float64 result is the fused operation
here, because the exact sum of an 8-bit times 24-bit product and a 24-bit number fits float64 for every ratio above 2^-20. The
additions of the other rules are in ``fixed_point``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numba
import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import UsageError, closest
from hwsearch.quant import fixed_point
from hwsearch.quant.model import LayerIntegers, TensorFormat
from searchspaces.graph import Node

RULES = {"f32": ("f32", "f64"), "xnnpack": ("f32", "i16"), "gemmlowp": ("gemmlowp", "i16")}
"""Rule -> arithmetic of layers between tensors of at most 8 bits, and of layers that touch a 16-bit tensor."""

Requantizer = Callable[[Tensor], Tensor]
"""Accumulators ``[1, C, H, W]`` (float32 or float64 holding integers, bias included) to shifted codes in float32."""


def arithmetic(rule: str, *formats: TensorFormat) -> str:
    """The arithmetic of an operation between tensors of these formats.

    Raises:
        UsageError: there is no such rule.
    """
    if rule not in RULES:
        raise UsageError(f"no requantization rule {rule!r}", closest(rule, RULES))
    return RULES[rule][any(fmt.bits > 8 and not fmt.is_float for fmt in formats)]


def multipliers(layer: LayerIntegers, source: TensorFormat, target: TensorFormat) -> np.ndarray:
    """``M[c]``, float32 under rule "f32" and float64 where a 16-bit tensor takes part.

    For a target in floating point the multiplier has no ``s_y``: it turns accumulators into real values.
    """
    wide = source.bits > 8 or (target.bits > 8 and not target.is_float)
    if wide:
        exact: np.ndarray = float(source.scale) * layer.scale.astype(np.float64)
        return exact if target.is_float else exact / float(target.scale)
    m: np.ndarray = np.float32(source.scale) * layer.scale.astype(np.float32)
    return m if target.is_float else m / np.float32(target.scale)


def bounds(node: Node, target: TensorFormat) -> tuple[int, int]:
    """Lowest and highest code that ``node`` may write: the format's range, cut further by a ReLU or ReLU6 that is fused to it,
    or that it is."""
    low, high = target.qmin, target.qmax
    activation = node.attrs["kind"] if node.op == "unary" else node.activation
    if activation in ("relu", "relu6"):
        low = max(low, target.zero_point)
    if activation == "relu6":
        high = min(high, target.zero_point + int(np.rint(np.float32(6.0) / np.float32(target.scale))))
    return low, high


def slopes(node: Node, channels: int) -> np.ndarray | None:
    """Slope of the negative side per channel, float32, or None where the fused activation has none."""
    if node.activation == "leaky_relu":
        return np.full(channels, node.attrs["slope"], dtype=np.float32)
    if node.activation == "prelu":
        return np.broadcast_to(node.weights["slope"].detach().numpy().astype(np.float32), (channels,)).copy()
    return None


LEAST_SLOPE = np.float32(2.0**-16)
"""Stands for a slope of zero where a slope is part of a weight scale, which must be positive."""


def sloped(layer: LayerIntegers, slope: np.ndarray) -> LayerIntegers:
    """The layer that computes what PReLU does to sums below zero: weights and bias with the slope's sign, scales times its
    magnitude."""
    sign = np.where(slope < 0, -1, 1).astype(np.int8)
    scale = layer.scale.astype(np.float32) * np.maximum(np.abs(slope), LEAST_SLOPE)
    return replace(layer, weight=layer.weight * sign[:, None, None, None], scale=scale, bias=layer.bias * sign)


@numba.njit(cache=True)
def _clamp_f32(acc: np.ndarray, m: np.ndarray, low: np.float32, high: np.float32) -> None:
    pixels, channels = acc.shape
    for p in range(pixels):
        for c in range(channels):
            acc[p, c] = min(max(np.rint(acc[p, c] * m[c]), low), high)


@numba.njit(cache=True)
def _slope_f32(acc: np.ndarray, m: np.ndarray, slope: np.ndarray, low: np.float32, high: np.float32) -> None:
    pixels, channels = acc.shape
    for p in range(pixels):
        for c in range(channels):
            v = acc[p, c] * m[c]
            v = v * slope[c] if v < 0 else v
            acc[p, c] = min(max(np.rint(v), low), high)


@numba.njit(cache=True)
def _wide(acc: np.ndarray, m: np.ndarray, slope: np.ndarray, low: float, high: float, out: np.ndarray) -> None:
    pixels, channels = acc.shape
    for p in range(pixels):
        for c in range(channels):
            v = acc[p, c] * m[c]
            v = v * slope[c] if v < 0 else v
            out[p, c] = min(max(np.rint(v), low), high)


@numba.njit(cache=True)
def _add_f32(
    a: np.ndarray,
    b: np.ndarray,
    za: int,
    zb: int,
    ra: float,
    rb: float,
    fix: float,
    z: float,
    low: float,
    high: float,
    out: np.ndarray,
) -> None:
    for i in range(a.size):
        inner = np.float32((b[i] + zb) * rb + fix)
        v = np.rint(np.float32((a[i] + za) * ra + inner))
        out[i] = min(max(v, low), high) - z


def flat(x: Tensor) -> np.ndarray:
    """``[N, C, H, W]`` as an array ``[N*H*W, C]``; shares memory when the tensor is channels-last."""
    return x.permute(0, 2, 3, 1).contiguous().view(-1, x.shape[1]).numpy()


def unflat(array: np.ndarray, like: Tensor) -> Tensor:
    """The inverse of ``flat`` for a tensor of the shape of ``like``."""
    n, c, h, w = like.shape
    return torch.from_numpy(array).view(n, h, w, c).permute(0, 3, 1, 2)


def requantize(acc: Tensor, m: np.ndarray, slope: np.ndarray | None, z: int, low: int, high: int) -> Tensor:
    """Accumulators ``[1, C, H, W]`` (float32 or float64, integer values, bias included) to shifted codes in float32.

    ``m`` decides the rule: float32 is rule "f32", float64 the double variant. A float32 accumulator is overwritten.
    """
    if m.dtype == np.float32:
        array = flat(acc.float())
        lo, hi = np.float32(low - z), np.float32(high - z)
        if slope is None:
            _clamp_f32(array, m, lo, hi)
        else:
            _slope_f32(array, m, slope, lo, hi)
        return unflat(array, acc)
    array = flat(acc.double())
    out = np.empty(array.shape, dtype=np.float32)
    slope64 = np.ones(m.size) if slope is None else slope.astype(np.float64)
    _wide(array, m, slope64, float(low - z), float(high - z), out)
    return unflat(out, acc)


def requantizer(node: Node, layer: LayerIntegers, source: TensorFormat, target: TensorFormat, rule: str) -> Requantizer:
    """What takes the sums of one layer to the codes of ``target``, an integer format."""
    kind, slope, z = arithmetic(rule, source, target), slopes(node, len(layer.weight)), target.zero_point
    low, high = bounds(node, target)
    if rule == "f32":
        m = multipliers(layer, source, target)
        return lambda acc: requantize(acc, m, slope, z, low, high)

    def plain(numbers: LayerIntegers) -> Requantizer:
        if kind == "f32":
            m = multipliers(numbers, source, target)
            return lambda acc: requantize(acc, m, None, z, low, high)
        mantissa, shift = fixed_point.layer_multipliers(numbers, source, target)
        if kind == "i16":
            return _integer(fixed_point.i16, fixed_point.reduced(mantissa), shift, low - z, high - z)
        return _integer(fixed_point.gemmlowp, mantissa, shift, low - z, high - z)

    first = plain(layer)
    if slope is None:
        return first
    second, sign = plain(sloped(layer, slope)), torch.from_numpy(np.where(slope < 0, -1, 1)).view(1, -1, 1, 1)
    steep = torch.from_numpy(slope > 1).view(1, -1, 1, 1)

    def larger(acc: Tensor) -> Tensor:
        b = second(acc * sign)  # before the first, which may overwrite the sums
        a = first(acc)
        return torch.where(steep, torch.minimum(a, b), torch.maximum(a, b))

    return larger


def _integer(kernel: Callable[..., None], m: np.ndarray, shift: np.ndarray, low: int, high: int) -> Requantizer:
    def run(acc: Tensor) -> Tensor:
        array = flat(acc)
        out = np.empty(array.shape, dtype=np.float32)
        kernel(array, m, shift, low, high, out)
        return unflat(out, acc)

    return run


def adder(fa: TensorFormat, fb: TensorFormat, fy: TensorFormat, low: int, high: int, rule: str) -> Callable[..., Tensor]:
    """What adds two tensors of shifted codes and gives shifted codes of ``fy`` in ``low .. high`` (codes)."""
    kind = arithmetic(rule, fa, fb, fy)
    if rule == "f32":
        return lambda a, b: add(a, b, fa, fb, fy, low, high)
    sum_of = fixed_point.add_xnnpack if kind == "f32" else fixed_point.add_tflite
    z = fy.zero_point

    def run(a: Tensor, b: Tensor) -> Tensor:
        x, y = flat(a), flat(b)
        return unflat(sum_of(x.reshape(-1), y.reshape(-1), fa, fb, fy, low - z, high - z).reshape(x.shape), a)

    return run


def add(a: Tensor, b: Tensor, fa: TensorFormat, fb: TensorFormat, fy: TensorFormat, low: int, high: int) -> Tensor:
    """Sum of two tensors of shifted 8-bit codes by the rule of QLinearAdd, in shifted codes of ``fy``."""
    ra, rb = np.float32(fa.scale) / np.float32(fy.scale), np.float32(fb.scale) / np.float32(fy.scale)
    zeros = np.float32(float(ra) * fa.zero_point + float(np.float32(rb * np.float32(fb.zero_point))))
    fix = np.float32(np.float32(fy.zero_point) - zeros)
    x, y = flat(a), flat(b)
    out = np.empty(x.shape, dtype=np.float32)
    _add_f32(
        x.reshape(-1), y.reshape(-1), fa.zero_point, fb.zero_point, float(ra), float(rb), float(fix),
        float(fy.zero_point), float(low), float(high), out.reshape(-1),
    )  # fmt: skip
    return unflat(out, a)
