"""The table of TFLite operators that a plan can be written as, and why others cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op
from searchspaces.ops.input import Unknown
from searchspaces.ops.maps.activation import Activation
from searchspaces.ops.reductions.reduce import Std
from searchspaces.ops.table import OpTable

if TYPE_CHECKING:
    from hwsearch.formats.tflite.writing.writer import Writer

Write = Callable[["Writer", Node], int]
"""Gets the writer and a node, appends operators, and returns the tensor that holds the node's codes."""
WRITES: OpTable[Write] = OpTable("TFLite")
WRITES.lacks("this exporter writes layers, additions, clamps, means, moves and what attention is made of", Op)
WRITES.lacks("nobody knows what it computes", Unknown)
WRITES.lacks("TFLite has it for floating point, or by tables that round in another way", Activation)
WRITES.lacks(
    "TFLite has no deviation, and its steps would round one by one; its sums of floating point are not exact, the engine's are",
    Std,
)
