"""Scores that vanish in a softmax: masks of attention put them far below the others, and a grid need not reach so far."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.moves.move import View
from searchspaces.ops.reductions.softmax import Softmax

NOTHING = float(np.log(2 * (2**16 - 1)))
"""So far below the largest of its row, a score becomes less than half a step of a 16-bit softmax."""


class Floors:
    """The lowest score that matters of every tensor that softmax alone reads: ``NOTHING`` below the smallest largest one of all
    rows that were seen. What is clipped to it stays nothing in every row."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._axes = {node.inputs[0]: node.op.axis for node in graph.nodes if isinstance(node.op, Softmax)}
        self._found: dict[str, float] = {}

    def see(self, node: Node, y: Tensor) -> None:
        """A tensor of a crop."""
        if node.name in self._axes:
            floor = float(torch.amax(y, dim=self._axes[node.name]).min()) - NOTHING
            self._found[node.name] = min(self._found.get(node.name, floor), floor)

    def of(self, node: Node) -> float:
        """The floor of a tensor; minus infinity where it has none."""
        readers = self._graph.readers(node.name)
        if node.name == self._graph.output.name or not readers:
            return -np.inf
        return min(self._beneath(node, reader) for reader in readers)

    def _beneath(self, node: Node, reader: Node) -> float:
        if isinstance(reader.op, Softmax):
            return self._found[node.name]
        return self.of(reader) if isinstance(reader.op, View) else -np.inf
