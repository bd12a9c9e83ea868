"""In which order the axes of each tensor lie in memory.

Kernels of pictures read and write them with their channels last, products of matrices as the graph has them. What only moves
codes can write any order, so it writes the one that is asked for behind it; element by element the order of the input goes on.
"""

from __future__ import annotations

from collections.abc import Mapping

from hwsearch.formats.c.calls.places import LAST, Order, inner_axis, natural
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.base import Shape
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.input import Input
from searchspaces.ops.moves.move import Concat, Expand, Permute, PixelShuffle, PixelUnshuffle, Reshape, View
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.moves.windows import Windows
from searchspaces.ops.reductions.norm import GroupNorm, InstanceNorm, LayerNorm, RmsNorm, UnitNorm
from searchspaces.ops.reductions.reduce import AvgPool, MaxPool, Reduction
from searchspaces.ops.reductions.softmax import Softmax
from searchspaces.ops.state import Remember, State

OF_PICTURES = (Input, State, Remember, Conv, PixelShuffle, PixelUnshuffle, Resize, MaxPool, AvgPool)
OF_MATRICES = (Linear, MatMul)
TURNING = (Permute, Reshape, Expand, Windows)
"""Moves whose output has other axes than their input."""


def orders(graph: Graph, shapes: Mapping[str, Shape]) -> dict[str, Order]:
    """Name of each tensor -> its order."""
    asked = {name for name in _asked_for_pictures(graph) if len(shapes[name]) == len(LAST)}
    found: dict[str, Order] = {}
    for node in graph.nodes:
        found[node.name] = _order(node, node.name in asked, shapes, found)
    return found


def _asked_for_pictures(graph: Graph) -> set[str]:
    """Tensors that are read as pictures, perhaps behind operators that keep the order."""
    asked = {graph.output.name}
    for node in reversed(graph.nodes):
        if isinstance(node.op, OF_PICTURES) or (node.name in asked and not isinstance(node.op, (*OF_MATRICES, *TURNING))):
            asked.update(node.inputs)
    return asked


def _order(node: Node, asked: bool, shapes: Mapping[str, Shape], known: Mapping[str, Order]) -> Order:
    rank = len(shapes[node.name])
    if isinstance(node.op, OF_PICTURES):
        return LAST if rank == len(LAST) else natural(rank)
    if isinstance(node.op, OF_MATRICES):
        return natural(rank)
    first, read = known[node.inputs[0]], shapes[node.inputs[0]]
    match node.op:
        case GroupNorm() | InstanceNorm():
            return inner_axis(rank, 1)
        case Softmax(axis=axis):
            return inner_axis(rank, axis)
        case LayerNorm(axes=(axis,)) | RmsNorm(axes=(axis,)) | UnitNorm(axes=(axis,)):
            return inner_axis(rank, axis)
        case Reduction(keepdims=True):
            return first
        case Reduction(axes=axes):
            left = [axis for axis in range(len(read)) if axis not in {axis % len(read) for axis in axes}]
            return tuple(left.index(axis) for axis in first if axis in left)
        case View() | Concat():
            if asked:
                return LAST
            return natural(rank) if isinstance(node.op, TURNING) else first
    widest = next((name for name in node.inputs if shapes[name] == shapes[node.name]), None)
    return natural(rank) if widest is None else known[widest]
