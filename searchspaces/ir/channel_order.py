"""Orders of channels, taken up by the convolutions that write or read them.

A network that swaps its colours, or a file whose blocks of pixels lie channel by channel, has a ``Gather`` of channels. A
convolution can write and read its channels in any order, so the order moves: down into the convolutions that read it, or
upwards, through what treats every channel alike, until a convolution takes it up; what it cannot pass stays. Exact: weights are
permuted, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from searchspaces.ir.graph import Node
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.maps.activation import Activation
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.move import Concat, Gather, Repeat


def taken_up(nodes: Sequence[Node]) -> list[Node]:
    """The nodes with their orders of channels as far up as they go."""
    found = list(nodes)
    while any(_moved(found, place) for place in reversed(range(len(found)))):
        pass
    return found


def _moved(nodes: list[Node], place: int) -> bool:
    """One step of one order, if there is one; whether anything changed."""
    node = nodes[place]
    if not isinstance(node.op, Gather) or node.op.axis != 1:
        return False
    at = next(i for i, other in enumerate(nodes) if other.name == node.inputs[0])
    source, order = nodes[at], list(node.op.indices)
    if isinstance(source.op, Concat) and source.op.axis == 1 and len(set(source.inputs)) == 1:
        return _repeated(nodes, place, source, order)
    if sorted(order) != list(range(len(order))):
        return False
    if _read_by_convolutions(nodes, place, order):
        return True
    if sum(source.name in other.inputs for other in nodes) != 1 or nodes[-1].name == source.name:
        return False
    op = source.op
    if isinstance(op, Conv) and op.groups == 1:
        _replace(nodes, place, at, _permuted(source, order))
        return True
    if isinstance(op, Activation | Affine) and getattr(op, "axis", 1) == 1:
        _above(nodes, place, at, _permuted(source, order), order, source.inputs)
        return True
    if isinstance(op, Add) and len(source.inputs) == 2 and _alike(nodes, source):
        _above(nodes, place, at, source, order, source.inputs)
        return True
    return False


def _read_by_convolutions(nodes: list[Node], place: int, order: list[int]) -> bool:
    """Convolutions that read what is in order, and nobody else does: they read it as it was."""
    node = nodes[place]
    readers = [i for i, other in enumerate(nodes) if node.name in other.inputs]
    if not readers or nodes[-1].name == node.name or not all(_reads_whole(nodes[i]) for i in readers):
        return False
    for i in readers:
        weight = torch.empty_like(nodes[i].weights["weight"])
        weight[:, order] = nodes[i].weights["weight"]
        nodes[i] = nodes[i].with_weights(weight=weight)
    _drop(nodes, place, node.inputs[0])
    return True


def _reads_whole(node: Node) -> bool:
    return isinstance(node.op, Conv) and node.op.groups == 1


def _permuted(node: Node, order: list[int]) -> Node:
    """A node that gives its channels in another order."""
    rows = torch.tensor(order)
    weights = {
        role: weight[rows].contiguous() if weight.ndim and weight.shape[0] == len(order) else weight
        for role, weight in node.weights.items()
    }
    return replace(node, weights=weights)


def _replace(nodes: list[Node], place: int, at: int, instead: Node) -> None:
    """``instead`` for the node at ``at``, and nothing for the order at ``place``."""
    nodes[at] = instead
    _drop(nodes, place, instead.name)


def _drop(nodes: list[Node], place: int, instead: str) -> None:
    gone = nodes.pop(place).name
    for i, node in enumerate(nodes):
        if gone in node.inputs:
            nodes[i] = replace(node, inputs=tuple(instead if name == gone else name for name in node.inputs))


def _above(nodes: list[Node], place: int, at: int, passed: Node, order: list[int], sources: tuple[str, ...]) -> None:
    """The order in front of the node that it passes, once for each of its inputs."""
    name = nodes[place].name
    _drop(nodes, place, passed.name)
    made = {source: f"{name}<{i}" if len(sources) > 1 else name for i, source in enumerate(dict.fromkeys(sources))}
    nodes[at] = replace(passed, inputs=tuple(made[source] for source in sources))
    nodes[at:at] = [Node(new, Gather(tuple(order), 1), (source,)) for source, new in made.items()]


def _alike(nodes: list[Node], add: Node) -> bool:
    """Whether both terms of a sum are tensors of pictures that take the order: convolutions or copies, alone or in sums."""
    by_name = {node.name: node for node in nodes}
    return all(isinstance(by_name[name].op, Conv | Add | Activation | Affine | Concat) for name in add.inputs)


def _repeated(nodes: list[Node], place: int, copies: Node, order: list[int]) -> bool:
    """Copies of one tensor behind one another, in an order that has each channel several times: a repeat."""
    count = len(order) // len(copies.inputs)
    channels = [index % count for index in order]
    times = len(copies.inputs)
    node = nodes[place]
    if channels != [channel for channel in range(count) for _ in range(times)]:
        return False
    nodes[place] = Node(node.name, Repeat(times), copies.inputs[:1])
    if not any(copies.name in other.inputs for other in nodes):
        nodes.remove(copies)
    return True
