"""The table of operators in single-precision ONNX, and the form of its entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op
from searchspaces.ops.input import Unknown
from searchspaces.ops.table import OpTable

if TYPE_CHECKING:
    from hwsearch.formats.onnx.writer import Writer

Write = Callable[["Writer", Node, list[str], str], str]
"""Gets the writer, the node, the names of the tensors that it reads, and a name for its result, or ""; gives that name."""
WRITES: OpTable[Write] = OpTable("ONNX")
WRITES.lacks("nobody has written it in operators of ONNX yet", Op)
WRITES.lacks("nobody knows what it computes", Unknown)
