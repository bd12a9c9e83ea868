"""Hadamard rotation where it folds: channels of linear streams are mixed, so that none has all of the range.

QuaRot (Ashkboos et al., NeurIPS 2024) multiplies what layers write into a stream by an orthogonal matrix H and what layers read
of it by its transpose. The network's function stays, outliers of single channels are spread over all. Where an activation lies
in between, H would be one more operation at run time (CompSRT does that); those tensors are left as they are. What is rotated:
tensors that convolutions without activation write and convolutions read, and sums of them, as the residual stream of EDSR. H has
the size of the largest power of two that divides the channels, repeated along the diagonal. Bounds and weights are of least
squared error.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
import torch
from scipy.linalg import hadamard
from torch import Tensor

from hwsearch.quant.method import MethodInfo
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.maps.elementwise import Add

INFO = MethodInfo(
    title="Hadamard rotation",
    summary="channels of linear streams rotated into each other, folded into the weights; ranges of least squared error",
    source="Ashkboos et al., NeurIPS 2024 (QuaRot); CompSRT, arXiv 2601.21069",
    reconstructed="only where it folds; ranges and weights as in mse",
    price="none: it is used where it folds",
)


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(with_rotation(seen), bounds.least_squares, reach.least_squares)


def with_rotation(seen: Observations) -> Observations:
    """The rotated network on the same pictures; as it is where nothing is rotated."""
    graph = rotated(seen.graph)
    if graph is seen.graph:
        return seen
    return Observations(graph, seen.crops, seen.weight_bits, symmetric=seen.symmetric, seed=seen.seed, teacher=seen.teacher)


def streams(graph: Graph) -> list[frozenset[str]]:
    """Tensors that can be rotated, those that must be rotated alike together: written by ungrouped convolutions without
    activation or by sums of such tensors, and read by ungrouped convolutions or by such sums. Weights that several layers use
    stay as they are: what is around one of these layers is not what is around another."""
    inner = [node for node in graph.nodes if node.name != graph.output.name and (_writes(node, graph) or _sums(node))]
    ties = nx.Graph()
    ties.add_nodes_from(node.name for node in inner)
    broken = set()
    for node in graph.nodes:
        for source in node.inputs:
            if source not in ties:
                continue
            if _sums(node) and node.name in ties and all(other in ties for other in node.inputs):
                ties.add_edge(source, node.name)
            elif not _reads(node, graph):
                broken.add(source)
    broken |= {node.name for node in inner if _sums(node) and not all(source in ties for source in node.inputs)}
    return [frozenset(found) for found in nx.connected_components(ties) if not found & broken]


def _writes(node: Node, graph: Graph) -> bool:
    return _reads(node, graph) and node.activation is None


def _reads(node: Node, graph: Graph) -> bool:
    return isinstance(node.op, Conv) and node.op.groups == 1 and not graph.tied(node.name)


def _sums(node: Node) -> bool:
    return isinstance(node.op, Add) and len(node.inputs) == 2 and node.activation is None


def rotation(channels: int) -> Tensor:
    """The orthogonal matrix ``float32[C, C]``: blocks of the largest Hadamard matrix that fits; of odd channels, the identity."""
    size = channels & -channels
    block = hadamard(size) / np.sqrt(size)
    return torch.from_numpy(np.kron(np.eye(channels // size), block)).float()


def rotated(graph: Graph) -> Graph:
    """The same function with every stream rotated; the graph itself where there is none."""
    changed: dict[str, Node] = {}
    for stream in streams(graph):
        for name in stream:
            node = changed.get(name, graph[name])
            if isinstance(node.op, Conv):
                changed[name] = _outputs(node, rotation(len(node.weights["weight"])))
        for node in graph.nodes:
            if isinstance(node.op, Conv) and node.inputs[0] in stream:
                reader = changed.get(node.name, node)
                turn = rotation(reader.weights["weight"].shape[1])
                weight = torch.einsum("oikl,ji->ojkl", reader.weights["weight"], turn)
                changed[node.name] = reader.with_weights(weight=weight)
    return graph.replaced(changed) if changed else graph


def _outputs(node: Node, turn: Tensor) -> Node:
    weights = {"weight": torch.einsum("oikl,po->pikl", node.weights["weight"], turn)}
    if "bias" in node.weights:
        weights["bias"] = turn @ node.weights["bias"]
    return node.with_weights(**weights)
