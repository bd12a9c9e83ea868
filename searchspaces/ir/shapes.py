"""Shapes of all tensors of a graph, and which axis of each has the channels."""

from __future__ import annotations

from collections.abc import Mapping

from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.base import Op, Shape
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.moves.move import Expand, Permute, Reshape
from searchspaces.ops.reductions.norm import LayerNorm, RmsNorm
from searchspaces.ops.reductions.reduce import Reduction


def shapes(graph: Graph, height: int, width: int) -> dict[str, Shape]:
    """Shape of every tensor for one picture of ``height`` x ``width`` pixels, the batch axis (1) included.

    Raises:
        ValueError: an operator cannot take what it reads at this size; the message names it.
    """
    found: dict[str, Shape] = {}
    for node in graph.at(height, width).nodes:
        if isinstance(node.op, Input):
            found[node.name] = (1, node.op.channels, height, width)
            continue
        sources = [found[source] for source in node.inputs]
        try:
            found[node.name] = node.op.shape(sources, node.weight_shapes)
        except (ValueError, RuntimeError, IndexError) as error:
            if graph.uncounted:  # nobody knows what comes out of an unknown operation
                found[node.name] = sources[0]
                continue
            raise ValueError(f"{node.name}: {error}") from error
    return found


def propagate(graph: Graph, height: int, width: int) -> dict[str, tuple[int, int, int]]:
    """Channels, height and width of every tensor of a network whose tensors are all pictures.

    Raises:
        ValueError: a tensor is none.
    """
    found = {}
    for name, shape in shapes(graph, height, width).items():
        if len(shape) != 4 or shape[0] != 1:
            raise ValueError(f"{name}: a tensor {list(shape)} is no picture [1, C, H, W]")
        found[name] = (shape[1], shape[2], shape[3])
    return found


def channel_axes(graph: Graph, found: Mapping[str, Shape]) -> dict[str, int]:
    """Axis of the channels of every tensor, not negative: where its writer or one of its readers says, or as in what it was
    computed from; by default axis 1 of four, and the last of any other number."""
    axes: dict[str, int] = {}
    for node in graph.nodes:
        rank = len(found[node.name])
        said = node.op.channel_axis
        if said is None:
            said = next((reader.op.channel_axis for reader in graph.readers(node.name) if _says(reader)), None)
        if said is None and node.inputs and not node.op.moves and len(found[node.inputs[0]]) == rank:
            said = axes[node.inputs[0]]
        axes[node.name] = said % rank if said is not None and -rank <= said < rank else (1 if rank == 4 else rank - 1)
    return axes


def known_channel_axes(graph: Graph) -> dict[str, int | None]:
    """Axis of the channels of every tensor (-1: the last) where its writer says, or as in what it was computed from; None where
    a reshape, a permutation or a product of matrices leaves nothing that can be called a channel, of a number that no picture
    changes. Tensors of a network of pictures have theirs on axis 1."""
    axes: dict[str, int | None] = {}
    for node in graph.nodes:
        axes[node.name] = _written_axis(node.op, [axes[source] for source in node.inputs])
    return axes


def _written_axis(op: Op, before: list[int | None]) -> int | None:
    match op:
        case Input():
            return 1
        case MatMul() | Permute() | Reshape() | Expand() | Unknown() | Reduction(keepdims=False):
            return None
        case Affine(axis=axis):
            return axis
        case LayerNorm(axes=(-1,)) | RmsNorm(axes=(-1,)):
            return -1
    if op.channel_axis is not None:
        return op.channel_axis
    return before[0] if len(set(before)) == 1 else None


def _says(node: Node) -> bool:
    return node.op.channel_axis is not None
