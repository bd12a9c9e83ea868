"""State between frames in single precision: see ``hwsearch.formats.onnx.state``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto

from hwsearch.formats.onnx import state
from hwsearch.formats.onnx.operators.table import WRITES
from searchspaces.ir.graph import Node
from searchspaces.ops.state import Remember, State

if TYPE_CHECKING:
    from hwsearch.formats.onnx.writer import Writer


@WRITES.register(State)
def _given(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    return state.given(writer, node, TensorProto.FLOAT, 0)


@WRITES.register(Remember)
def _kept(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    return state.kept(writer, node, xs[0], TensorProto.FLOAT)
