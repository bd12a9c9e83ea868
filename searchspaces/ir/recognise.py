"""Operators that a network spells out, found again: a normalization or deviation in steps, shuffles and repeats by reshapes,
functions of one value (``functions``).

Each is exact: what is put in computes the same function. It is fewer passes over memory, and integer hardware has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from searchspaces.ir.functions import spelled
from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op
from searchspaces.ops.input import Unknown
from searchspaces.ops.maps.activation import Pow, Rsqrt, Sqrt
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Div, Mul, SquaredDifference, Sub
from searchspaces.ops.moves.move import Concat, Expand, Permute, PixelShuffle, PixelUnshuffle, Repeat, Reshape
from searchspaces.ops.reductions.norm import LayerNorm, RmsNorm
from searchspaces.ops.reductions.reduce import Mean, Reduction, Std, Var
from searchspaces.ops.state import Remember, State

Nodes = Mapping[str, Node]


def recognise(nodes: Sequence[Node]) -> list[Node]:
    """The nodes with what was recognised in the place of the last node that spelled it; nodes that nobody reads are gone."""
    by_name = {node.name: node for node in nodes}
    place = {node.name: i for i, node in enumerate(nodes)}
    for node in nodes:
        for find in _FINDS:
            if (found := find(node, by_name)) is not None:
                break
        found = found or spelled(node, by_name, place)
        if found is not None:
            by_name[node.name] = found
    return list(_reached([by_name[node.name] for node in nodes]))


def _reached(nodes: list[Node]) -> Iterator[Node]:
    needed = {nodes[-1].name, nodes[0].name, *(node.name for node in nodes if isinstance(node.op, State | Remember))}
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return (node for node in nodes if node.name in needed)


def _shuffle(node: Node, nodes: Nodes) -> Node | None:
    """``[N, C, f, f, H, W] -> [N, C, H, f, W, f] -> [N, C, f H, f W]``, or back."""
    if not isinstance(node.op, Reshape) or len(node.op.sizes) != 4:
        return None
    order = nodes[node.inputs[0]]
    if not isinstance(order.op, Permute):
        return None
    split = nodes[order.inputs[0]]
    if not isinstance(split.op, Reshape) or len(split.op.sizes) != 6 or split.op.sizes[0] != -1 or node.op.sizes[0] != -1:
        return None
    sizes, last = split.op.sizes, node.op.sizes
    if not of_pictures(nodes, split.inputs[0]):
        return None
    if order.op.axes == (0, 1, 4, 2, 5, 3) and isinstance(sizes[2], int) and sizes[2] == sizes[3] and last[1] == sizes[1]:
        return Node(node.name, PixelShuffle(sizes[2]), split.inputs)
    factor = sizes[3]
    if order.op.axes == (0, 1, 3, 5, 2, 4) and isinstance(factor, int) and factor == sizes[5] and isinstance(sizes[1], int):
        whole = last[1] == sizes[1] * factor**2 and (last[2], last[3]) == (sizes[2], sizes[4])
        return Node(node.name, PixelUnshuffle(factor), split.inputs) if whole else None
    return None


def _repeat(node: Node, nodes: Nodes) -> Node | None:
    """``[N, C, H, W] -> [N, C, 1, H, W] -> [N, C, k, H, W] -> [N, C k, H, W]``: every channel k times."""
    if not isinstance(node.op, Reshape) or len(node.op.sizes) != 4:
        return None
    copies = nodes[node.inputs[0]]
    times = _copies(copies)
    apart = nodes[copies.inputs[0]] if copies.inputs else node
    if times is None or not isinstance(apart.op, Reshape) or len(apart.op.sizes) != 5:
        return None
    before, after = apart.op.sizes, node.op.sizes
    channels = before[1]
    if not isinstance(channels, int) or before[2] != 1 or after != (before[0], channels * times, *before[3:]):
        return None
    return Node(node.name, Repeat(times), apart.inputs) if of_pictures(nodes, apart.inputs[0]) else None


def _copies(node: Node) -> int | None:
    """How often a tensor of five axes stands along the third: copied, or put behind itself."""
    if isinstance(node.op, Concat) and node.op.axis == 2 and len(set(node.inputs)) == 1:
        return len(node.inputs)
    if isinstance(node.op, Expand) and len(node.op.sizes) == 5:
        times = node.op.sizes[2]
        rest = (*node.op.sizes[:2], *node.op.sizes[3:])
        return times if rest == (-1,) * 4 and isinstance(times, int) and times > 1 else None
    return None


def _deviation(node: Node, nodes: Nodes) -> Node | None:
    """``sqrt(mean((x - mean(x))^2))``: the standard deviation of the population."""
    if not isinstance(node.op, Sqrt):
        return None
    spread = nodes[node.inputs[0]]
    if not isinstance(spread.op, Mean) or not spread.op.keepdims:
        return None
    square = nodes[spread.inputs[0]]
    centred = nodes[square.inputs[0]]
    if not isinstance(centred.op, Sub) or len(centred.inputs) != 2:
        return None
    axes = _mean_of(nodes[centred.inputs[1]], centred.inputs[0])
    if axes is None or not _variance_of(spread, centred, axes, nodes):
        return None
    return Node(node.name, Std(axes), centred.inputs[:1])


def of_pictures(nodes: Nodes, name: str) -> bool:
    """Whether a tensor is known to have four axes, channels on the second."""
    source = nodes[name]
    while source.op.channel_axis is None:
        changes = isinstance(source.op, Reshape | Permute | Expand | Unknown)
        if not source.inputs or changes or (isinstance(source.op, Reduction) and not source.op.keepdims):
            return False
        source = nodes[source.inputs[0]]
    return source.op.channel_axis == 1


def _normalization(node: Node, nodes: Nodes) -> Node | None:
    """``(x - mean) / sqrt(variance + eps)`` over some axes, or ``x / sqrt(mean(x^2) + eps)``, by division or by ``rsqrt``."""
    if len(node.inputs) != 2 or not isinstance(node.op, Div | Mul):
        return None
    deviation: type[Op] = Sqrt if isinstance(node.op, Div) else Rsqrt
    above, below = (nodes[name] for name in node.inputs)
    if not isinstance(below.op, deviation):
        return None
    padded = nodes[below.inputs[0]]
    eps = _constant_shift(padded)
    spread = nodes[padded.inputs[0]]
    if eps is None:
        return None
    if isinstance(above.op, Sub) and len(above.inputs) == 2:
        axes = _mean_of(nodes[above.inputs[1]], above.inputs[0])
        if axes is not None and _variance_of(spread, above, axes, nodes):
            return Node(node.name, LayerNorm(axes, eps), (above.inputs[0],))
    axes = _mean_square_of(spread, lambda square: square.inputs in ((above.name,), (above.name,) * 2), nodes)
    return Node(node.name, RmsNorm(axes, eps), (above.name,)) if axes is not None else None


def _multiplied_out(node: Node, nodes: Nodes) -> Node | None:
    """``x s + (b - mean s)`` with ``s = g / sqrt(variance + eps)``, over one axis: as Keras normalizes layers."""
    if not isinstance(node.op, Add) or node.op.activation is not None or len(node.inputs) != 2:
        return None
    for scaled, shifted in ((nodes[a], nodes[b]) for a, b in (node.inputs, node.inputs[::-1])):
        product, constants = _taken_from(shifted, nodes)
        if constants is None or any(not isinstance(n.op, Mul) or len(n.inputs) != 2 for n in (scaled, product)):
            continue
        for factor in {*scaled.inputs} & {*product.inputs}:
            source, mean = (next((i for i in n.inputs if i != factor), factor) for n in (scaled, product))
            axes, inverse, gain = _mean_of(nodes[mean], source), nodes[factor], None
            if isinstance(inverse.op, Mul) and len(inverse.inputs) == 1:
                gain, inverse = inverse.weights["other"], nodes[inverse.inputs[0]]
            if axes is None or len(axes) != 1 or not isinstance(inverse.op, Rsqrt):
                continue
            padded = nodes[inverse.inputs[0]]
            eps, spread, bias = _constant_shift(padded), nodes[padded.inputs[0]], constants.flatten()
            centred = Node("", Sub(), (source, mean))
            if eps is None or not _variance_of(spread, centred, axes, nodes):
                continue
            fitting = [operand is None or _along(operand, axes[0], bias.numel()) for operand in (constants, gain)]
            if bias.numel() > 1 and all(fitting):
                weight = torch.ones_like(bias) if gain is None else gain.flatten().expand_as(bias).clone()
                return Node(node.name, LayerNorm(axes, eps), (source,), {"weight": weight, "bias": bias})
    return None


def _taken_from(node: Node, nodes: Nodes) -> tuple[Node, Tensor | None]:
    """What a node takes from constants, and these as an operand; None in their place where it does something else."""
    source = nodes[node.inputs[0]] if node.inputs else node
    if isinstance(node.op, Affine) and bool((node.weights["scale"] == -1).all()):
        return source, node.weights["shift"].view((-1, 1, 1) if node.op.axis == 1 else (-1,))
    negated = isinstance(source.op, Mul) and len(source.inputs) == 1 and bool((source.weights["other"] == -1).all())
    if isinstance(node.op, Add) and len(node.inputs) == 1 and node.op.activation is None and negated:
        return nodes[source.inputs[0]], node.weights["other"]
    taken = isinstance(node.op, Sub) and node.op.constant_first and len(node.inputs) == 1
    return source, node.weights["other"] if taken else None


def _along(other: Tensor, axis: int, count: int) -> bool:
    """Whether a constant operand is one number, or has one for each of ``count`` channels on their axis: the second of a picture,
    or the last."""
    if other.numel() == 1:
        return True
    own = other.shape[-3:-2] if axis == 1 else other.shape[-1:]
    return other.numel() == count == (own or (0,))[0]


def _constant_shift(node: Node) -> float | None:
    """eps, where a node adds one small number."""
    shift: Tensor | None = None
    if isinstance(node.op, Affine) and bool((node.weights["scale"] == 1).all()):
        shift = node.weights["shift"]
    elif isinstance(node.op, Add) and node.op.activation is None:
        shift = node.weights.get("other")
    if shift is None or not bool((shift == shift.flatten()[0]).all()):
        return None
    return float(shift.flatten()[0])


def _mean_of(node: Node, source: str) -> tuple[int, ...] | None:
    kept = isinstance(node.op, Mean) and node.op.keepdims and node.inputs == (source,)
    return node.op.axes if kept and isinstance(node.op, Mean) else None


def _variance_of(node: Node, centred: Node, axes: tuple[int, ...], nodes: Nodes) -> bool:
    """Whether a node is the variance of the population of what ``centred`` is centred from."""
    if isinstance(node.op, Var):
        return node.op.axes == axes and node.op.keepdims and node.op.correction == 0 and node.inputs == centred.inputs[:1]

    def is_square(square: Node) -> bool:
        if isinstance(square.op, SquaredDifference):
            return square.inputs == centred.inputs
        return all(_same(nodes[name], centred) for name in square.inputs)

    return _mean_square_of(node, is_square, nodes) == axes


def _same(node: Node, other: Node) -> bool:
    """Whether two nodes compute the same: the same difference may stand twice."""
    return node.name == other.name or (node.op == other.op and node.inputs == other.inputs and not node.weights)


def _mean_square_of(node: Node, of: Callable[[Node], bool], nodes: Nodes) -> tuple[int, ...] | None:
    """Axes of the mean of a square that satisfies ``of``."""
    if not isinstance(node.op, Mean) or not node.op.keepdims:
        return None
    square = nodes[node.inputs[0]]
    twice = isinstance(square.op, Mul) and len(square.inputs) == 2 and square.inputs[0] == square.inputs[1]
    squares = square.op == Pow(2.0) or twice or isinstance(square.op, SquaredDifference)
    return node.op.axes if squares and of(square) else None


_FINDS: tuple[Callable[[Node, Nodes], Node | None], ...] = (_shuffle, _repeat, _deviation, _normalization, _multiplied_out)
