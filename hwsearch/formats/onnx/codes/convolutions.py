"""Convolutions and dense layers between codes, in integers wherever their weights are."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from hwmodels.numbers import INT2, INT4, INT8, Int
from hwsearch.formats.onnx.codes.code_writer import CodeWriter
from hwsearch.formats.onnx.codes.table import CODES
from hwsearch.formats.onnx.operators.contractions import window
from hwsearch.quant.engine import requant
from hwsearch.quant.engine.kernels.int8_kernel import saturates
from hwsearch.quant.engine.steps import as_conv
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers
from searchspaces.ir.graph import Node
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.maps.activation import Relu, Relu6

OPSET_INT2, IR_VERSION_INT2 = 25, 13
"""The first versions with 2-bit integers; files without them stay readable by older runtimes."""


def weight_field(layer: LayerIntegers) -> Int:
    """The integers of ONNX in which a layer's weights are stored."""
    if layer.bits == INT2.bits:
        return INT2
    return INT4 if INT4.holds(Int(layer.bits)) else INT8


@CODES.register(Conv)
def conv(writer: CodeWriter, node: Node) -> str:
    layer = writer.qgraph.layers[node.name]
    source, target = writer.qgraph.formats[node.inputs[0]], writer.qgraph.formats[node.name]
    if isinstance(layer, LayerFloats):
        return _float_conv(writer, node, layer, target)
    narrow = not source.is_wide and not target.is_wide
    if narrow and (node.activation is None or isinstance(node.activation, Relu | Relu6)):
        return _qdq_conv(writer, node, layer, source, target)
    return _integer_conv(writer, node, layer, source, target)


def _float_conv(writer: CodeWriter, node: Node, layer: LayerFloats, target: TensorFormat) -> str:
    weight = writer.cast(writer.weight(node, layer.weight, np.float16), TensorProto.FLOAT)
    bias = writer.cast(writer.const(layer.bias, np.float16, f"{node.name}.bias"), TensorProto.FLOAT)
    real = writer.op("Conv", [writer.load(node.inputs[0]), weight, bias], **window(node))
    return writer.store(writer.activate(real, node, node.activation), target)


def _packed(writer: CodeWriter, node: Node, layer: LayerIntegers, signed: bool) -> str:
    """Weights of at most 4 bits, two or four a byte, behind the Cast that ONNX Runtime folds."""
    field = weight_field(layer)
    bits, per_byte, offset = field.bits, INT8.bits // field.bits, 0 if signed else field.own_middle
    fields = (layer.weight.astype(np.int16).reshape(-1) + offset) & field.levels
    rows = np.pad(fields, (0, -fields.size % per_byte)).reshape(-1, per_byte)
    packed = (rows << (bits * np.arange(per_byte))).sum(axis=1).astype(np.uint8)  # the first in the lowest bits
    kind = ("" if signed else "U") + str(field).upper()
    tensor = TensorProto(data_type=TensorProto.DataType.Value(kind), dims=layer.weight.shape)
    tensor.raw_data = packed.tobytes()
    if field == INT2:
        writer.versions = OPSET_INT2, IR_VERSION_INT2
    return writer.cast(writer.of_all(node, tensor), TensorProto.INT8 if signed else TensorProto.UINT8)


def _qdq_conv(writer: CodeWriter, node: Node, layer: LayerIntegers, source: TensorFormat, target: TensorFormat) -> str:
    outputs = layer.weight.shape[0]
    # Zero points belong to one layer each: ONNX Runtime's int8-to-uint8 rewriting stumbles over a shared one.
    zeros = f"{node.name}.zero"
    x = writer.op("DequantizeLinear", [writer.codes[node.inputs[0]], *writer.grid(source)])
    if weight_field(layer) != INT8:
        weight, zero = _packed(writer, node, layer, signed=True), writer.const(np.zeros(outputs), np.int8, zeros)
    elif saturates(layer, source):
        weight = writer.weight(node, layer.weight.astype(np.int16) + INT8.middle, np.uint8)
        zero = writer.const(np.full(outputs, INT8.middle), np.uint8, zeros)
    else:
        weight = writer.weight(node, layer.weight, np.int8)
        zero = writer.const(np.zeros(outputs), np.int8, zeros)
    scale = layer.scale.astype(np.float32)
    w = writer.op("DequantizeLinear", [weight, writer.const(scale), zero], axis=0)
    # ONNX Runtime takes the bias's integers as they are and requires this scale.
    bias_scale = writer.const(np.float32(source.scale) * scale)
    bias = writer.const(layer.bias, np.int32, f"{node.name}.bias")
    b = writer.op("DequantizeLinear", [bias, bias_scale, writer.const(np.zeros(outputs), np.int32)], axis=0)
    y = writer.op("Conv", [x, w, b], **window(node))
    return writer.clip_codes(writer.op("QuantizeLinear", [y, *writer.grid(target)]), *requant.bounds(node, target))


def _integer_conv(writer: CodeWriter, node: Node, layer: LayerIntegers, source: TensorFormat, target: TensorFormat) -> str:
    field = weight_field(layer)
    if field != INT8:
        weight = _packed(writer, node, layer, signed=False)
    else:
        weight = writer.weight(node, layer.weight.astype(np.int16) + INT8.middle, np.uint8)
    zero = writer.const(field.own_middle, np.uint8)
    around, codes = window(node), writer.codes[node.inputs[0]]
    m = requant.multipliers(layer, source, target)
    kind = int(TensorProto.FLOAT if m.dtype == np.float32 else TensorProto.DOUBLE)

    def sums(x: str, z: int) -> str:
        return writer.op("ConvInteger", [x, weight, writer.const(z, np.uint8), zero], **around)

    if not source.is_wide:
        bias = writer.const(layer.bias.reshape(1, -1, 1, 1), np.int32, f"{node.name}.bias")
        acc = writer.cast(writer.op("Add", [sums(codes, source.zero_point), bias]), kind)
    else:
        q = writer.cast(codes, TensorProto.FLOAT)
        high = writer.op("Floor", [writer.op("Mul", [q, writer.const(1 / 256)])])
        low = writer.op("Sub", [q, writer.op("Mul", [high, writer.const(256.0)])])
        zh, zl = divmod(source.zero_point, 256)
        upper = writer.cast(sums(writer.cast(high, TensorProto.UINT8), zh), TensorProto.DOUBLE)
        lower = writer.cast(sums(writer.cast(low, TensorProto.UINT8), zl), TensorProto.DOUBLE)
        acc = writer.op("Add", [writer.op("Mul", [upper, writer.const(256, np.float64)]), lower])
        acc = writer.op("Add", [acc, writer.const(layer.bias.reshape(1, -1, 1, 1), np.float64, f"{node.name}.bias")])
    v = writer.op("Mul", [acc, writer.per_channel(m)])
    if target.is_float:
        real = v if m.dtype == np.float32 else writer.cast(v, TensorProto.FLOAT)
        return writer.store(writer.activate(real, node, node.activation), target)
    slope = requant.slopes(node, layer.weight.shape[0])
    if slope is not None:
        # max(v, 0) + slope * min(v, 0): one term is always zero, so this equals the choice of a side; PRelu knows no doubles.
        nil = writer.const(0.0, m.dtype)
        negative = writer.op("Mul", [writer.op("Min", [v, nil]), writer.per_channel(slope.astype(m.dtype))])
        v = writer.op("Add", [writer.op("Max", [v, nil]), negative])
    return writer.finish(writer.op("Round", [v]), target, *requant.bounds(node, target), m.dtype)


@CODES.register(Linear)
def linear(writer: CodeWriter, node: Node) -> str:
    """The vectors as pixels of a 1x1 convolution, which ONNX Runtime fuses as any other."""
    source, before = node.inputs[0], writer.codes[node.inputs[0]]
    inner, outer = writer.shapes[source][-1], writer.shapes[node.name][-1]
    rows = writer.op("Reshape", [before, writer.const([-1, inner, 1, 1], np.int64)])
    writer.codes[source] = rows
    y = conv(writer, as_conv(node))
    writer.codes[source] = before
    lead = writer.op("Shape", [before], start=0, end=len(writer.shapes[source]) - 1)
    return writer.op("Reshape", [y, writer.op("Concat", [lead, writer.const([outer], np.int64)], axis=0)])
