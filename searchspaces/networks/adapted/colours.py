"""Networks that expect blue, green, red: wrapped, so that everything else sees red, green, blue.

The order is taken up by the first and the last convolutions (``ir.channel_order``), so it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from hwmodels.errors import UsageError
from searchspaces.ir.graph import Graph, Node
from searchspaces.ir.module import GraphModule
from searchspaces.ir.simplify import simplify
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.ops.moves.move import Gather

ORDERS = ("rgb", "bgr")
SWAPPED = (2, 1, 0)


class Swapped(nn.Module):
    """A network behind its order of colours; what it gives is swapped back where it gives pictures (``returns``)."""

    def __init__(self, network: nn.Module, *, returns: bool) -> None:
        super().__init__()
        self.network, self.returns = network, returns

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x[:, list(SWAPPED)])
        return y[:, list(SWAPPED)] if self.returns else y


def wrapped(network: LoadedNetwork, order: str, *, returns: bool) -> LoadedNetwork:
    """``network`` for colours in the order red, green, blue.

    Args:
        order: what it expects, one of ``ORDERS``. returns: whether its output is in that order too.
    Raises:
        UsageError: no such order, or a network without three colours.
    """
    if order not in ORDERS:
        raise UsageError(f"--order {order!r} is not known", f"Allowed: {', '.join(ORDERS)}.")
    if order == "rgb":
        return network
    if network.channels != len(SWAPPED):
        raise UsageError(f"--order bgr: the network reads {network.channels} channel(s)", "Only three colours have an order.")
    said = "The network expects blue, green, red: it was wrapped for red, green, blue."
    if isinstance(network.module, GraphModule):
        inside = network.module
        again: Callable[[tuple[int, int]], Graph] | None = None
        if inside.graph.size is not None:

            def again(size: tuple[int, int]) -> Graph:
                return _swapped(inside.at(size), returns=returns)

        module: nn.Module = GraphModule(_swapped(inside.graph, returns=returns), again).eval()
    else:
        module = Swapped(network.module, returns=returns).eval()
    return replace(network, module=module, remarks=(*network.remarks, said))


def _swapped(graph: Graph, *, returns: bool) -> Graph:
    into = Node("colours", Gather(SWAPPED), ("input",))
    inner = [
        replace(node, inputs=tuple("colours" if name == "input" else name for name in node.inputs)) for node in graph.nodes[1:]
    ]
    nodes = [graph.input, into, *inner]
    if returns:
        nodes.append(Node("colours.back", Gather(SWAPPED), (graph.output.name,)))
    return replace(graph, nodes=tuple(simplify(nodes)))
