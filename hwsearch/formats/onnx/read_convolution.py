"""Convolutions of an ONNX file in canonical form: whatever their operation is called, and wherever their integers stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from onnx import NodeProto

from hwsearch.formats.onnx.constants import Constant, found, with_codes
from searchspaces.ir.simplify import transposed_to_shuffled
from searchspaces.ops.conv import Conv
from searchspaces.ops.move import PixelShuffle
from searchspaces.ops.pad import Pad

if TYPE_CHECKING:
    from hwsearch.formats.onnx.walk import Walker

CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", "ConvInteger", "QLinearConv", "ConvTranspose")


def convolution(walker: Walker, node: NodeProto, attrs: Mapping[str, Any]) -> list[str] | None:
    """The canonical node of a convolution; None where its weights are computed or are not those of a 2-D convolution.

    Raises:
        ValueError: strides, dilations, groups or padding that the canonical form has not, or weights for other channels.
    """
    quantized = node.op_type == "QLinearConv"
    constants, source = walker.constants, walker.maps[node.input[0]]
    weight = constants.get(node.input[3 if quantized else 1])
    if weight is None or weight.real.ndim != 4:
        return None
    if quantized:
        weight = with_codes(weight, constants.get(node.input[4]), constants.get(node.input[5]), 0)
    elif node.op_type == "ConvInteger":
        weight = with_codes(weight, None, constants.get(node.input[3]) if len(node.input) > 3 else None, 0)
    made = weight
    return [walker.once((source, weight.name), lambda: _new(walker, node, attrs, source, made))]


def _new(walker: Walker, node: NodeProto, attrs: Mapping[str, Any], source: str, weight: Constant) -> str:
    name, transposed = weight.name.removesuffix("_quantized").removesuffix(".weight"), node.op_type == "ConvTranspose"
    strides, dilations = ([int(v) for v in attrs.get(key, (1, 1))] for key in ("strides", "dilations"))
    groups = int(attrs.get("group", 1))
    if len(set(strides)) > 1 or len(set(dilations)) > 1:
        raise ValueError(f"{name}: strides or dilations that differ in height and width")
    top, left, bottom, right = _pads(attrs, weight.real.shape[2:], dilations)
    array = torch.from_numpy(np.ascontiguousarray(weight.real, dtype=np.float32))
    expected = array.shape[0] if transposed else array.shape[1] * groups
    if expected != walker.channels[source]:
        raise ValueError(f"{name}: weights for {expected} channels read {walker.channels[source]}")
    if transposed:
        extra = [int(v) for v in attrs.get("output_padding", (0, 0))]
        if groups != 1 or (top, left) != (bottom, right):
            raise ValueError(f"{name}: a transposed convolution with groups or uneven padding")
        array, _, pads, cut = transposed_to_shuffled(array, None, strides[0], (top, left), (extra[0], extra[1]), dilations[0])
        op = Conv(padding=pads)
    else:
        op = Conv(strides[0], (left, right, top, bottom), dilations[0], groups)
    made = walker.emit(name, op, (source,), {"weight": array}, channels=array.shape[0])
    walker.layers[made] = found(weight, transposed)
    if not transposed or strides[0] == 1:
        return made
    factor = strides[0]
    made = walker.emit(f"{name}.shuffle", PixelShuffle(factor), (made,), channels=array.shape[0] // factor**2)
    return walker.emit(f"{name}.cut", Pad(cut), (made,), channels=walker.channels[made]) if any(cut) else made


def _pads(attrs: Mapping[str, Any], kernel: tuple[int, ...], dilations: list[int]) -> list[int]:
    """Top, left, bottom, right."""
    mode = attrs.get("auto_pad", b"NOTSET")
    if mode in (b"SAME_UPPER", b"SAME_LOWER"):
        totals = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
        return [*less, *more] if mode == b"SAME_UPPER" else [*more, *less]
    return [int(v) for v in attrs.get("pads", (0, 0, 0, 0))] if mode == b"NOTSET" else [0] * 4
