"""A network in modules, trained from the last to the first: each is followed by quantized ones when its turn comes, so what the
picture at the end loses reaches it through them, and reads what the floating-point network writes (QArtSR, arXiv 2503.05584)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from searchspaces.ir.graph import Graph


@dataclass(frozen=True)
class Module:
    """Nodes in a row by name, those before them, and the last of them, whose tensor is the module's result."""

    nodes: frozenset[str]
    before: frozenset[str]
    end: str


def modules(graph: Graph, ends: Collection[str]) -> list[Module]:
    """The nodes in modules that end at the tensors ``ends``, and with the output, in execution order."""
    found: list[Module] = []
    before: frozenset[str] = frozenset()
    nodes: list[str] = []
    for node in graph.nodes:
        nodes.append(node.name)
        if node.name in ends or node is graph.output:
            found.append(Module(frozenset(nodes), before, node.name))
            before, nodes = before | found[-1].nodes, []
    return found


def last_use(graph: Graph) -> dict[str, str]:
    """Quantizer group -> the last node that reads one of its tensors, or writes one that nobody reads."""
    groups, found = graph.quantizer_groups(), dict[str, str]()
    for node in graph.nodes:
        found |= {groups[source]: node.name for source in node.inputs}
        found.setdefault(groups[node.name], node.name)
    return found
