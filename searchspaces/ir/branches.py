"""Low-rank branches: a layer becomes the sum of itself without its strongest directions, and of two small layers that have them.

``W x = (W - U V) x + U (V x)``, with ``U V`` of rank r. What is left of W has a smaller range and is rounded more finely with as
few bits, while U and V hold few numbers and may have more bits (SVDQuant, Li et al., ICLR 2025, whose branch is in floating
point; here all three are ordinary layers with widths of their own, and their sum is an ordinary addition). The function of the
network stays the same in floating point. ``U V`` are the largest singular directions of W (Eckart and Young 1936).

A convolution's ``V`` is the whole kernel to r channels and ``U`` is 1x1, or, where the layer has fewer outputs than inputs and
stands on every pixel, ``V`` is 1x1 and ``U`` the whole kernel: whichever holds fewer numbers. The rows of V are orthonormal, so
that the channels between them have like ranges; U carries the singular values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hwmodels.errors import UsageError, closest
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.maps.activation import LeakyRelu, PRelu
from searchspaces.ops.maps.elementwise import Add

DOWN, UP, SUM = "down", "up", "sum"
"""What the nodes of a branch are called behind the name of their layer: V, U, and the sum with it."""


@dataclass(frozen=True, eq=False)
class Factors:
    """``up @ down`` is a part of a layer's weight, as a matrix: ``down float32[r, K]``, ``up float32[M, r]``.

    ``whole_kernel_first``: whether the kernel of a convolution stands in ``down`` (K = I kh kw, M = O) or in ``up`` (K = I, M =
    O kh kw).
    """

    down: Tensor
    up: Tensor
    whole_kernel_first: bool

    @property
    def numbers(self) -> int:
        """Weights that both have."""
        return self.down.numel() + self.up.numel()


def read(texts: Iterable[str]) -> dict[str, int]:
    """``LAYER=RANK`` texts as a layer's rank.

    Raises:
        UsageError: not of that form, or two ranks for one layer.
    """
    found: dict[str, int] = {}
    for text in texts:
        layer, equals, rank = text.strip().rpartition("=")
        if not equals or not layer or not rank.isdecimal() or int(rank) < 1:
            raise UsageError(f"--branches {text!r} is not LAYER=RANK", "For example --branches body.0=4.")
        if found.setdefault(layer, int(rank)) != int(rank):
            raise UsageError(f"--branches gives {layer!r} two ranks", "Keep one of them.")
    return found


def written(ranks: Mapping[str, int]) -> tuple[str, ...]:
    """What ``read`` reads."""
    return tuple(f"{layer}={rank}" for layer, rank in ranks.items())


def most(graph: Graph, layer: Node) -> int:
    """The largest rank of a branch that holds no more numbers than the layer does; 0 for what cannot have one: layers in groups,
    layers whose weights others use too, and those with slopes behind them, which TFLite files hold on layers, not on sums."""
    if not _is_plain(layer) or graph.tied(layer.name) or isinstance(layer.activation, LeakyRelu | PRelu):
        return 0
    rows, columns = _matrix(layer.weights["weight"], _whole_kernel_first(layer)).shape
    return min(rows * columns // (rows + columns), rows - 1, columns - 1)


def candidates(graph: Graph) -> dict[str, int]:
    """Layers that can have a branch, and the largest rank of each."""
    found = {node.name: most(graph, node) for node in graph.convs}
    return {name: rank for name, rank in found.items() if rank > 0}


def branched(graph: Graph, ranks: Mapping[str, int]) -> Graph:
    """The graph with branches; what a layer read and gave is read and given by the four nodes in its place.

    Raises:
        UsageError: there is no such layer, it cannot have a branch, or not one of that rank.
    """
    if not ranks:
        return graph
    known, offered = {node.name for node in graph.convs}, candidates(graph)
    for name, rank in ranks.items():
        if name not in known:
            raise UsageError(f"{graph.name} has no layer {name!r} to give a branch", closest(name, sorted(offered)))
        if name not in offered:
            raise UsageError(
                f"the layer {name} cannot have a low-rank branch",
                "It computes in groups, shares its weights with another layer, has slopes behind it, or is too small.",
            )
        if not 1 <= rank <= offered[name]:
            raise UsageError(
                f"a branch of rank {rank} for {name} would hold as much as the layer", f"Ranks there: 1 to {offered[name]}."
            )
    taken = {node.name for node in graph.nodes}
    nodes: list[Node] = []
    instead: dict[str, str] = {}
    for node in graph.nodes:
        own = replace(node, inputs=tuple(instead.get(name, name) for name in node.inputs))
        if node.name not in ranks:
            nodes.append(own)
            continue
        if twice := taken & {f"{node.name}.{part}" for part in (DOWN, UP, SUM)}:
            raise UsageError(f"{graph.name} has a layer {min(twice)!r} already", f"Give {node.name} no branch.")
        nodes += _parts(own, ranks[node.name])
        instead[node.name] = nodes[-1].name
    return replace(graph, nodes=tuple(nodes))


def beside(layer: Node, rank: int) -> Tensor:
    """What is left of a layer's weight beside its branch, ``float32`` of its shape."""
    found, weight = factors(layer, rank), layer.weights["weight"]
    return weight - _unfolded(found.up.double() @ found.down.double(), weight, found.whole_kernel_first).float()


def factors(layer: Node, rank: int) -> Factors:
    """The branch of a layer that can have one."""
    first = _whole_kernel_first(layer)
    up, values, down = torch.linalg.svd(_matrix(layer.weights["weight"], first).double(), full_matrices=False)
    return Factors(down[:rank].float(), (up[:, :rank] * values[:rank]).float(), first)


def given(graph: Graph) -> dict[str, tuple[str, str]]:
    """The layers that have a branch, as ``branched`` gives one: layer -> the names of V and U."""
    found = {}
    for node in graph.convs:
        down, up, total = (f"{node.name}.{part}" for part in (DOWN, UP, SUM))
        nodes = {other.name: other for other in graph.readers(node.name)} | {other.name: other for other in graph.readers(down)}
        if total in nodes and up in nodes and graph[total].inputs == (node.name, up) and graph[down].inputs == node.inputs:
            found[node.name] = (down, up)
    return found


def product(down: Tensor, up: Tensor) -> Tensor:
    """The weight of the one layer that does what two do, V and behind it U: of kernels ``[r, I, kh, kw]`` and ``[O, r, 1, 1]``,
    ``[r, I, 1, 1]`` and ``[O, r, kh, kw]``, or ``[r, I]`` and ``[O, r]``."""
    if up[0, 0].numel() == 1:
        return (up.flatten(1) @ down.flatten(1)).view(len(up), *down.shape[1:])
    return torch.einsum("orkl,ri->oikl", up, down.flatten(1))


def _parts(layer: Node, rank: int) -> list[Node]:
    """The layer's branch around it. V stands before the layer: what both read can go before U writes."""
    found = factors(layer, rank)
    weight = layer.weights["weight"]
    down_op, up_op = _operators(layer, found.whole_kernel_first)
    down = Node(f"{layer.name}.{DOWN}", down_op, layer.inputs, {"weight": _kernel_down(found, weight)})
    main = replace(
        layer.with_op(activation=None),
        weights={
            **{role: value for role, value in layer.weights.items() if role == "bias"},
            "weight": beside(layer, rank),
        },
    )
    up = Node(f"{layer.name}.{UP}", up_op, (down.name,), {"weight": _kernel_up(found, weight)})
    return [down, main, up, Node(f"{layer.name}.{SUM}", Add(activation=layer.activation), (layer.name, up.name))]


def _is_plain(layer: Node) -> bool:
    return isinstance(layer.op, Linear) or (isinstance(layer.op, Conv) and layer.op.groups == 1)


def _whole_kernel_first(layer: Node) -> bool:
    outputs, inputs, *kernel = layer.weights["weight"].shape
    return inputs <= outputs or math.prod(kernel) == 1 or not isinstance(layer.op, Conv) or layer.op.strides != (1, 1)


def _matrix(weight: Tensor, whole_kernel_first: bool) -> Tensor:
    """Weight ``[O, I, ...]`` as ``[O, I kh kw]``, or as ``[O kh kw, I]``."""
    if whole_kernel_first:
        return weight.flatten(1)
    return weight.movedim(1, -1).flatten(0, -2)


def _unfolded(matrix: Tensor, like: Tensor, whole_kernel_first: bool) -> Tensor:
    """The inverse of ``_matrix`` for a weight of the shape of ``like``."""
    outputs, inputs, *kernel = like.shape
    if whole_kernel_first:
        return matrix.view(like.shape)
    return matrix.view(outputs, *kernel, inputs).movedim(-1, 1)


def _kernel_down(found: Factors, like: Tensor) -> Tensor:
    """V as the weight of a layer ``[r, I, kh, kw]``, ``[r, I, 1, 1]`` or ``[r, I]``."""
    _, inputs, *kernel = like.shape
    return found.down.reshape(-1, inputs, *(kernel if found.whole_kernel_first else [1] * len(kernel))).contiguous()


def _kernel_up(found: Factors, like: Tensor) -> Tensor:
    """U as the weight of a layer ``[O, r, 1, 1]``, ``[O, r, kh, kw]`` or ``[O, r]``."""
    rank = found.down.shape[0]
    outputs, _, *kernel = like.shape
    if found.whole_kernel_first:
        return found.up.reshape(outputs, rank, *[1] * len(kernel)).contiguous()
    return found.up.reshape(outputs, *kernel, rank).movedim(-1, 1).contiguous()


def _operators(layer: Node, whole_kernel_first: bool) -> tuple[Conv | Linear, Conv | Linear]:
    """V and U, without functions."""
    if not isinstance(layer.op, Conv):
        return Linear(), Linear()
    whole = replace(layer.op, activation=None)
    return (whole, Conv()) if whole_kernel_first else (Conv(), whole)
