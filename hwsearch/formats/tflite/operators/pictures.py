"""Operators of pictures in a TFLite file beside convolutions: additions, clamps that stand alone, and moves of codes.

DEPTH_TO_SPACE takes channels block by block, PyTorch's pixel shuffle channel by channel. The layers before it give their output
channels in the order that is needed (``writing.order``); GATHER does where they cannot. SPACE_TO_DEPTH gives them so, and the
layers behind it read them so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwmodels.errors import FileError
from hwsearch.formats.tflite.operators.functions import curve
from hwsearch.formats.tflite.operators.table import WRITES
from hwsearch.formats.tflite.writing.copies import concatenated, reshaped, sliced, transposed
from hwsearch.formats.tflite.writing.file import Options
from hwsearch.formats.tflite.writing.form import NONE, RELU, RELU6, VALID, fused_bounds
from hwsearch.formats.tflite.writing.writer import PICTURE, Plain, Shape, Writer, widened
from hwsearch.formats.tflite.written import turned
from hwsearch.quant.engine import requant
from hwsearch.quant.engine.steps import codes, slopes
from hwsearch.quant.engine.steps.slopes import before_slope
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import LeakyRelu, PRelu, Relu, Relu6
from searchspaces.ops.moves.move import Concat, PixelShuffle, PixelUnshuffle, Repeat, Slice
from searchspaces.ops.reductions.reduce import MaxPool


@WRITES.register(Input)
def _input(writer: Writer, node: Node) -> int:
    return writer.tensor(node.name, writer.qgraph.formats[node.name], writer.shapes[node.name])


OTHERWISE = "Apply it to what a convolution writes, or export the plan as ONNX (--to onnx) or to C (--to c)."
"""Instead of a function behind an addition that no two operators of TFLite compute as the engine does."""
NO_SLOPES = "slopes of channels that no layer has are written for pictures of 8 bits in LiteRT alone"
"""LiteRT takes a PRELU of 16 bits, and computes something else."""


def add(writer: Writer, node: Node) -> int:
    formats = writer.qgraph.formats
    target, inputs = formats[node.name], [formats[name] for name in node.inputs]
    wide = any(fmt.is_wide for fmt in (target, *inputs))
    if node.activation is not None:
        return _sloped(writer, node, wide=wide)
    if len(node.inputs) != 2 or writer.shapes[node.inputs[0]] != writer.shapes[node.inputs[1]]:
        raise FileError(f"{node.name!r}: only tensors of one shape are added")
    terms = []
    for name, fmt in zip(node.inputs, inputs, strict=True):
        x = writer.read(name, node)
        if wide and not fmt.is_wide:
            x = writer.quantize(x, f"{node.name}/wide/{name}", widened(fmt), writer.shapes[name])
        terms.append(x)

    def write(y: int, activation: int) -> int:
        fields = {"FusedActivationFunction": activation, "PotScaleInt16": False}
        return writer.file.op("ADD", terms, y, Options("AddOptions", fields), 3 if wide else 2)

    if wide and not target.is_wide:
        return writer.narrowed(node.name, target, writer.shapes[node.name], write)
    return writer.bounded(node.name, target, writer.shapes[node.name], write)


def _sloped(writer: Writer, node: Node, *, wide: bool) -> int:
    """A slope behind a sum is an operator of its own, which reads the sum on a grid between the two."""
    op, formats = node.activation, writer.qgraph.formats
    sources, rule = [formats[name] for name in node.inputs], writer.qgraph.rule
    total = before_slope(node, sources, formats[node.name], rule, wide=wide)
    if total is None or slopes.table(node, total, formats[node.name], rule) is None:
        assert op is not None
        more = f", and {NO_SLOPES}" if isinstance(op, PRelu) else ""
        raise FileError(f"{node.name!r}: TFLite's addition has no fused {op.kind}{more}", OTHERWISE)
    name, shape = f"{node.name}/sum", writer.shapes[node.name]
    writer.joined(name, node, total)
    x = add(writer, replace(node.with_op(activation=None), name=name))
    if isinstance(op, LeakyRelu):
        return curve(writer, node, op, name, x, shape)
    return _by_channel(writer, node, total, x)


@WRITES.register(PRelu)
def _prelu(writer: Writer, node: Node) -> int:
    """Slopes of channels that stand alone, of a picture."""
    name, target = node.inputs[0], writer.qgraph.formats[node.name]
    source = writer.qgraph.formats[name]
    if len(writer.full[name]) != len(PICTURE) or slopes.table(node, source, target, writer.qgraph.rule) is None:
        raise FileError(f"{node.name!r}: {NO_SLOPES}", OTHERWISE)
    return _by_channel(writer, node, source, writer.read(name, node))


def _by_channel(writer: Writer, node: Node, source: TensorFormat, x: int) -> int:
    """PRELU of ``x``, which has the format ``source`` and its channels in the order of the node's tensor."""
    target = writer.qgraph.formats[node.name]
    fmt, found = slopes.stored_slopes(node, source, target)
    by = codes.stored(fmt)
    values = found[writer.orders[node.name]].reshape(1, 1, -1)
    other = writer.file.tensor(
        f"{node.name}/slopes", values.shape, by.kind, scale=by.scale, zero_point=by.zero_point, data=values
    )
    return writer.bounded(
        node.name, target, writer.shapes[node.name], lambda y, _: writer.file.op("PRELU", [x, other], y), fusible=False
    )


@WRITES.register(Relu, Relu6)
def _relu(writer: Writer, node: Node) -> int:
    """A ReLU or ReLU6 that stands alone, between 8-bit tensors of perhaps different scales."""
    source, target = writer.qgraph.formats[node.inputs[0]], writer.qgraph.formats[node.name]
    operator, activation = ("RELU6", RELU6) if isinstance(node.op, Relu6) else ("RELU", RELU)
    exact = requant.bounds(node, target) == fused_bounds(activation, target)
    if not exact or source.is_wide or target.is_wide:
        raise FileError(f"{node.name!r}: TFLite's {operator} cannot bound codes as the plan does")
    name, full = node.inputs[0], Plain(writer.full[node.name])
    if name in writer.pictures:
        return writer.file.op(operator, [writer.read(name, node)], writer.tensor(node.name, target, writer.shapes[node.name]))
    return writer.file.op(operator, [writer.plain(name)], writer.tensor(node.name, target, full))


@WRITES.register(Concat)
def _concat(writer: Writer, node: Node) -> int:
    """Along any axis: pictures as they stand in the file, others with the axes of the network."""
    op = node.op
    assert isinstance(op, Concat)
    writer.check_moved(node)
    picture, rank = all(name in writer.pictures for name in node.inputs), len(writer.full[node.name])
    axis = PICTURE.index(op.axis % rank) if picture else op.axis % rank
    x = [writer.read(name, node) if picture else writer.plain(name) for name in node.inputs]
    shape: Shape = writer.shapes[node.name] if picture else Plain(writer.full[node.name])
    return writer.moved(node, shape, concatenated(writer.file, x, axis))


@WRITES.register(MaxPool)
def _max_pool(writer: Writer, node: Node) -> int:
    """What lies around a picture is less than all of it: the least code, or, where there is none below zero, that of zero."""
    op, name = node.op, node.inputs[0]
    assert isinstance(op, MaxPool)
    source, target = writer.qgraph.formats[name], writer.qgraph.formats[node.name]
    writer.check_moved(node)
    x, (channels, height, width), (rows, columns) = writer.read(name, node), writer.shapes[name], op.padding
    if rows or columns:
        amounts = writer.constant(f"{node.name}/padding", np.array([[0, 0], [rows, rows], [columns, columns], [0, 0]], np.int32))
        padded = writer.tensor(f"{node.name}/padded", source, (channels, height + 2 * rows, width + 2 * columns))
        if source.qmin >= source.zero_point:
            x = writer.file.op("PAD", [x, amounts], padded, Options("PadOptions"), 2)
        else:
            least = writer.code(f"{node.name}/least", source, source.qmin)
            x = writer.file.op("PADV2", [x, amounts, least], padded, Options("PadV2Options"), 2)
    fields = {"Padding": VALID, "StrideH": op.stride[0], "StrideW": op.stride[1], "FilterHeight": op.kernel[0]}
    options = Options("Pool2DOptions", {**fields, "FilterWidth": op.kernel[1], "FusedActivationFunction": NONE})
    version = 3 if target.is_wide else 2
    return writer.bounded(
        node.name, target, writer.shapes[node.name], lambda y, _: writer.file.op("MAX_POOL_2D", [x], y, options, version),
        fusible=False,
    )  # fmt: skip


@WRITES.register(Repeat, PixelShuffle, PixelUnshuffle)
def move(writer: Writer, node: Node) -> int:
    """Slices, repeats, concatenations and pixel shuffles of codes."""
    writer.check_moved(node)
    x = [writer.read(name, node) for name in node.inputs]
    return writer.moved(node, writer.shapes[node.name], lambda y: _moved(writer, node, x, y))


def _moved(writer: Writer, node: Node, x: list[int], y: int) -> int:
    wide, shape = writer.qgraph.formats[node.name].is_wide, writer.shapes[node.name]
    match node.op:
        case Repeat(axis=1, times=times):
            return concatenated(writer.file, x * times, 3)(y)
        case Slice(start=start, axis=1, step=1):
            return sliced(writer.file, node.name, x[0], (0, 0, 0, int(start)), (-1, -1, -1, shape[0]))(y)
        case PixelShuffle() | PixelUnshuffle() if wide:
            return _shuffle16(writer, node, x[0], y)
        case PixelUnshuffle(factor=factor):
            return writer.file.op("SPACE_TO_DEPTH", x, y, Options("SpaceToDepthOptions", {"BlockSize": factor}))
        case PixelShuffle(factor=factor):
            return writer.file.op("DEPTH_TO_SPACE", x, y, Options("DepthToSpaceOptions", {"BlockSize": factor}))
    raise FileError(f"{node.name!r}: this exporter has {node.op.describe()} along the channels only", "Export it as ONNX.")


def _shuffle16(writer: Writer, node: Node, x: int, y: int) -> int:
    """A pixel shuffle of int16, or back, which TFLite has no kernel for: RESHAPE, TRANSPOSE, RESHAPE."""
    file, name, fmt = writer.file, node.name, writer.qgraph.formats[node.name]
    channels, height, width = writer.shapes[node.name]
    move = turned(writer.shapes[node.name], writer.shapes[node.inputs[0]][1])
    there = tuple(move.shape[axis] for axis in move.axes)
    split = file.tensor(f"{name}/split", move.shape, "int16", scale=fmt.scale)
    reshaped(file, f"{name}/split/argument", x, move.shape)(split)
    order = file.tensor(f"{name}/turned", there, "int16", scale=fmt.scale)
    transposed(file, f"{name}/turned/argument", split, move.axes)(order)
    return reshaped(file, f"{name}/joined/argument", order, (1, height, width, channels))(y)
