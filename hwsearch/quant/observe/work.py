"""How much one pass through a network is, by which looks at pictures are rationed."""

from __future__ import annotations

from hwmodels.workload import Contract
from hwsearch.quant.observe.sizes import Sizes
from searchspaces.ir.graph import Graph
from searchspaces.ir.shapes import shapes
from searchspaces.ops.base import elements

PER_VALUE = 60
"""Multiply-accumulates in the time in which one value is read and written: 1.5 ns (MobileSR, one core), at 4e10 a second."""
SMALL_SIDE, LARGER_SIDE = 16, 64
"""Side of the picture on which multiply-accumulates are counted, the larger one where windows may be cut from it."""


def macs_per_pixel(graph: Graph, channels: int) -> float:
    """Multiply-accumulates per input pixel, of a small picture; at least 1. In networks of tokens, whose time goes into moves and
    functions of single values rather than into sums, every value that is written counts as ``PER_VALUE`` of them."""
    tokens = any(node.op.extents for node in graph.nodes)
    side = LARGER_SIDE if tokens else SMALL_SIDE
    height, width = Sizes.of(graph).within(side, side)
    graph = graph.at(height, width)
    found = shapes(graph, height, width)
    works = (
        node.op.work([found[name] for name in node.inputs], found[node.name], node.weight_shapes) for node in graph.nodes[1:]
    )
    total = sum(work.macs for work in works if isinstance(work, Contract))
    if tokens:
        total += PER_VALUE * sum(elements(shape) for shape in found.values())
    return max(total / (height * width), 1.0)
