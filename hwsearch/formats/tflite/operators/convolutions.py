"""Convolutions in a TFLite file, with what stands around them.

* TFLite has kernels for int8 to int8 and for int16 to int16 only; where a plan mixes them, the 8-bit side is an int16 tensor of
  the same scale, and QUANTIZE with multiplier 1 moves between the two, which loses nothing: int16 holds every shifted code, and
  the step back to int8 saturates at the same ends.
* PReLU and LeakyReLU are two convolutions, one with the weights and one with the weights times the slope, and MAXIMUM of both
  (MINIMUM for slopes above 1). TFLite's PRELU reads an 8-bit tensor, so it would round twice and need a range for what
  stands before it. Where no slope is negative the two share one copy of the weights.
* Padding that SAME does not express is a PAD operator.
"""

from __future__ import annotations

import numpy as np

from hwmodels.errors import FileError
from hwmodels.numbers import INT4, Int
from hwsearch.formats.carried import Place, identity
from hwsearch.formats.tflite.operators.table import WRITES
from hwsearch.formats.tflite.writing.file import Options
from hwsearch.formats.tflite.writing.form import SAME, VALID
from hwsearch.formats.tflite.writing.writer import Writer, extreme, widened
from hwsearch.quant.engine import requant
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers
from searchspaces.ir.graph import Node, conv_of
from searchspaces.ops.contractions.conv import Conv


@WRITES.register(Conv)
def convolution(writer: Writer, node: Node) -> int:
    layer, formats = writer.qgraph.layers[node.name], writer.qgraph.formats
    if isinstance(layer, LayerFloats):
        raise FileError(
            f"layer {node.name!r} runs in half precision, TFLite holds integers",
            "Choose a target whose 16 bits are int16, or a plan without 16-bit layers.",
        )
    source, target = formats[node.inputs[0]], formats[node.name]
    slope = requant.slopes(node, len(layer.weight))
    if slope is None:
        return _conv(writer, node, node.name, layer, source, target)
    first = _conv(writer, node, f"{node.name}/positive", layer, source, target)
    steep = requant.sloped(layer, slope)
    second = _conv(writer, node, f"{node.name}/negative", steep, source, target)
    order = writer.orders[node.name]
    above = slope[order] > 1
    shape, options = writer.shapes[node.name], extreme(target)

    def pick(operator: str, name: str) -> int:
        return writer.file.op(operator, [first, second], writer.tensor(name, target, shape), *options)

    if not above.any():
        return pick("MAXIMUM", node.name)
    if above.all():
        return pick("MINIMUM", node.name)
    larger, smaller = pick("MAXIMUM", f"{node.name}/maximum"), pick("MINIMUM", f"{node.name}/minimum")
    mask = writer.file.tensor(f"{node.name}/steep", (1, 1, 1, above.size), "bool", data=above)
    return writer.file.op(
        "SELECT_V2", [mask, smaller, larger], writer.tensor(node.name, target, shape), Options("SelectV2Options")
    )


def _conv(writer: Writer, node: Node, name: str, layer: LayerIntegers, source: TensorFormat, target: TensorFormat) -> int:
    """One convolution operator with its bounds."""
    x, wide = writer.read(node.inputs[0], node), source.is_wide or target.is_wide
    shape = writer.shapes[node.name]
    if wide and not source.is_wide:
        source = widened(source)
        x = writer.quantize(x, f"{name}/input", source, writer.shapes[node.inputs[0]])
    x, padding = _pad(writer, node, name, x, source)
    depthwise = conv_of(node).groups == writer.channels[node.inputs[0]] > 1
    weight, bias, version = _weights(writer, node, name, layer, source, wide, depthwise)
    rows, columns = conv_of(node).strides
    dilated_rows, dilated_columns = conv_of(node).dilations
    fields = {
        "Padding": padding,
        "StrideH": rows,
        "StrideW": columns,
        "DilationHFactor": dilated_rows,
        "DilationWFactor": dilated_columns,
    }
    table = "Conv2DOptions"
    if depthwise:
        table, fields["DepthMultiplier"] = "DepthwiseConv2DOptions", len(layer.weight) // conv_of(node).groups
    operator = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"

    def write(y: int, activation: int) -> int:
        options = Options(table, {**fields, "FusedActivationFunction": activation})
        return writer.file.op(operator, [x, weight, bias], y, options, version)

    if wide and not target.is_wide:
        return writer.narrowed(name, target, shape, write)
    return writer.bounded(name, target, shape, write)


def _pad(writer: Writer, node: Node, name: str, x: int, source: TensorFormat) -> tuple[int, int]:
    """The input with explicit padding, if need be, and the padding scheme of the operator."""
    op = conv_of(node)
    left, right, top, bottom = op.padding
    if left == right == top == bottom == 0:
        return x, VALID
    kernel = writer.qgraph.layers[node.name].weight.shape[2:]
    spans = [d * (k - 1) for d, k in zip(op.dilations, kernel, strict=True)]
    sides = ((top, bottom), (left, right))
    halves = all(side == (span // 2, span - span // 2) for side, span in zip(sides, spans, strict=True))
    if halves and op.strides == (1, 1):
        return x, SAME
    channels, height, width = writer.shapes[node.inputs[0]]
    padded = writer.tensor(f"{name}/padded", source, (channels, height + top + bottom, width + left + right))
    amounts = writer.constant(f"{name}/padding", np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
    return writer.file.op("PAD", [x, amounts], padded, Options("PadOptions"), 2), VALID


def _weights(
    writer: Writer, node: Node, name: str, layer: LayerIntegers, source: TensorFormat, wide: bool, depthwise: bool
) -> tuple[int, int, int]:
    """Weight and bias tensors, and the operator version that their types need."""
    order, before = writer.orders[node.name], writer.orders[node.inputs[0]]
    weight = layer.weight[order]
    if conv_of(node).groups == 1:
        weight = weight[:, before]
    array = weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)
    axis = 3 if depthwise else 0
    stored = "int8"
    if writer.packed and INT4.holds(Int(layer.bits)):
        reason = "int4 weights need 8-bit tensors on both sides" if wide else ""
        reason = reason or ("int4 weights of a depthwise layer are not exact in every runtime" if depthwise else "")
        if reason:
            writer.promoted[node.name] = reason
        else:
            stored = "int4"
    w = writer.file.tensor(f"{name}.weight", array.shape, stored, scale=layer.scale[order], axis=axis, data=array)
    # TFLite takes the bias in units of s_x * s_w; this scale says so.
    scale = np.float32(source.scale) * layer.scale[order].astype(np.float32)
    b = writer.file.tensor(f"{name}.bias", order.shape, "int64" if wide else "int32", scale=scale, data=layer.bias[order])
    axes = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
    rows, columns = identity(order), () if conv_of(node).groups > 1 else identity(before)
    # Of a layer with slopes the first of two convolutions has the numbers as they are.
    writer.places.setdefault(f"weight/{node.name}", Place(f"{name}.weight", axes=axes, rows=rows, columns=columns))
    writer.places.setdefault(f"bias/{node.name}", Place(f"{name}.bias", rows=rows))
    versions = {"int8": (3, 3), "int4": (7, 6), "wide": (4, 5)}
    return w, b, versions["wide" if wide else stored][int(depthwise)]
