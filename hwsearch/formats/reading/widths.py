"""The width of every tensor of a graph that was read from a file, of which the file names some."""

from __future__ import annotations

from collections.abc import Mapping

from searchspaces.ir.graph import Graph


def filled(graph: Graph, written: Mapping[str, int], unary_of: dict[str, str]) -> dict[str, int]:
    """Bits of every node's tensor. What shares a width by structure has the widest that is written anywhere in its group; an
    activation that was folded into its producer hands its width on; what no group tells is in single precision.

    Args:
        written: node -> bits, where the file says.
        unary_of: activation -> the node that it reads, in order.
    """
    known, kept = dict(written), {node.name for node in graph.nodes}
    for name, source in reversed(unary_of.items()):
        if name in known and (source not in known or name not in kept):
            known[source] = known[name]
    groups = graph.width_groups()
    widest: dict[str, int] = {}
    for node in graph.nodes:
        if node.name in known:
            widest[groups[node.name]] = max(widest.get(groups[node.name], 0), known[node.name])
    return {node.name: known.get(node.name, widest.get(groups[node.name], 32)) for node in graph.nodes}
