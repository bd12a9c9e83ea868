"""The input, and sums of products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from searchspaces.ir.graph import Node
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.input import Input
from searchspaces.ops.maps.affine import Affine

if TYPE_CHECKING:
    from hwsearch.formats.onnx.writer import Writer

from hwsearch.formats.onnx.operators.table import WRITES


@WRITES.register(Input)
def _input(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    return "input"


@WRITES.register(Conv)
def _conv(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    return writer.op("Conv", [xs[0], *writer.weights(node)], name, **window(node))


@WRITES.register(Linear)
def _linear(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    weight, *bias = writer.weights(node)
    matrix = writer.op("Reshape", [weight, writer.const(node.weights["weight"].shape[:2], np.int64)])
    turned = writer.op("Transpose", [matrix], perm=[1, 0])
    if not bias:
        return writer.op("MatMul", [xs[0], turned], name)
    return writer.op("Add", [writer.op("MatMul", [xs[0], turned]), *bias], name)


@WRITES.register(MatMul)
def _matmul(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    op = node.op
    assert isinstance(op, MatMul)
    sides = []
    for x, source, turn in zip(xs, node.inputs, (op.transpose_a, op.transpose_b), strict=True):
        *lead, last, first = range(len(writer.shapes[source]))
        sides.append(writer.op("Transpose", [x], perm=[*lead, first, last]) if turn else x)
    return writer.op("MatMul", sides, name)


@WRITES.register(Affine)
def _affine(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, Affine)
    sides = [1] * len(writer.shapes[node.name])
    sides[node.op.axis] = -1
    scale, shift = (writer.const(node.weights[key].numpy().reshape(sides)) for key in ("scale", "shift"))
    return writer.op("Add", [writer.op("Mul", [xs[0], scale]), shift], name)


# Element by element


def window(node: Node) -> dict[str, Any]:
    """Attributes of a convolution."""
    op = node.op
    assert isinstance(op, Conv)
    left, right, top, bottom = op.padding
    return {
        "pads": [int(top), int(left), int(bottom), int(right)],
        "strides": list(op.strides),
        "dilations": list(op.dilations),
        "group": int(op.groups),
    }
