"""How codes of a node are computed from codes, by operator type. What has no integer form is computed in single precision between
codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from searchspaces.ir.graph import Node
from searchspaces.ops.input import Unknown
from searchspaces.ops.table import OpTable

if TYPE_CHECKING:
    from hwsearch.formats.onnx.codes.code_writer import CodeWriter

WriteCodes = Callable[["CodeWriter", Node], str]
"""Appends the nodes of one canonical operation, and returns the name of its codes."""
CODES: OpTable[WriteCodes] = OpTable("ONNX")
CODES.lacks("nobody knows what it computes", Unknown)
