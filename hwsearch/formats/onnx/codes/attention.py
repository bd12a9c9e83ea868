"""Attention between codes: products of two computed tensors, and softmax, in the arithmetic of the engine under rule "f32".

Between tensors of at most 8 bits they are written as DequantizeLinear, the operator, QuantizeLinear, which ONNX Runtime fuses
into QLinearMatMul and QLinearSoftmax. It has no integer kernels of 16 bits: there a product is one of doubles, in which the sums
of codes are exact, and a softmax is a float island. So is one of 8 bits over so few entries that QLinearSoftmax would overflow.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from hwsearch.formats.onnx.codes.code_writer import CodeWriter
from hwsearch.formats.onnx.codes.table import CODES
from hwsearch.quant.engine.operators.qlinear import softmax_overflows
from hwsearch.quant.engine.steps.codes import integers, narrow
from searchspaces.ir.graph import Node
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.reductions.softmax import Softmax


@CODES.register(MatMul)
def matmul(writer: CodeWriter, node: Node) -> str:
    """QLinearMatMul, or a product of doubles where a tensor of 16 bits takes part."""
    target, sources = writer.qgraph.formats[node.name], [writer.qgraph.formats[name] for name in node.inputs]
    if not integers(target, *sources):
        return writer.in_floating_point(node)
    assert isinstance(node.op, MatMul)
    sides = []
    for name, turn in zip(node.inputs, (node.op.transpose_a, node.op.transpose_b), strict=True):
        *lead, last, first = range(len(writer.shapes[name]))
        x, wide = writer.codes[name], writer.qgraph.formats[name].is_wide
        if turn:
            x = writer.cast(x, TensorProto.FLOAT) if wide else x
            x = writer.op("Transpose", [x], perm=[*lead, first, last])
        sides.append(x)
    if narrow(target, *sources):
        terms = [writer.op("DequantizeLinear", [x, *writer.grid(fmt)]) for x, fmt in zip(sides, sources, strict=True)]
        y = writer.op("QuantizeLinear", [writer.op("MatMul", terms), *writer.grid(target)])
        return writer.clip_codes(y, target.qmin, target.qmax)
    shifted = [
        writer.op("Sub", [writer.cast(x, TensorProto.DOUBLE), writer.const(float(fmt.zero_point), np.float64)])
        for x, fmt in zip(sides, sources, strict=True)
    ]
    m = float(sources[0].scale) * float(sources[1].scale) / float(target.scale)
    # Sums are whole numbers, which Round leaves alone; without it the multiplier becomes a float32 of a fused product.
    sums = writer.op("Round", [writer.op("MatMul", shifted)])
    scaled = writer.op("Mul", [sums, writer.const(m, np.float64)])
    return writer.finish(writer.op("Round", [scaled]), target, target.qmin, target.qmax, np.float64)


@CODES.register(Softmax)
def softmax(writer: CodeWriter, node: Node) -> str:
    """QLinearSoftmax, or a float island where a tensor of 16 bits takes part or the kernel would overflow."""
    source, target = writer.qgraph.formats[node.inputs[0]], writer.qgraph.formats[node.name]
    assert isinstance(node.op, Softmax)
    length = writer.shapes[node.name][node.op.axis]
    if not narrow(source, target) or softmax_overflows(length, target.scale):
        return writer.in_floating_point(node)
    real = writer.op("DequantizeLinear", [writer.codes[node.inputs[0]], *writer.grid(source)])
    y = writer.op("QuantizeLinear", [writer.written(node, [real]), *writer.grid(target)])
    return writer.clip_codes(y, target.qmin, target.qmax)
