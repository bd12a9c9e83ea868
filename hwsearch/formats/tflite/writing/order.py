"""The order of channels in a TFLite file.

DEPTH_TO_SPACE takes channels block by block, PyTorch's pixel shuffle channel by channel, so the layers before one write theirs in
the order that it needs. SPACE_TO_DEPTH gives them in that order.
"""

from __future__ import annotations

import numpy as np

from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.move import PixelShuffle, PixelUnshuffle, Repeat


def block_order(channels: int, factor: int) -> np.ndarray:
    """For each channel that DEPTH_TO_SPACE expects, the channel of a pixel shuffle to ``channels`` channels that stands there."""
    return np.arange(channels * factor**2).reshape(channels, factor**2).T.reshape(-1)


def channel_orders(graph: Graph, channels: dict[str, int]) -> dict[str, np.ndarray]:
    """Which channel stands at each place of every tensor: the natural order, unless a pixel shuffle behind it wants another."""
    orders = {name: np.arange(count) for name, count in channels.items()}
    for node in reversed(graph.nodes):
        if isinstance(node.op, PixelUnshuffle):
            orders[node.name] = block_order(channels[node.inputs[0]], node.op.factor)
        elif isinstance(node.op, Repeat):
            orders[node.name] = _copies(node, channels)
        elif node.name != graph.output.name and (isinstance(node.op, Add) or _free(node)):
            demands = [demanded(reader, node.name, channels, orders) for reader in graph.readers(node.name)]
            wanted = [order for order in demands if order is not None]
            if wanted and all(np.array_equal(order, wanted[0]) for order in wanted):
                orders[node.name] = wanted[0]
    return orders


def block_orders(graph: Graph, channels: dict[str, int]) -> dict[str, np.ndarray]:
    """The same in a network with tokens, whose axes have one order: only a convolution that pixel shuffles alone read gives its
    channels in theirs, beside what has no choice."""
    orders = {name: np.arange(count) for name, count in channels.items()}
    for node in graph.nodes:
        if isinstance(node.op, PixelUnshuffle):
            orders[node.name] = block_order(channels[node.inputs[0]], node.op.factor)
            continue
        if isinstance(node.op, Repeat):
            orders[node.name] = _copies(node, channels)
            continue
        readers = graph.readers(node.name)
        factors = {reader.op.factor for reader in readers if isinstance(reader.op, PixelShuffle)}
        if _free(node) and len(factors) == 1 and all(isinstance(reader.op, PixelShuffle) for reader in readers):
            factor = factors.pop()
            orders[node.name] = block_order(channels[node.name] // factor**2, factor)
    return orders


def _copies(node: Node, channels: dict[str, int]) -> np.ndarray:
    """Copies of a tensor one after the other, which is what CONCATENATION gives; the network has them channel by channel."""
    return copies_order(channels[node.inputs[0]], channels[node.name])


def copies_order(channels: int, count: int) -> np.ndarray:
    """Copies of ``channels`` channels, ``count`` in all, one after the other."""
    return np.arange(count).reshape(channels, -1).T.reshape(-1)


def _free(node: Node) -> bool:
    """Whether a node takes, and gives, channels in any order: a convolution without groups."""
    return isinstance(node.op, Conv) and node.op.groups == 1


def demanded(reader: Node, name: str, channels: dict[str, int], orders: dict[str, np.ndarray]) -> np.ndarray | None:
    """The order in which ``reader`` takes the channels of its input ``name``; None where it takes any."""
    if _free(reader):
        return None
    if isinstance(reader.op, PixelShuffle):
        return block_order(channels[reader.name], reader.op.factor)
    if isinstance(reader.op, Add):
        return orders[reader.name]
    return np.arange(channels[name])
