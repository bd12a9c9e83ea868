"""From accumulators to codes: the requantization rules, fused in one pass over the tensor.

All kernels work on arrays ``[H, W, C]`` (a channels-last tensor, or a band of its rows) and compute *shifted* codes ``q - z``,
small integers, to which the ``origin`` of the format that carries them is added last: adding an integer after rounding and
clamping is the same as adding it before.

A rule names two arithmetics, one for layers between tensors of at most 8 bits and one for layers that touch a 16-bit tensor:

* "f32", ONNX Runtime: "f32" and "f64".
* "xnnpack", LiteRT with XNNPACK: "f32" and "i16".
* "gemmlowp", TFLite Micro and CMSIS-NN: "gemmlowp" and "i16".
* "reference", LiteRT's reference kernels: the same for layers and additions; some operators of tokens take their multipliers in
  single precision, where TFLite Micro takes them in double.

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
s_y)``; found by comparing all 65536 operand pairs under many scales. The additions of the other rules are in ``fixed_point``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hwmodels.compiled import compiled
from hwmodels.errors import UsageError, closest
from hwsearch.quant.engine import buffers, fixed_point
from hwsearch.quant.engine.kernels.cpu import LANES
from hwsearch.quant.engine.kernels.loops import scaling
from hwsearch.quant.engine.kernels.loops.float_loops import fma
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node
from searchspaces.ops.maps.activation import LeakyRelu, PRelu, Relu, Relu6

RULES = {
    "f32": ("f32", "f64"),
    "xnnpack": ("f32", "i16"),
    "gemmlowp": ("gemmlowp", "i16"),
    "reference": ("gemmlowp", "i16"),
}
"""Rule -> arithmetic of layers between tensors of at most 8 bits, and of layers that touch a 16-bit tensor."""

Requantizer = Callable[[np.ndarray, np.ndarray], None]
"""Takes sums ``[rows, >= W, >= C]`` (int32, or floats holding integers; bias included) to codes as their format carries them,
which it writes to ``out [<= rows, W, C]``."""


def arithmetic(rule: str, *formats: TensorFormat) -> str:
    """The arithmetic of an operation between tensors of these formats.

    Raises:
        UsageError: there is no such rule.
    """
    if rule not in RULES:
        raise UsageError(f"no requantization rule {rule!r}", closest(rule, RULES))
    return RULES[rule][any(fmt.is_wide_integer for fmt in formats)]


def multipliers(layer: LayerIntegers, source: TensorFormat, target: TensorFormat) -> np.ndarray:
    """``M[c]``, float32 under rule "f32" and float64 where a 16-bit tensor takes part.

    For a target in floating point the multiplier has no ``s_y``: it turns accumulators into real values.
    """
    wide = source.is_wide or target.is_wide_integer
    if wide:
        exact: np.ndarray = float(source.scale) * layer.scale.astype(np.float64)
        return exact if target.is_float else exact / float(target.scale)
    m: np.ndarray = np.float32(source.scale) * layer.scale.astype(np.float32)
    return m if target.is_float else m / np.float32(target.scale)


def bounds(node: Node, target: TensorFormat) -> tuple[int, int]:
    """Lowest and highest code that ``node`` may write: the format's range, cut further by a ReLU or ReLU6 that is fused to it,
    or that it is."""
    low, high = target.qmin, target.qmax
    if isinstance(node.function, Relu | Relu6):
        low = max(low, target.zero_point)
    if isinstance(node.function, Relu6):
        high = min(high, target.zero_point + int(np.rint(np.float32(6.0) / np.float32(target.scale))))
    return low, high


def slopes(node: Node, channels: int) -> np.ndarray | None:
    """Slope of the negative side per channel, float32, or None where the fused activation has none."""
    if isinstance(node.activation, LeakyRelu):
        return np.full(channels, node.activation.slope, dtype=np.float32)
    if isinstance(node.activation, PRelu):
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


@compiled
def _add_f32(
    a: np.ndarray, b: np.ndarray, more_a: np.float32, more_b: np.float32, ra: np.float32, rb: np.float32, fix: np.float32,
    less: np.float32, low: np.float32, high: np.float32, out: np.ndarray,
) -> None:  # fmt: skip
    """``more_a`` and ``more_b`` make codes of what is carried, ``less`` is taken from the code that is written."""
    for i in range(out.size):
        inner = fma(np.float32(b[i]) + more_b, rb, fix)
        v = np.rint(fma(np.float32(a[i]) + more_a, ra, inner))
        out[i] = np.int32(min(max(v, low), high) - less)


def pixels(x: Tensor) -> np.ndarray:
    """``[1, C, H, W]`` as an array ``[H, W, C]`` (more pictures one below the other); shares memory when channels-last."""
    count, channels, height, width = x.shape
    array: np.ndarray = x.permute(0, 2, 3, 1).contiguous().view(count * height, width, channels).numpy()
    return array


def pictures(array: np.ndarray, count: int = 1) -> Tensor:
    """The inverse of ``pixels``."""
    return torch.from_numpy(array).view(count, -1, *array.shape[1:]).permute(0, 3, 1, 2)


def _rows(a: Tensor, b: Tensor) -> tuple[tuple[np.ndarray, np.ndarray], Callable[[np.ndarray], Tensor]]:
    """Two tensors of one shape as 1-D arrays of one order, and what makes such an array a tensor again."""
    if a.ndim == 4:
        height, width, channels = pixels(a).shape
        return (pixels(a).reshape(-1), pixels(b).reshape(-1)), lambda y: pictures(y.reshape(height, width, channels), len(a))
    flat = a.contiguous().view(-1).numpy(), b.contiguous().view(-1).numpy()
    return flat, lambda y: torch.from_numpy(y).view(a.shape)


def empty(shape: tuple[int, ...], fmt: TensorFormat) -> np.ndarray:
    """Room for what a format carries."""
    return buffers.empty(shape, torch.empty(0, dtype=fmt.carrier).numpy().dtype)


def _scaled(m: np.ndarray, slope: np.ndarray | None, low: int, high: int, origin: int) -> Requantizer:
    """Arithmetic "f32" or "f64", by the type of ``m``; ``low .. high`` are shifted."""
    kind, slopes = m.dtype.type, None if slope is None else slope.astype(m.dtype)
    least, most, ones = kind(low), kind(high), np.ones_like(m)
    most_together = scaling.pixels_together(len(m))
    filled = {n: (_filled(m, n), None if slopes is None else _filled(slopes, n)) for n in (1, most_together)}

    def run(acc: np.ndarray, out: np.ndarray) -> None:
        if m.itemsize == acc.itemsize == 4 and out.dtype.kind in "iu":
            together = most_together if acc.shape[2] == len(m) else 1
            scaling.scale_vectors(acc, *filled[together], together, least, most, origin, out)
        else:
            scaling.scale(acc, m, ones if slopes is None else slopes, least, most, kind(origin), out)

    return run


def _filled(numbers: np.ndarray, times: int) -> np.ndarray:
    """Numbers of the channels of so many pixels, filled up to whole vectors."""
    repeated = np.tile(numbers, times)
    return np.pad(repeated, (0, -len(repeated) % LANES))


def requantizer(node: Node, layer: LayerIntegers, source: TensorFormat, target: TensorFormat, rule: str) -> Requantizer:
    """What takes the sums of one layer to the codes of ``target``, an integer format."""
    kind, slope = arithmetic(rule, source, target), slopes(node, len(layer.weight))
    low, high = (bound - target.zero_point for bound in bounds(node, target))
    origin = target.origin
    if rule == "f32":
        return _scaled(multipliers(layer, source, target), slope, low, high, origin)

    def plain(numbers: LayerIntegers) -> Requantizer:
        if kind == "f32":
            return _scaled(multipliers(numbers, source, target), None, low, high, origin)
        mantissa, shift = fixed_point.layer_multipliers(numbers, source, target)
        kernel, m = (fixed_point.i16, fixed_point.reduced(mantissa)) if kind == "i16" else (fixed_point.gemmlowp, mantissa)
        return lambda acc, out: kernel(acc, m, shift, low, high, origin, out)

    first = plain(layer)
    if slope is None:
        return first
    second, sign, steep = plain(sloped(layer, slope)), np.where(slope < 0, -1, 1), slope > 1

    def larger(acc: np.ndarray, out: np.ndarray) -> None:
        b = np.empty_like(out)
        first(acc, out)
        second(acc[..., : sign.size] * sign.astype(acc.dtype), b)
        np.copyto(out, np.where(steep, np.minimum(out, b), np.maximum(out, b)))

    return larger


def adder(fa: TensorFormat, fb: TensorFormat, fy: TensorFormat, low: int, high: int, rule: str) -> Callable[..., Tensor]:
    """What adds two tensors as their formats carry them and gives codes of ``fy`` in ``low .. high`` (codes)."""
    kind = arithmetic(rule, fa, fb, fy)
    if rule == "f32":
        return lambda a, b: add(a, b, fa, fb, fy, low, high)
    sum_of = fixed_point.add_xnnpack if kind == "f32" else fixed_point.add_tflite
    z = fy.zero_point

    def run(a: Tensor, b: Tensor) -> Tensor:
        (x, y), restore = _rows(a, b)
        out = empty(x.shape, fy)
        sum_of(x, y, fa, fb, fy, low - z, high - z, out)
        return restore(out)

    return run


def add(a: Tensor, b: Tensor, fa: TensorFormat, fb: TensorFormat, fy: TensorFormat, low: int, high: int) -> Tensor:
    """Sum of two tensors of 8-bit codes by the rule of QLinearAdd, in codes of ``fy``, all as their formats carry them."""
    f32 = np.float32
    ra, rb = f32(f32(fa.scale) / f32(fy.scale)), f32(f32(fb.scale) / f32(fy.scale))
    za, zb, z = f32(fa.zero_point), f32(fb.zero_point), f32(fy.zero_point)
    fix = f32(z - f32(float(ra) * float(za) + float(rb * zb)))  # one rounding, as a fused multiply-add: the float64 sum is exact
    (x, y), restore = _rows(a, b)
    out = empty(x.shape, fy)
    more_a, more_b, less = (f32(fmt.zero_point - fmt.origin) for fmt in (fa, fb, fy))
    _add_f32(x, y, more_a, more_b, ra, rb, fix, less, f32(low), f32(high), out)
    return restore(out)
