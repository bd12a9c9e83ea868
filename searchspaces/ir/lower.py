"""From the canonical graph to the table of layers and tensors that is priced: shapes, multiply-accumulates, width groups."""

from __future__ import annotations

from collections.abc import Mapping

from hwmodels import workload as table
from searchspaces.ir.graph import Graph, Node

_RESIZE_REACH = {"nearest": 0, "bilinear": 1, "bicubic": 2}
"""Input pixels beside its own that an output pixel of an interpolation can see."""


def to_workload(graph: Graph, height: int, width: int) -> table.Workload:
    """The layers and tensors of ``graph`` for an input of ``height`` x ``width`` pixels.

    Slopes of PReLU count among a layer's biases (one number per channel). A layer that is called twice has two rows, each with
    its own weights. Operations that could not be traced have a row without multiply-accumulates, the shape of their first
    input, and stand in ``uncounted``.
    """
    shapes = propagate(graph, height, width)
    leaders = graph.width_groups()
    group_names = tuple(dict.fromkeys(leaders[node.name] for node in graph.nodes))
    tensor_of = {node.name: i for i, node in enumerate(graph.nodes)}
    layers = tuple(_layer(node, shapes, tensor_of) for node in graph.nodes[1:])
    readers: list[list[int]] = [[] for _ in graph.nodes]
    for row, layer in enumerate(layers):
        for source in dict.fromkeys(layer.inputs):
            readers[source].append(row)
    tensors = tuple(
        table.Tensor(node.name, *shapes[node.name], i - 1, tuple(readers[i]), group_names.index(leaders[node.name]))
        for i, node in enumerate(graph.nodes)
    )
    return table.Workload(graph.name, layers, tensors, group_names, graph.uncounted)


def _layer(node: Node, shapes: Mapping[str, tuple[int, int, int]], tensor_of: Mapping[str, int]) -> table.Layer:
    inputs, output = tuple(tensor_of[source] for source in node.inputs), tensor_of[node.name]
    if node.op != "conv":
        op = "unary" if node.op == "unknown" else node.op
        extra = node.weights["slope"].numel() if "slope" in node.weights else 0
        activation = node.attrs["kind"] if node.op == "unary" else node.activation
        window = (_RESIZE_REACH[node.attrs["mode"]],) * 4 if op == "resize" else None
        return table.Layer(node.name, op, inputs, output, bias_count=extra, activation=activation, window=window)
    weight, groups = node.weights["weight"], int(node.attrs["groups"])
    left, _, top, _ = node.attrs["padding"]
    down, across = (node.attrs["dilation"] * (size - 1) for size in weight.shape[2:])
    _, rows, columns = shapes[node.name]
    depthwise = groups > 1 and weight.shape[1] == 1 and groups == shapes[node.inputs[0]][0]
    return table.Layer(
        node.name,
        "depthwise" if depthwise else "conv",
        inputs,
        output,
        macs=rows * columns * weight.numel(),
        weight_count=weight.numel(),
        bias_count=sum(value.numel() for key, value in node.weights.items() if key != "weight"),
        kernel=(weight.shape[2], weight.shape[3]),
        stride=int(node.attrs["stride"]),
        groups=groups,
        activation=node.activation,
        window=(left, across - left, top, down - top),
    )


def propagate(graph: Graph, height: int, width: int) -> dict[str, tuple[int, int, int]]:
    """Channels, height and width of every tensor for an input of ``height`` x ``width`` pixels."""
    shapes: dict[str, tuple[int, int, int]] = {}
    for node in graph.nodes:
        if node.op == "input":
            shapes[node.name] = (int(node.attrs["channels"]), height, width)
            continue
        sources = [shapes[source] for source in node.inputs]
        shapes[node.name] = _shape_after(node, sources)
    return shapes


def _shape_after(node: Node, sources: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    c, h, w = sources[0]
    match node.op:
        case "conv":
            weight, stride, dilation = node.weights["weight"], node.attrs["stride"], node.attrs["dilation"]
            left, right, top, bottom = node.attrs["padding"]
            rows = (h + top + bottom - dilation * (weight.shape[2] - 1) - 1) // stride + 1
            columns = (w + left + right - dilation * (weight.shape[3] - 1) - 1) // stride + 1
            return (weight.shape[0], rows, columns)
        case "concat":
            return (sum(source[0] for source in sources), h, w)
        case "slice":
            return (node.attrs["stop"] - node.attrs["start"], h, w)
        case "repeat":
            return (c * node.attrs["times"], h, w)
        case "pixel_shuffle":
            factor = node.attrs["factor"]
            return (c // factor**2, h * factor, w * factor)
        case "resize":
            return (c, h * node.attrs["factor"], w * node.attrs["factor"])
        case "pool":
            return (c, 1, 1)
    return (c, h, w)
