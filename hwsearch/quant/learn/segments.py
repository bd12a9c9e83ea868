"""A forward pass in segments, of which a backward pass keeps only what lies between them and computes the rest again.

A deep transformer writes a hundred times what its weights hold: published HiT-SRF x4 at 64x64 pixels 2,000 tensors, several GB
with what derivatives need. Kept at the ends of segments alone, memory is that of one segment and of all ends (Chen et al. 2016,
"Training Deep Nets with Sublinear Memory Cost"), for one more forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from searchspaces.ir.graph import Graph, Node
from searchspaces.ir.shapes import shapes

MOST_VALUES = 250_000_000
"""Values that a segment may write; what derivatives need of them is one to three times that."""

Value = Callable[[Node, list[Tensor]], Tensor]
"""What a node writes, from what it reads; the first node reads the pictures."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Nodes one after the other; the names of what they read of earlier segments, and of what is read of them later.

    ``done``: for each node the names of what nothing reads behind it.
    """

    nodes: tuple[Node, ...]
    reads: tuple[str, ...]
    leaves: tuple[str, ...]
    done: tuple[tuple[str, ...], ...]


@lru_cache(maxsize=4)
def segments(graph: Graph, shape: tuple[int, ...], wanted: tuple[str, ...], most: int) -> tuple[Segment, ...]:
    """The nodes of a network in segments that write at most ``most`` values each, or one tensor; cut where least is alive.

    Args:
        shape: of the pictures ``[N, C, h, w]``. wanted: names of tensors that are read behind the last node.
    """
    written = {name: shape[0] * prod(found) for name, found in shapes(graph, *shape[2:]).items()}
    nodes = graph.nodes
    last = {source: at for at, node in enumerate(nodes) for source in node.inputs} | dict.fromkeys(wanted, len(nodes))
    alive, now = [], 0
    ending: dict[int, list[str]] = {}
    for at, node in enumerate(nodes):
        if node.name in last:
            now += written[node.name]
            ending.setdefault(last[node.name], []).append(node.name)
        now -= sum(written[name] for name in ending.get(at, ()))
        alive.append(now)
    found, first = [], 0
    while first < len(nodes):
        end, values = first, 0
        while end < len(nodes) and (end == first or values + written[nodes[end].name] <= most):
            values += written[nodes[end].name]
            end += 1
        if end < len(nodes):  # in the second half of what is possible
            end = min(range((first + end + 1) // 2, end + 1), key=lambda stop: (alive[stop - 1], -stop))
        own = nodes[first:end]
        names = {node.name for node in own}
        reads = dict.fromkeys(source for node in own for source in node.inputs if source not in names)
        leaves = tuple(node.name for node in own if last.get(node.name, -1) >= end)
        done = tuple(tuple(ending.get(at, ())) for at in range(first, end))
        found.append(Segment(own, tuple(reads), leaves, done))
        first = end
    return tuple(found)


def executed(graph: Graph, x: Tensor, value: Value, wanted: Sequence[str], most: int) -> list[Tensor]:
    """The tensors ``wanted`` of a network whose nodes write what ``value`` says, for pictures ``x [N, C, h, w]``.

    Args:
        graph: the network at that size. most: see ``segments``; where there are several, ``value`` is called twice for each node.
    """
    parts = segments(graph, tuple(x.shape), tuple(wanted), most)
    held: dict[str, Tensor] = {}
    for part in parts:
        inputs = [held[name] for name in part.reads]
        if len(parts) == 1:
            left = _run(part, value, x, *inputs)
        else:
            left = checkpoint(_run, part, value, x, *inputs, use_reentrant=False, preserve_rng_state=False)
        held |= zip(part.leaves, left, strict=True)
    return [held[name] for name in wanted]


def _run(part: Segment, value: Value, x: Tensor, *inputs: Tensor) -> list[Tensor]:
    tensors = dict(zip(part.reads, inputs, strict=True))
    for node, done in zip(part.nodes, part.done, strict=True):
        tensors[node.name] = value(node, [tensors[name] for name in node.inputs] or [x])
        for name in done:
            del tensors[name]
    return [tensors[name] for name in part.leaves]
