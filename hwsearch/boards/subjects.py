"""What is timed to calibrate a processor: single layers, small chains and pieces of transformers, no network that ships.

Together they tell the constants of ``hwmodels.classes.cpu`` apart: channels from 1 to 256 (padding, passes over the inputs),
kernels of 1, 3, 5 and 9, depthwise layers, every operation between convolutions, long chains of tiny layers (the call), large
pictures (memory), and what transformers compute between tokens (``pieces``).
"""

from __future__ import annotations

from collections.abc import Iterator

from hwsearch.boards.pieces import pieces
from hwsearch.boards.runtime import ACTIVATIONS, FP32, INT8, Subject, conv_graph
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import Tanh
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.move import Concat, PixelShuffle, Repeat, Slice

LAYER_MACS = 40e6
"""Multiply-accumulates of a timed layer: about a millisecond of one core."""
LARGEST_ELEMENTS = 6e6
"""Of the tensors of a timed layer."""

CONVOLUTIONS = (
    *((channels, channels, 3) for channels in (8, 12, 16, 20, 24, 28, 32, 40, 48, 64)),
    (1, 56, 5), (1, 32, 3), (3, 16, 3), (3, 32, 3), (3, 64, 3), (128, 128, 3), (64, 256, 3), (16, 64, 3), (64, 16, 3),
    (56, 32, 1), (64, 3, 3), (64, 12, 3), (32, 9, 3), (28, 27, 3), (56, 4, 5), (32, 4, 9), (16, 12, 3), (12, 16, 3), (16, 16, 5),
    (8, 16, 3), (56, 12, 1), (12, 56, 1), (64, 64, 1), (32, 32, 1), (64, 8, 1), (8, 64, 1),
)  # fmt: skip
"""Input channels, output channels, kernel."""
SLOPES = ((12, 12, 3), (32, 32, 3), (64, 16, 3), (16, 64, 3), (64, 48, 1))
"""The same of convolutions whose activation is not fused in integers."""
DEPTHWISE = ((16, 3), (32, 3), (64, 3), (32, 5))
"""Channels, kernel."""


def all_subjects() -> list[Subject]:
    """Every subject in both precisions."""
    graphs = [*_layers(), *_chains(), *pieces()]
    return [
        Subject(f"{graph.name} {height}x{width} {precision}", graph, height, width, precision, graph.name)
        for graph, height, width in graphs
        for precision in (FP32, INT8)
    ]


def _layers() -> Iterator[tuple[Graph, int, int]]:
    for inputs, outputs, kernel in CONVOLUTIONS:
        yield conv_graph(inputs, outputs, kernel), *_size(LAYER_MACS / (inputs * outputs * kernel**2), max(inputs, outputs))
    for channels, kernel in DEPTHWISE:
        yield conv_graph(channels, channels, kernel, groups=channels), *_size(LAYER_MACS / 4 / (channels * kernel**2), channels)
    for inputs, outputs, kernel in SLOPES:
        made = conv_graph(inputs, outputs, kernel, activation="prelu")
        yield made, *_size(LAYER_MACS / (inputs * outputs * kernel**2), max(inputs, outputs))
    yield conv_graph(8, 8, 9), 180, 320  # 37 MB of patches: no cache keeps them
    for height, width in ((90, 160), (270, 480)):
        yield _chain("shuffle 2", 12, [("pixel_shuffle", 2)]), height, width
        yield _chain("shuffle 3", 27, [("pixel_shuffle", 3)]), height, width


def _size(pixels: float, channels: int) -> tuple[int, int]:
    """Height and width, 9 to 16, of about that many pixels, fewer where the tensors would be too large."""
    pixels = min(pixels, LARGEST_ELEMENTS / channels)
    height = max(4, round((pixels * 9 / 16) ** 0.5))
    return height, max(4, round(pixels / height))


def _chains() -> Iterator[tuple[Graph, int, int]]:
    yield _chain("8 tiny layers", 8, [("conv", 8)] * 8), 12, 16
    yield _chain("24 tiny layers", 8, [("conv", 8)] * 24), 12, 16
    for height, width in ((60, 80), (180, 320)):
        yield (
            _chain("residual 16", 3, [("conv", 16), ("conv", 16), ("add", 1), ("conv", 16), ("add", 3), ("conv", 3)]),
            height,
            width,
        )
        yield _chain("residual 32", 3, [("conv", 32), ("conv", 32), ("add", 1), ("conv", 3)]), height, width
        yield _chain("tanh 16", 1, [("conv", 16), ("tanh", 0), ("conv", 4)]), height, width
        yield _chain("concatenation 16", 3, [("conv", 16), ("conv", 16), ("concat", 1), ("conv", 12)]), height, width
        yield _chain("slice 32", 3, [("conv", 32), ("slice", 16), ("conv", 16), ("conv", 12)]), height, width
        yield _chain("repeat 27", 3, [("repeat", 9), ("conv", 16), ("conv", 27), ("add", 1), ("pixel_shuffle", 3)]), height, width
        yield _chain("shuffled 32", 3, [("conv", 32), ("conv", 48), ("pixel_shuffle", 2), ("conv", 3)]), height, width
        yield _chain("depthwise 32", 3, [("conv", 32), *(("depthwise", 3),) * 4, ("conv", 3)]), height, width
        yield _chain("shuffled 64", 3, [("conv", 64), ("pixel_shuffle", 2), ("conv", 16), ("conv", 3)]), height // 2, width // 2
        for name in ACTIVATIONS:
            yield _chain(f"{name} 16", 3, [("conv", 16), *((f"conv {name}", 16),) * 3, ("conv", 3)]), height, width
    yield _chain("large 16", 3, [("conv", 16), ("conv", 16), ("conv", 12), ("pixel_shuffle", 2)]), 480, 640


def _chain(name: str, channels: int, steps: list[tuple[str, int]]) -> Graph:
    """Operations one after the other on a picture of ``channels``.

    Each step is an operation and its number: output channels of a 3x3 convolution, the earlier step whose result is added or
    concatenated (from 1), a factor, channels to keep, the kernel of a depthwise convolution.
    """
    nodes = [Node("input", Input(channels))]
    widths = [channels]
    for number, (op, value) in enumerate(steps, start=1):
        before, label = nodes[-1].name, f"step{number}"
        match op:
            case "conv" | "conv none" | "conv relu" | "conv prelu":
                made = conv_graph(widths[-1], value, 3, activation=op.partition(" ")[2] or "none").nodes[1]
                nodes.append(Node(label, made.op, (before,), made.weights))
                widths.append(value)
            case "depthwise":
                made = conv_graph(widths[-1], widths[-1], value, groups=widths[-1]).nodes[1]
                nodes.append(Node(label, made.op, (before,), made.weights))
                widths.append(widths[-1])
            case "add":
                nodes.append(Node(label, Add(), (before, nodes[value].name)))
                widths.append(widths[-1])
            case "concat":
                nodes.append(Node(label, Concat(), (before, nodes[value].name)))
                widths.append(widths[-1] + widths[value])
            case "tanh":
                nodes.append(Node(label, Tanh(), (before,)))
                widths.append(widths[-1])
            case "slice":
                nodes.append(Node(label, Slice(0, value), (before,)))
                widths.append(value)
            case "repeat":
                nodes.append(Node(label, Repeat(value), (before,)))
                widths.append(widths[-1] * value)
            case "pixel_shuffle":
                nodes.append(Node(label, PixelShuffle(value), (before,)))
                widths.append(widths[-1] // value**2)
    return Graph(name, tuple(nodes))
