"""Nodes and layers by short words, for tests that build networks by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hwmodels.workload import Constant, Contract, Finish, Layer, Map, Move, Movement, Reduce, Window, Work
from searchspaces.ir.graph import Node
from searchspaces.ops.registry import from_document

FINISHES: dict[str, Finish] = {"none": "none", "relu": "clamp", "relu6": "clamp", "leaky_relu": "slope", "prelu": "slopes"}
MOVES: dict[str, Movement] = {
    "concat": "concat", "slice": "slice", "repeat": "repeat", "pixel_shuffle": "shuffle", "resize": "resize",
}  # fmt: skip


def make_node(
    name: str,
    word: str,
    inputs: tuple[str, ...] = (),
    attrs: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> Node:
    """A node whose operator is written as in files."""
    return Node(name, from_document(word, attrs or {}), inputs, weights or {})


def fused(node: Node) -> str:
    """The word of the activation fused to a node."""
    return "none" if node.activation is None else node.activation.kind


def work(
    word: str, macs: int = 0, kernel: tuple[int, int] = (1, 1), stride: int = 1, groups: int = 1, activation: str = ""
) -> Work:
    """The work of an operation of the networks of this package."""
    match word:
        case "conv" | "depthwise":
            form = "channelwise" if word == "depthwise" else "window"
            return Contract(macs, form=form, kernel=kernel, stride=stride, groups=groups)  # type: ignore[arg-type]
        case "linear":
            return Contract(macs, form="product", kernel=kernel, stride=stride, groups=groups)
        case "add" | "mul":
            return Map(word, arity=2)  # type: ignore[arg-type]
        case "unary":
            return Map(FINISHES.get(activation, "function"))  # type: ignore[arg-type]
        case "pool":
            return Reduce(1)
    return Move(MOVES[word])


def make_layer(
    name: str,
    word: str,
    inputs: tuple[int, ...],
    output: int,
    macs: int = 0,
    weight_count: int = 0,
    bias_count: int = 0,
    kernel: tuple[int, int] = (1, 1),
    stride: int = 1,
    groups: int = 1,
    activation: str = "none",
    window: Window | None = None,
    constants: tuple[Constant, ...] = (),
) -> Layer:
    """A layer; its window is that of a centred kernel unless given, and everything for a pooling."""
    (rows, columns) = (side - 1 for side in kernel)
    centred = None if word == "pool" else (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    finish = "none" if word == "unary" else FINISHES.get(activation, "function")
    what = work(word, macs, kernel, stride, groups, activation)
    return Layer(name, what, inputs, output, weight_count, bias_count, finish, window or centred, word, constants=constants)
