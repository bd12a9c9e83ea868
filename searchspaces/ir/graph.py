"""The canonical graph of a network: what every later step (pricing, quantizing, integer inference, export) works on.

A node is one operation and produces exactly one tensor, which carries the node's name. Nodes are in execution order. Transposed
convolutions have already been rewritten to a convolution and a pixel shuffle; ReLU-like activations are fused into the
convolution or addition that feeds them.

Ops and their attributes (``[N, C, H, W]`` throughout):

==============  =====================================================================================
input           channels
conv            stride, padding (left, right, top, bottom), dilation, groups;
                weights "weight" ``[O, I/groups, kh, kw]``, and "bias" ``[O]`` if it has one
add             two inputs of equal shape
mul             inputs: feature map ``[N, C, H, W]``, factor of the same shape or ``[N, C, 1, 1]``
concat          on channels
slice           start, stop on channels
repeat          times: each channel repeated (``repeat_interleave``)
pixel_shuffle   factor
resize          mode ("nearest", "bilinear", "bicubic"), factor
unary           kind: one of ``UNARY``; "prelu" has weights "slope" ``[C]``, "leaky_relu" attr slope, "clip" attrs low, high
pool            kind: "mean" or "std" (population) over height and width, giving ``[N, C, 1, 1]``
unknown         operation; only in graphs with ``uncounted`` operations, which cannot be executed
==============  =====================================================================================

``conv`` and ``add`` may have a fused ``activation``: one of ``FUSED`` (its parameters named as for ``unary``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import networkx as nx
import torch
import torch.nn.functional as F
from torch import Tensor

FUSED = ("none", "relu", "relu6", "leaky_relu", "prelu")
UNARY = ("relu", "relu6", "leaky_relu", "prelu", "sigmoid", "tanh", "clip")
VIEWS = ("slice", "repeat", "pixel_shuffle")
"""Ops that only move values: their output shares the quantizer of their input."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation; see the module's table for ``op`` and ``attrs``. ``weights`` are float32 tensors on the CPU."""

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def activation(self) -> str:
        return self.attrs.get("activation", "none")

    def with_weights(self, **weights: Tensor) -> Node:
        return replace(self, weights={**self.weights, **weights})


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in execution order; the first is the input, the last produces the output.

    ``uncounted`` names operations of the traced module that the canonical graph cannot express; such a graph cannot be executed,
    quantized or priced as a whole, and every caller must say so.
    """

    name: str
    nodes: tuple[Node, ...]
    uncounted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {node.name: node for node in self.nodes})

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]  # type: ignore[attr-defined]

    @property
    def input(self) -> Node:
        return self.nodes[0]

    @property
    def output(self) -> Node:
        return self.nodes[-1]

    @property
    def convs(self) -> tuple[Node, ...]:
        """The layers with weights, in execution order."""
        return tuple(node for node in self.nodes if node.op == "conv")

    def readers(self, name: str) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if name in node.inputs)

    def replaced(self, changed: Mapping[str, Node]) -> Graph:
        """The same graph with some nodes exchanged by name."""
        return replace(self, nodes=tuple(changed.get(node.name, node) for node in self.nodes))

    def width_groups(self) -> dict[str, str]:
        """Tensor name -> name of its width group (its first tensor): tensors that must have one width.

        Tied: whatever shares a quantizer, and the operands of an addition.
        """
        return self._tied(("add",))

    def quantizer_groups(self) -> dict[str, str]:
        """Tensor name -> name of its quantizer group (its first tensor): tensors that share scale and zero point.

        Tied: a view with its input; all operands and the result of a concatenation.
        """
        return self._tied(())

    def _tied(self, also: tuple[str, ...]) -> dict[str, str]:
        order = {node.name: i for i, node in enumerate(self.nodes)}
        ties = nx.Graph()
        ties.add_nodes_from(order)
        for node in self.nodes:
            if node.op in VIEWS or node.op == "concat":
                ties.add_edges_from((node.name, source) for source in node.inputs)
            elif node.op in also:
                ties.add_edges_from((node.inputs[0], source) for source in node.inputs[1:])
        first = {}
        for group in nx.connected_components(ties):
            leader = min(group, key=order.__getitem__)
            first.update(dict.fromkeys(group, leader))
        return first


def pair(value: Any) -> tuple[int, int]:
    """Stride or dilation as (rows, columns)."""
    return (int(value[0]), int(value[1])) if isinstance(value, tuple | list) else (int(value), int(value))


def activate(x: Tensor, kind: str, node: Node) -> Tensor:
    """Apply a fused or unary activation whose parameters stand on ``node``."""
    match kind:
        case "none":
            return x
        case "relu":
            return F.relu(x)
        case "relu6":
            return F.relu6(x)
        case "leaky_relu":
            return F.leaky_relu(x, node.attrs["slope"])
        case "prelu":
            return F.prelu(x, node.weights["slope"])
        case "sigmoid":
            return torch.sigmoid(x)
        case "tanh":
            return torch.tanh(x)
        case "clip":
            return x.clamp(node.attrs["low"], node.attrs["high"])
    raise ValueError(f"unknown activation {kind!r}")


def apply(node: Node, inputs: list[Tensor]) -> Tensor:
    """Execute one node in floating point, its fused activation included."""
    x = inputs[0]
    match node.op:
        case "conv":
            left, right, top, bottom = node.attrs["padding"]
            if left == right and top == bottom:
                padding = (top, left)
            else:
                x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
            y = F.conv2d(
                x,
                node.weights["weight"],
                node.weights.get("bias"),
                stride=node.attrs["stride"],
                padding=padding,
                dilation=node.attrs["dilation"],
                groups=node.attrs["groups"],
            )
            return activate(y, node.activation, node)
        case "add":
            return activate(x + inputs[1], node.activation, node)
        case "mul":
            return x * inputs[1]
        case "concat":
            return torch.cat(inputs, dim=1)
        case "slice":
            return x[:, node.attrs["start"] : node.attrs["stop"]]
        case "repeat":
            return torch.repeat_interleave(x, node.attrs["times"], dim=1)
        case "pixel_shuffle":
            return F.pixel_shuffle(x, node.attrs["factor"])
        case "resize":
            mode = node.attrs["mode"]
            return F.interpolate(
                x, scale_factor=node.attrs["factor"], mode=mode, align_corners=None if mode == "nearest" else False
            )
        case "unary":
            return activate(x, node.attrs["kind"], node)
        case "pool":
            if node.attrs["kind"] == "mean":
                return x.mean(dim=(2, 3), keepdim=True)
            return x.var(dim=(2, 3), keepdim=True, correction=0).sqrt()
    raise ValueError(f"cannot execute op {node.op!r} ({node.name})")


def execute(
    graph: Graph,
    x: Tensor,
    observe: Callable[[Node, Tensor], Tensor | None] | None = None,
) -> Tensor:
    """Run the graph on ``x [N, C, H, W]``.

    Args:
        observe: called with every node (the input included) and its tensor; what it returns replaces the tensor, ``None``
            keeps it. This is how ranges are recorded and quantizers simulated.
    Returns:
        The output tensor. Tensors are dropped after their last reader.
    """
    last_use = {source: node.name for node in graph.nodes for source in node.inputs}
    tensors: dict[str, Tensor] = {}
    value = x
    for node in graph.nodes:
        value = x if node.op == "input" else apply(node, [tensors[source] for source in node.inputs])
        if observe is not None:
            seen = observe(node, value)
            value = value if seen is None else seen
        tensors[node.name] = value
        for source in set(node.inputs):
            if last_use[source] == node.name and source != graph.output.name:
                del tensors[source]
    return value
