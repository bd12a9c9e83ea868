"""From TFLite's ways of saying things to the canonical graph's: the order of channels, and PReLU as two convolutions.

DEPTH_TO_SPACE takes channels block by block, a pixel shuffle channel by channel. What the layers before it write is permuted, as
for export (``writing.order``), in the other direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hwmodels.errors import FileError
from hwsearch.formats.tflite.writing.order import channel_orders, demanded
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Graph
from searchspaces.ir.shapes import propagate
from searchspaces.ops.contractions.conv import Conv

SIDE = 5040
"""Height and width of a picture for which shapes are computed where the file names none, of whole blocks of every usual size; the
number of channels does not depend on it."""


def in_torch_order(
    graph: Graph, layers: Mapping[str, LayerIntegers], size: tuple[int, int]
) -> tuple[Graph, dict[str, LayerIntegers]]:
    """A graph and its integers with all channels in PyTorch's order.

    Args:
        size: height and width of the file's pictures; 1 for one that it leaves open.
    Raises:
        FileError: an operation reads channels in an order that no canonical operation gives.
    """
    channels = {name: shape[0] for name, shape in propagate(graph, *(size if min(size) > 1 else (SIDE, SIDE))).items()}
    orders = channel_orders(graph, channels)
    changed, integers = {}, dict(layers)
    for node in graph.nodes:
        for name in node.inputs:
            order = demanded(node, name, channels, orders)
            if order is not None and not np.array_equal(order, orders[name]):
                raise FileError(f"{node.name!r} reads channels in an order that the canonical graph cannot express")
        if not isinstance(node.op, Conv):
            continue
        rows = np.argsort(orders[node.name])
        grouped = node.op.groups > 1
        columns = np.arange(node.weights["weight"].shape[1]) if grouped else np.argsort(orders[node.inputs[0]])
        weights = {key: value[rows][:, columns] if key == "weight" else value[rows] for key, value in node.weights.items()}
        changed[node.name] = replace(node, weights=weights)
        if node.name in layers:
            layer = layers[node.name]
            weight = np.ascontiguousarray(layer.weight[rows][:, columns])
            integers[node.name] = replace(layer, weight=weight, scale=layer.scale[rows], bias=layer.bias[rows])
    return graph.replaced(changed), integers


def prelu_slope(first: LayerIntegers, second: LayerIntegers, maximum: bool) -> np.ndarray | None:
    """Slopes ``float32[O]`` with which the larger (or, if not ``maximum``, the smaller) of two convolutions is PReLU of the
    first; None where the second is not the first times a factor per channel."""
    if first.weight.shape != second.weight.shape:
        return None
    equal = (first.weight == second.weight).all(axis=(1, 2, 3)) & (first.bias == second.bias)
    sign = np.where(equal, 1, -1).astype(np.int8)
    if not np.array_equal(first.weight * sign[:, None, None, None], second.weight):
        return None
    if not np.array_equal(first.bias * sign, second.bias):
        return None
    slope: np.ndarray = second.scale / first.scale
    # The exporter multiplied scale and slope in float32: take the neighbour that gives the file's scale again.
    for near in (np.nextafter(slope, np.float32(0)), np.nextafter(slope, np.float32(np.inf))):
        slope = np.where((first.scale * slope != second.scale) & (first.scale * near == second.scale), near, slope)
    slope = slope * sign
    fits = slope <= 1 if maximum else slope > 1
    return slope if fits.all() else None
