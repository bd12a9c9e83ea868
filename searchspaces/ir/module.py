"""A canonical graph as a ``torch.nn.Module``: a network that was read from a file, for everybody who runs modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from searchspaces.ir.graph import Graph, execute

Size = tuple[int, int]


class GraphModule(nn.Module):
    """Executes a graph. It needs no tracing: it says what its graph is.

    Args:
        again: the graph for pictures of another size, of a network that has another one at each (``Graph.size``).
    """

    def __init__(self, graph: Graph, again: Callable[[Size], Graph] | None = None) -> None:
        super().__init__()
        self.graph, self._again = graph, again

    def at(self, size: Size | None) -> Graph:
        """The graph for pictures of ``size`` (height, width); None: for as many sizes as it can be.

        Raises:
            UsageError: the network is for another size alone.
        """
        if size is None or self.graph.size in (None, size):
            return self.graph
        if self._again is None:
            return self.graph.at(*size)
        return self._again(size)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to the output of the graph."""
        height, width = x.shape[2:]
        return execute(self.at((int(height), int(width))), x)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The weights of all nodes, by node and role."""
        return {f"{node.name}.{role}": weight for node in self.graph.nodes for role, weight in node.weights.items()}
