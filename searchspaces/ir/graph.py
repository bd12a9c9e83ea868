"""The canonical graph of a network: what every later step (pricing, quantizing, integer inference, export) works on.

A node is one operator (``searchspaces.ops``) and produces exactly one tensor, which carries the node's name. Nodes are in
execution order. Transposed convolutions have already been rewritten to a convolution and a pixel shuffle; ReLU-like activations
are fused into the layer or addition that feeds them.

A network with state between the frames of a video is the graph of one frame, with ``State`` nodes that stand after the input and
``Remember`` nodes before the output.

Tensors have any rank; the first axis is that of pictures. Which axis has the channels is the matter of the operator that reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import networkx as nx
import torch
from torch import Tensor

from hwmodels.errors import UsageError
from searchspaces.ops.base import Op
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import Activation
from searchspaces.ops.state import Remember, State

MASK = "mask"
"""Role of a constant operand whose numbers say yes (not zero) or no."""
CONSTANTS = ("other", MASK)
"""Roles of weights that are operands rather than numbers of a function."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operator at its place: what it reads, and its weights by role (float32 tensors on the CPU).

    ``parameter`` names the parameter that the quantized weight of a layer was made from; empty: nobody else's. In a simplified
    graph layers of one parameter have equal weights: they are one thing that is used several times (``Graph.weight_groups``).
    Biases are each layer's own.
    """

    name: str
    op: Op
    inputs: tuple[str, ...] = ()
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    parameter: str = ""

    @property
    def activation(self) -> Activation | None:
        """The activation that is fused to the operator."""
        found: Activation | None = getattr(self.op, "activation", None)
        return found

    @property
    def function(self) -> Activation | None:
        """The activation that bounds what the node writes: the one fused to it, or the one that it is."""
        return self.op if isinstance(self.op, Activation) else self.activation

    @property
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights, by role."""
        return {role: tuple(weight.shape) for role, weight in self.weights.items()}

    def with_weights(self, **weights: Tensor) -> Node:
        return replace(self, weights={**self.weights, **weights})

    def with_op(self, **parameters: object) -> Node:
        """The node with some parameters of its operator changed."""
        return replace(self, op=replace(self.op, **parameters))


def conv_of(node: Node) -> Conv:
    """The operator of a node that is a convolution.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(node.op, Conv):
        raise TypeError(f"{node.name!r} is no convolution but {node.op.describe()}")
    return node.op


def groups_of(node: Node) -> int:
    """Into how many groups a layer divides its channels; 1 for what is no convolution."""
    return node.op.groups if isinstance(node.op, Conv) else 1


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in execution order; the first is the input, the last produces the output.

    ``uncounted`` names operations of the traced module that no operator expresses; such a graph cannot be executed, quantized or
    priced as a whole, and every caller must say so.

    ``size`` (height, width): the graph is for pictures of this size alone, since constants or shapes in it depend on the size in
    a way that no formula says; None: for all. ``multiple``: of what height and width must be multiples.
    """

    name: str
    nodes: tuple[Node, ...]
    uncounted: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    multiple: int = 1

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @property
    def input(self) -> Node:
        return self.nodes[0]

    @property
    def output(self) -> Node:
        return self.nodes[-1]

    @property
    def sources(self) -> tuple[Node, ...]:
        """The nodes whose tensors are there before anything is computed: the input, and the states of the frame before."""
        return tuple(node for node in self.nodes if isinstance(node.op, Input | State))

    @property
    def states(self) -> tuple[Node, ...]:
        """The sources behind the input: what a file takes, and gives for the next frame, in this order."""
        return self.sources[1:]

    @property
    def computed(self) -> tuple[Node, ...]:
        """The other nodes, in execution order."""
        return tuple(node for node in self.nodes if not isinstance(node.op, Input | State))

    @cached_property
    def remembered(self) -> dict[str, Node]:
        """State's name -> the node that keeps it for the next frame; empty for a network without state."""
        return {node.op.state: node for node in self.nodes if isinstance(node.op, Remember)}

    @property
    def channels(self) -> int:
        """Channels of the picture that goes in."""
        assert isinstance(self.input.op, Input)
        return self.input.op.channels

    @property
    def convs(self) -> tuple[Node, ...]:
        """The layers whose weights are rounded to a width of their own, in execution order."""
        return tuple(node for node in self.nodes if node.op.quantized)

    @cached_property
    def weight_groups(self) -> Mapping[str, tuple[str, ...]]:
        """Name of a layer -> the layers that use the same weights, itself among them, in execution order. They have one width,
        one set of integers and of scales, and are stored once; the first is in their place where one stands for all."""
        users: dict[str, list[str]] = {}
        for node in self.convs:
            users.setdefault(node.parameter or f"of {node.name}", []).append(node.name)
        return {name: tuple(names) for names in users.values() for name in names}

    @property
    def parameters(self) -> int:
        """How many numbers the layers and functions of the network have; what layers of the same weights have in common, biases
        too, counts once. Constant operands do not count: masks and biases of attention stand there unrolled to every window of
        one size of picture."""
        return sum(
            w.numel()
            for node in self.nodes
            for role, w in node.weights.items()
            if role not in CONSTANTS and not self._earlier(node, role)
        )

    @property
    def constants(self) -> int:
        """How many numbers stand in constant operands; equal operands count once."""
        found = ((node, role) for node, role in self._operands() if (node.name, role) not in self.repeated)
        return sum(node.weights[role].numel() for node, role in found)

    @cached_property
    def repeated(self) -> frozenset[tuple[str, str]]:
        """Constant operands, by node and role, whose numbers an earlier node has in the same role: files store them once."""
        seen, found = set[bytes](), set[tuple[str, str]]()
        for node, role in self._operands():
            digest = hashlib.sha256(role.encode() + node.weights[role].contiguous().numpy().tobytes()).digest()
            if digest in seen:
                found.add((node.name, role))
            seen.add(digest)
        return frozenset(found)

    def _operands(self) -> Iterator[tuple[Node, str]]:
        """Every constant operand: its node, and its role there."""
        return ((node, role) for node in self.nodes for role in CONSTANTS if role in node.weights)

    def _earlier(self, node: Node, role: str) -> bool:
        """Whether an earlier layer of the same weights has the same numbers in this role."""
        users = self.weight_groups.get(node.name, (node.name,))
        others = (self[user].weights.get(role) for user in users[: users.index(node.name)])
        return any(other is not None and torch.equal(other, node.weights[role]) for other in others)

    def tied(self, name: str) -> bool:
        """Whether another layer has the same weights."""
        return len(self.weight_groups.get(name, ())) > 1

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read a tensor, in execution order, each once."""
        return tuple(self._readers.get(name, ()))

    @cached_property
    def _readers(self) -> dict[str, list[Node]]:
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for source in dict.fromkeys(node.inputs):
                found.setdefault(source, []).append(node)
        return found

    def replaced(self, changed: Mapping[str, Node]) -> Graph:
        """The same graph with some nodes exchanged by name."""
        return replace(self, nodes=tuple(changed.get(node.name, node) for node in self.nodes))

    def at(self, height: int, width: int) -> Graph:
        """The graph for pictures of one size: sizes that depend on it become numbers. Itself where nothing does.

        Raises:
            UsageError: the graph is not for pictures of this size.
        """
        if self.size not in (None, (height, width)):
            raise UsageError(
                f"{self.name}: traced for {self.size[0]}x{self.size[1]} pixels (height x width), not for {height}x{width}",
                "Parts of this network, such as masks of windows, are made for one size: trace it at that size, or, if it is a "
                "model file, export it with dynamic height and width.",
            )
        if not any(node.op.extents for node in self.nodes):
            return self
        return replace(self, nodes=tuple(replace(node, op=node.op.at(height, width)) for node in self.nodes))

    def width_groups(self) -> dict[str, str]:
        """Tensor name -> name of its width group (its first tensor): tensors that must have one width.

        Tied: whatever shares a quantizer, and the operands of an addition (``Op.aligns``).
        """
        return dict(self._width_groups)

    def quantizer_groups(self) -> dict[str, str]:
        """Tensor name -> name of its quantizer group (its first tensor): tensors that share scale and zero point.

        Tied: what is moved with where it comes from (``Op.moves``); so all operands and the result of a concatenation, and a
        state with what is remembered as it.
        """
        return dict(self._quantizer_groups)

    @cached_property
    def _width_groups(self) -> dict[str, str]:
        return self._tied(aligned=True)

    @cached_property
    def _quantizer_groups(self) -> dict[str, str]:
        return self._tied(aligned=False)

    def _tied(self, aligned: bool) -> dict[str, str]:
        order = {node.name: i for i, node in enumerate(self.nodes)}
        ties = nx.Graph()
        ties.add_nodes_from(order)
        for node in self.nodes:
            if node.op.moves:
                ties.add_edges_from((node.name, source) for source in node.inputs)
                if isinstance(node.op, Remember):
                    ties.add_edge(node.name, node.op.state)
            elif aligned and node.op.aligns:
                ties.add_edges_from((node.inputs[0], source) for source in node.inputs[1:])
        first = {}
        for group in nx.connected_components(ties):
            leader = min(group, key=order.__getitem__)
            first.update(dict.fromkeys(group, leader))
        return first


def apply(node: Node, inputs: list[Tensor]) -> Tensor:
    """Execute one node in floating point, its fused activation included."""
    return node.op.run(inputs, node.weights)


def execute(
    graph: Graph,
    x: Tensor,
    observe: Callable[[Node, Tensor], Tensor | None] | None = None,
) -> Tensor:
    """Run the graph on ``x [N, C, H, W]``: N pictures, or the N frames of one clip where the network has state.

    Args:
        observe: called with every node (the input included) and its tensor; what it returns replaces the tensor, ``None``
            keeps it. This is how ranges are recorded and quantizers simulated. Of a network with state once a frame.
    Returns:
        The output tensor. Tensors are dropped after their last reader.
    """
    graph = graph.at(*x.shape[2:])
    return through_time(graph, x, lambda frame, memory: _executed(graph, frame, observe, memory))


def through_time(graph: Graph, x: Tensor, step: Callable[[Tensor, Memory], Tensor]) -> Tensor:
    """``step(pictures, memory)`` of all pictures at once, or frame by frame where the network has state.

    ``memory`` holds, by state's name, the tensor that the frame before remembered; the step reads it and writes it. It is empty
    at the first frame: every clip starts anew.
    """
    if not graph.remembered:
        return step(x, {})
    memory: Memory = {}
    return torch.cat([step(frame, memory) for frame in x.split(1)])


Memory = dict[str, Tensor]
"""State's name -> its tensor, in whatever form a step carries tensors."""


def _executed(graph: Graph, x: Tensor, observe: Callable[[Node, Tensor], Tensor | None] | None, memory: Memory) -> Tensor:
    last_use = {source: node.name for node in graph.nodes for source in node.inputs}
    tensors: dict[str, Tensor] = {}
    value = x
    for node in graph.nodes:
        if isinstance(node.op, Input):
            value = x
        elif node.name in memory:
            value = memory[node.name]
        else:
            value = apply(node, [tensors[source] for source in node.inputs])
        if observe is not None:
            seen = observe(node, value)
            value = value if seen is None else seen
        tensors[node.name] = value
        if isinstance(node.op, Remember):
            memory[node.op.state] = value
        for source in set(node.inputs):
            if last_use[source] == node.name and source != graph.output.name:
                del tensors[source]
    return value


def no_grad_copy(tensor: Tensor) -> Tensor:
    """A float32 copy on the CPU, as nodes hold their weights."""
    with torch.no_grad():
        return tensor.detach().float().cpu().clone()
