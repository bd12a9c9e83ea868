"""Means, sums, variances and deviations of codes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from hwsearch.formats.onnx.codes.code_writer import CodeWriter
from hwsearch.formats.onnx.codes.table import CODES
from searchspaces.ir.graph import Node
from searchspaces.ops.reductions.reduce import Mean, Reduction, Std, Sum, Var


@CODES.register(Mean, Sum, Std, Var)
def pool(writer: CodeWriter, node: Node) -> str:
    """Mean, sum, variance or standard deviation: sums of codes are exact in double precision, whatever their order."""
    source, target, op = writer.qgraph.formats[node.inputs[0]], writer.qgraph.formats[node.name], node.op
    assert isinstance(op, Reduction)
    zero, scale = (0.0, 1.0) if source.is_float else (float(source.zero_point), float(source.scale))
    f64 = np.float64
    v = writer.op("Sub", [writer.cast(writer.codes[node.inputs[0]], TensorProto.DOUBLE), writer.const(zero, f64)])
    n = writer.cast(_count_of(writer, node.inputs[0], op), TensorProto.DOUBLE)
    axes, keep = writer.const(list(op.axes), np.int64), int(op.keepdims)
    total = writer.op("ReduceSum", [v, axes], keepdims=keep)
    if isinstance(op, Sum):
        y = total
    elif isinstance(op, Mean):
        y = writer.op("Div", [total, n])
    else:
        less = op.correction if isinstance(op, Std | Var) else 0
        squares = writer.op("ReduceSum", [writer.op("Mul", [v, v]), axes], keepdims=keep)
        spread = writer.op("Sub", [writer.op("Mul", [squares, n]), writer.op("Mul", [total, total])])
        below = writer.op("Sub", [n, writer.const(less, f64)]) if less else n
        variance = writer.op("Max", [writer.op("Div", [spread, writer.op("Mul", [n, below])]), writer.const(0.0, f64)])
        y = variance if isinstance(op, Var) else writer.op("Sqrt", [variance])
        scale = scale * scale if isinstance(op, Var) else scale
    return writer.store(writer.cast(writer.op("Mul", [y, writer.const(scale, f64)]), TensorProto.FLOAT), target)


def _count_of(writer: CodeWriter, source: str, op: Reduction) -> str:
    """How many values become one."""
    if op.over_picture:
        size = writer.op("Shape", [writer.codes[source]], start=2, end=4)
    else:
        whole = writer.op("Shape", [writer.codes[source]])
        rank = len(writer.shapes[source])
        size = writer.op("Gather", [whole, writer.const([axis % rank for axis in op.axes], np.int64)])
    return writer.op("ReduceProd", [size], keepdims=1)
