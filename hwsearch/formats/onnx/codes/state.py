"""State between frames as codes: see ``hwsearch.formats.onnx.state``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwsearch.formats.onnx import state
from hwsearch.formats.onnx.codes.table import CODES
from searchspaces.ir.graph import Node
from searchspaces.ops.state import Remember, State

if TYPE_CHECKING:
    from hwsearch.formats.onnx.codes.code_writer import CodeWriter


@CODES.register(State)
def _given(writer: CodeWriter, node: Node) -> str:
    fmt = writer.qgraph.formats[node.name]
    return state.given(writer, node, writer.container_of(node.name), 0 if fmt.is_float else fmt.zero_point)


@CODES.register(Remember)
def _kept(writer: CodeWriter, node: Node) -> str:
    source = node.inputs[0]
    codes = writer.converted(source, writer.codes[source], writer.qgraph.formats[node.name])
    return state.kept(writer, node, codes, writer.container_of(node.name))
