"""Values that change their place: codes stay what they are, where the format does."""

from __future__ import annotations

from onnx import TensorProto

from hwsearch.formats.onnx.codes.code_writer import CodeWriter, container
from hwsearch.formats.onnx.codes.table import CODES
from hwsearch.formats.onnx.operators.moves import padded
from searchspaces.ir.graph import Node
from searchspaces.ops.moves.move import Concat, Gather, Permute, Repeat, Reshape, Slice, View
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Resize

_MOVES_ANY_TYPE = (Slice, Repeat, Gather, Reshape, Permute)


def move(writer: CodeWriter, node: Node) -> str:
    """A move of codes. Runtimes move 16-bit codes by few operators, so they travel as floating point."""
    name = node.inputs[0]
    x, wide = writer.codes[name], writer.qgraph.formats[name].is_wide and not isinstance(node.op, _MOVES_ANY_TYPE)
    y = writer.written(node, [writer.cast(x, TensorProto.FLOAT) if wide else x])
    y = writer.cast(y, container(writer.qgraph.formats[name])) if wide else y
    return writer.converted(name, y, writer.qgraph.formats[node.name])


@CODES.register(View)
def _view(writer: CodeWriter, node: Node) -> str:
    return move(writer, node) if node.op.moves else writer.in_floating_point(node)


@CODES.register(Pad)
def _pad(writer: CodeWriter, node: Node) -> str:
    """Zeros are the code of zero."""
    name, fmt = node.inputs[0], writer.qgraph.formats[node.inputs[0]]
    if not node.op.moves:
        return writer.in_floating_point(node)
    codes = writer.cast(writer.codes[name], TensorProto.FLOAT)
    moved = padded(writer, node, codes, writer.const(0.0 if fmt.is_float else float(fmt.zero_point)))
    return writer.converted(name, writer.cast(moved, container(fmt)), writer.qgraph.formats[node.name])


@CODES.register(Resize)
def _resize(writer: CodeWriter, node: Node) -> str:
    nearest = isinstance(node.op, Resize) and node.op.mode in ("nearest", "nearest-exact")
    return move(writer, node) if nearest else writer.in_floating_point(node)


@CODES.register(Concat)
def _concat(writer: CodeWriter, node: Node) -> str:
    target = writer.qgraph.formats[node.name]
    return writer.written(node, [writer.converted(name, writer.codes[name], target) for name in node.inputs])
