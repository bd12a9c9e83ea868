"""Readers of convolutions: whatever their operation is called, and wherever their integers stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hwsearch.formats.onnx.reading.constants import Constant, found, with_codes
from hwsearch.formats.onnx.reading.pointwise import added
from hwsearch.formats.onnx.reading.quantized import saturated
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import TO_CHANNELS_FIRST, TO_CHANNELS_LAST, Map, tensor
from searchspaces.ir.transposed import transposed_to_shuffled
from searchspaces.ops.contractions.conv import Conv, Padding
from searchspaces.ops.maps.activation import Activation, Clip, LeakyRelu, Relu, Sigmoid, Tanh
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.move import PixelShuffle
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead


@READS.register("Conv", "FusedConv", becomes=(Conv, Add, Affine))
def _conv(walk: Walk, call: Call) -> Value:
    """ONNX Runtime's has a summand behind its bias, and a function behind the sum."""
    value = _convolved(walk, call, call.map(), _weight(call, 1), call.inputs[2] if len(call.inputs) > 2 else None)
    if call.kind == "Conv":
        return value
    if (summand := _given(call, 3)) is not None:
        value = added(walk, f"{call.name}.sum", value, summand)
    return _activated(walk, call, value)


@READS.register("ConvInteger", becomes=(Conv,))
def _conv_integer(walk: Walk, call: Call) -> Value:
    zero = call.constant(3) if call.has(3) else None
    return _convolved(walk, call, call.map(), with_codes(_weight(call, 1), None, zero, 0), None)


@READS.register("QLinearConv", becomes=(Conv,))
def _qlinear_conv(walk: Walk, call: Call) -> Value:
    """Codes in, codes out; biases are integers of the scale of the input times that of the weights."""
    scale = call.constant(4, "the scale of its weights")
    weight = with_codes(_weight(call, 3), scale, call.constant(5) if call.has(5) else None, 0)
    bias = call.constant(8, "its bias") if call.has(8) else None
    if bias is not None:
        unit = call.numbers(1, "the scale of its input").astype(np.float64) * scale.real.reshape(-1)
        bias = Constant(bias.name, (bias.real.reshape(-1) * unit).astype(np.float32), bias.stored)
    last = bool(call.attrs.get("channels_last", 0))  # of ONNX Runtime's
    value = _convolved(walk, call, walk.turned(call.map(), TO_CHANNELS_FIRST) if last else call.map(), weight, bias)
    return saturated(walk, call, walk.turned(value, TO_CHANNELS_LAST) if last else value)


def _weight(call: Call, place: int) -> Constant:
    weight = call.constant(place, "its weights")
    if weight.real.ndim not in (3, 4):
        raise NotRead(f"weights of {weight.real.ndim} axes")
    return weight


def layer_name(weight: Constant) -> str:
    """What a layer is called: as its weights are, without what exporters add."""
    return weight.name.removesuffix("_quantized").removesuffix(".weight")


def _convolved(walk: Walk, call: Call, source: Map, weight: Constant, bias: Value | None) -> Map:
    if walk.notation:  # two convolutions of one map by the same weights are the bytes of one
        return walk.once((source, weight.name), lambda: _new(walk, call, source, weight, bias))
    return _new(walk, call, source, weight, bias)


def _new(walk: Walk, call: Call, source: Map, weight: Constant, bias: Value | None) -> Map:
    array, shape, line = weight.real, walk.shape(source), weight.real.ndim == 3
    if line:  # a convolution of pictures of one row
        array = array[:, :, None]
        source = walk.reshaped(f"{call.name}.row", source, (*shape[:2], 1, shape[2]))
    strides, dilations = (_pair(call.integers(key, default=[1])) for key in ("strides", "dilations"))
    groups = call.integers("group", default=1)
    if array.shape[1] * groups != walk.shape(source)[1]:
        raise walk.contradiction(
            f"{layer_name(weight)}: weights for {array.shape[1] * groups} channels read {walk.shape(source)[1]}"
        )
    op = Conv(_one(strides), _padding(walk, call, source, array.shape[2:], strides, dilations), _one(dilations), groups)
    weights = {"weight": tensor(array), **_bias(bias, array.shape[0], call)}
    made = walk.put(layer_name(weight), op, [source], weights, weight.name)
    walk.layers[made.name] = found(weight, False)
    sides = walk.shape(made)
    return walk.reshaped(f"{call.name}.line", made, (*sides[:2], sides[3])) if line else made


def _bias(bias: Value | None, outputs: int, call: Call) -> dict[str, torch.Tensor]:
    if bias is None:
        return {}
    if isinstance(bias, Map):
        raise NotRead("its bias is computed from the picture")
    return {"bias": tensor(np.broadcast_to(bias.real.reshape(-1), (outputs,)))}


def _pair(values: Any) -> tuple[int, int]:
    """Rows and columns; of a line, one row."""
    found = values if isinstance(values, list) else [values]
    return (1, found[0]) if len(found) == 1 else (found[0], found[1])


def _one(values: tuple[int, int]) -> int | tuple[int, int]:
    return values[0] if values[0] == values[1] else values


def _padding(
    walk: Walk, call: Call, source: Map, kernel: tuple[int, ...], strides: tuple[int, int], dilations: tuple[int, int]
) -> Padding:
    top, left, bottom, right = window_padding(walk, call, source, kernel, strides, dilations)
    return left, right, top, bottom


def window_padding(
    walk: Walk, call: Call, source: Map, kernel: tuple[int, ...], strides: tuple[int, int], dilations: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Top, left, bottom and right padding of a window. "SAME" pads as much as the picture's size asks for."""
    mode = call.text("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = call.integers("pads", default=[0] * 4)
        return (0, pads[0], 0, pads[1]) if len(pads) == 2 else tuple(pads)
    if mode == "VALID":
        return 0, 0, 0, 0
    less, more = [], []
    for side, size, step, dilation in zip(walk.shape(source)[2:], kernel, strides, dilations, strict=True):
        if side % step:
            walk.misfits.append(f"{call.label}: {side} pixels by steps of {step}")
        total = max((-(-side // step) - 1) * step + (size - 1) * dilation + 1 - side, 0)
        less.append(total // 2)
        more.append(total - total // 2)
    ends = (*less, *more) if mode == "SAME_UPPER" else (*more, *less)
    return ends[0], ends[1], ends[2], ends[3]


@READS.register("ConvTranspose", becomes=(Conv, PixelShuffle, Pad))
def _transposed(walk: Walk, call: Call) -> Value:
    """A convolution and a pixel shuffle; each group by itself."""
    source, weight = call.map(), _weight(call, 1)
    if weight.real.ndim != 4:
        raise NotRead("of lines")
    strides, dilations = (_pair(call.integers(key, default=[1, 1])) for key in ("strides", "dilations"))
    groups, stride = call.integers("group", default=1), strides[0]
    if len(set(strides)) > 1 or len(set(dilations)) > 1:
        raise NotRead("strides or dilations that differ in height and width")
    if weight.real.shape[0] != walk.shape(source)[1]:
        raise walk.contradiction(
            f"{layer_name(weight)}: weights for {weight.real.shape[0]} channels read {walk.shape(source)[1]}"
        )
    (top, left), extra = _cut(walk, call, source, weight.real.shape[2:], stride, dilations[0])
    whole = tensor(weight.real)
    parts = [transposed_to_shuffled(part, None, stride, (top, left), extra, dilations[0]) for part in whole.chunk(groups)]
    _, _, pads, cut = parts[0]
    outputs = whole.shape[1] * groups
    spread = {key: value.repeat_interleave(stride**2) for key, value in _bias(_given(call, 2), outputs, call).items()}
    name = layer_name(weight)
    weights = {"weight": torch.cat([p[0] for p in parts]), **spread}
    made = walk.put(name, Conv(padding=pads, groups=groups), [source], weights, weight.name)
    walk.layers[made.name] = found(weight, True)
    if stride > 1:
        made = walk.put(f"{name}.shuffle", PixelShuffle(stride), [made])
    return walk.put(f"{name}.cut", Pad(cut), [made]) if any(cut) else made


def _given(call: Call, place: int) -> Value | None:
    return call.inputs[place] if len(call.inputs) > place else None


def _cut(
    walk: Walk, call: Call, source: Map, kernel: tuple[int, ...], stride: int, dilation: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """What is cut off in front, and what is added behind the symmetric cut."""
    added = call.integers("output_padding", default=[0, 0])
    mode = call.text("auto_pad", "NOTSET")
    whole = [(side - 1) * stride + (size - 1) * dilation + 1 for side, size in zip(walk.shape(source)[2:], kernel, strict=True)]
    if "output_shape" in call.attrs or mode.startswith("SAME"):
        wanted = call.integers("output_shape", default=[side * stride for side in walk.shape(source)[2:]])
        total = [side + more - want for side, more, want in zip(whole, added, wanted[-2:], strict=True)]
        first = [t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in total]  # the operator's definition
        pads = [*first, *(t - f for t, f in zip(total, first, strict=True))]
    else:
        pads = call.integers("pads", default=[0] * 4) if mode == "NOTSET" else [0] * 4
    if min(pads) < 0:
        raise NotRead("padding below zero")
    extra = (added[0] + pads[0] - pads[2], added[1] + pads[1] - pads[3])
    return (pads[0], pads[1]), extra


FUSED: Mapping[str, Activation] = {"Relu": Relu(), "Sigmoid": Sigmoid(), "Tanh": Tanh()}


def _activated(walk: Walk, call: Call, value: Map) -> Map:
    kind, given = call.text("activation"), call.attrs.get("activation_params", [])
    if not kind:
        return value
    op = FUSED.get(kind)
    if kind == "LeakyRelu":
        op = LeakyRelu(float(given[0]))
    elif kind == "Clip":
        op = Clip(float(given[0]), float(given[1]))
    if op is None:
        raise NotRead(f"the fused activation {kind}")
    return walk.unary(call.name, op, value)
