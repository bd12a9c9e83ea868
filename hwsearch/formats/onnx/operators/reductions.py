"""Sums and means over axes and windows, softmax, norms, samples of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from searchspaces.ir.graph import Node
from searchspaces.ops.moves.grid_sample import GridSample
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reductions import norm as nm
from searchspaces.ops.reductions import reduce as rd
from searchspaces.ops.reductions.softmax import Softmax

if TYPE_CHECKING:
    from hwsearch.formats.onnx.writer import Writer

from hwsearch.formats.onnx.operators.table import WRITES


def _axes(writer: Writer, axes: Sequence[int]) -> str:
    return writer.const(list(axes), np.int64)


@WRITES.register(rd.Mean)
def _mean(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, rd.Mean)
    if node.op.over_picture:
        return writer.op("GlobalAveragePool", [xs[0]], name)
    return writer.op("ReduceMean", [xs[0], _axes(writer, node.op.axes)], name, keepdims=int(node.op.keepdims))


@WRITES.register(rd.Sum, rd.Max, rd.Min)
def _reduce(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, rd.Reduction)
    kind = f"Reduce{type(node.op).__name__}"
    return writer.op(kind, [xs[0], _axes(writer, node.op.axes)], name, keepdims=int(node.op.keepdims))


@WRITES.register(rd.Var, rd.Std)
def _deviation(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    op = node.op
    assert isinstance(op, rd.Var | rd.Std)
    over, root = _axes(writer, op.axes), isinstance(op, rd.Std)
    plain = op.over_picture and op.correction == 0
    mean = writer.op("GlobalAveragePool", [xs[0]]) if plain else writer.op("ReduceMean", [xs[0], over], keepdims=1)
    centred = writer.op("Sub", [xs[0], mean])
    squares, last = writer.op("Mul", [centred, centred]), "" if root else name
    if plain:
        variance = writer.op("GlobalAveragePool", [squares], last)
    else:
        total = writer.op("ReduceSum", [squares, over], keepdims=int(op.keepdims))
        variance = writer.op("Div", [total, _count(writer, node.inputs[0], xs[0], op)], last)
    return writer.op("Sqrt", [variance], name) if root else variance


def _count(writer: Writer, source: str, x: str, op: rd.Var | rd.Std) -> str:
    """How many values are reduced, less the correction: a number, or computed in the file where that depends on the picture."""
    (shape, other), axes = writer.both_shapes(source), [axis % len(writer.shapes[source]) for axis in op.axes]
    if all(shape[axis] == other[axis] for axis in axes):
        return writer.const(float(np.prod([shape[axis] for axis in axes])) - op.correction)
    sides = writer.op("Gather", [writer.op("Shape", [x]), writer.const(axes, np.int64)])
    count = writer.cast(writer.op("ReduceProd", [sides], keepdims=0), TensorProto.FLOAT)
    return writer.op("Sub", [count, writer.const(float(op.correction))])


@WRITES.register(rd.MaxPool)
def _max_pool(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, rd.MaxPool)
    return writer.op("MaxPool", [_unfused(writer, node, xs[0])], name, **_pooled(node.op))


@WRITES.register(rd.AvgPool)
def _avg_pool(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, rd.AvgPool)
    return writer.op("AveragePool", [xs[0]], name, count_include_pad=int(node.op.count_padding), **_pooled(node.op))


def _unfused(writer: Writer, node: Node, x: str) -> str:
    """Zeros around a picture as values like others: ONNX Runtime (1.31) takes a padding in front of max pooling for the pooling's
    own, which is none of its values, unless something stands between them."""
    return writer.op("Max", [x, x]) if isinstance(writer.graph[node.inputs[0]].op, Pad) else x


def _pooled(op: rd.WindowPool) -> dict[str, Any]:
    return {"kernel_shape": list(op.kernel), "strides": list(op.stride), "pads": [*op.padding, *op.padding]}


@WRITES.register(GridSample)
def _grid_sample(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    op = node.op
    assert isinstance(op, GridSample)
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(op.mode, op.mode)
    return writer.op("GridSample", xs, name, mode=mode, padding_mode=op.around, align_corners=int(op.align_corners))


@WRITES.register(Softmax)
def _softmax(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, Softmax)
    return writer.op("Softmax", [xs[0]], name, axis=node.op.axis)


# Normalizations


def _scaled(writer: Writer, node: Node, x: str, axes: Sequence[int], name: str) -> str:
    """Weight and bias of a normalization over ``axes``, in their places."""
    shape = writer.shapes[node.name]
    sides = [shape[axis] if axis in [a % len(shape) for a in axes] else 1 for axis in range(len(shape))]
    for key, kind in (("weight", "Mul"), ("bias", "Add")):
        if key in node.weights:
            x = writer.op(kind, [x, writer.const(node.weights[key].numpy().reshape(sides))])
    return writer.op("Identity", [x], name)


@WRITES.register(nm.LayerNorm)
def _layer_norm(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, nm.LayerNorm)
    over = _axes(writer, node.op.axes)
    centred = writer.op("Sub", [xs[0], writer.op("ReduceMean", [xs[0], over], keepdims=1)])
    return _scaled(writer, node, _over_root(writer, centred, over, node.op.eps), node.op.axes, name)


@WRITES.register(nm.RmsNorm)
def _rms_norm(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, nm.RmsNorm)
    normal = _over_root(writer, xs[0], _axes(writer, node.op.axes), node.op.eps)
    return _scaled(writer, node, normal, node.op.axes, name)


@WRITES.register(nm.UnitNorm)
def _unit_norm(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, nm.UnitNorm)
    length = writer.op("ReduceL2", [xs[0], _axes(writer, node.op.axes)], keepdims=1)
    return writer.op("Div", [xs[0], writer.op("Max", [length, writer.const(node.op.eps)])], name)


def _over_root(writer: Writer, x: str, over: str, eps: float) -> str:
    """``x`` over the root of its mean square."""
    square = writer.op("ReduceMean", [writer.op("Mul", [x, x]), over], keepdims=1)
    return writer.op("Div", [x, writer.op("Sqrt", [writer.op("Add", [square, writer.const(eps)])])])


@WRITES.register(nm.InstanceNorm)
def _instance_norm(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, nm.InstanceNorm)
    return writer.op("InstanceNormalization", [xs[0], *_per_channel(writer, node)], name, epsilon=node.op.eps)


@WRITES.register(nm.GroupNorm)
def _group_norm(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    """Groups as the channels of an instance normalization, then scale and shift."""
    assert isinstance(node.op, nm.GroupNorm)
    groups, shape = node.op.groups, writer.op("Shape", [xs[0]])
    apart = writer.op("Reshape", [xs[0], writer.const([0, groups, -1], np.int64)])
    ends = [writer.const(np.full(groups, value)) for value in (1.0, 0.0)]
    normal = writer.op("InstanceNormalization", [apart, *ends], epsilon=node.op.eps)
    return _scaled(writer, node, writer.op("Reshape", [normal, shape]), (1,), name)


def _per_channel(writer: Writer, node: Node) -> list[str]:
    channels = writer.shapes[node.name][1]
    given = [node.weights.get("weight"), node.weights.get("bias")]
    values = [np.full(channels, v) if w is None else w.numpy() for w, v in zip(given, (1.0, 0.0), strict=True)]
    return [writer.const(value) for value in values]
