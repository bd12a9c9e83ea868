"""Networks of blue, green, red: the order is taken up by convolutions and costs nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import UsageError
from searchspaces.ir.graph import execute
from searchspaces.ir.module import GraphModule
from searchspaces.networks.adapted import colours
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.tracing.trace import trace


class Residual(nn.Module):
    """A sum of two convolutions behind a PReLU, shuffled: an order has to pass all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.act = nn.Conv2d(3, 12, 3, padding=1), nn.PReLU(12)
        self.one, self.two = nn.Conv2d(12, 3, 3, padding=1), nn.Conv2d(12, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.head(x))
        out: Tensor = torch.relu(self.one(y) + self.two(y))
        return out


@pytest.mark.parametrize("as_graph", [False, True])
def test_a_wrapped_network_is_the_network_of_swapped_colours(as_graph: bool) -> None:
    torch.manual_seed(0)
    plain = Residual().eval()
    module: nn.Module = GraphModule(trace(plain, 3, "net")) if as_graph else plain
    found = colours.wrapped(LoadedNetwork(module, "net", 1, 3, "low", "", {}), "bgr", returns=True)
    graph = trace(found.module, 3, "net")
    assert [node.op.kind for node in graph.nodes] == ["input", "conv", "conv", "conv", "add"]
    x = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        expected = plain(x.flip(1)).flip(1)
        assert torch.allclose(execute(graph, x), expected, atol=1e-6)
        assert not torch.allclose(plain(x), expected, atol=1e-3)


def test_an_order_that_nothing_takes_up_stays() -> None:
    """A depthwise convolution behind a sum with the picture itself: the same function, with the order in it."""
    torch.manual_seed(0)

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = nn.Conv2d(3, 3, 3, padding=1, groups=3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = (x + self.own(x))[:, [2, 0, 1]]
            return out

    module = Skip().eval()
    graph = trace(module, 3, "net")
    x = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        assert torch.allclose(execute(graph, x), module(x), atol=1e-6)


def test_what_has_no_order() -> None:
    network = LoadedNetwork(nn.Identity(), "net", 1, 1, "low", "", {})
    with pytest.raises(UsageError, match="1 channel"):
        colours.wrapped(network, "bgr", returns=True)
    with pytest.raises(UsageError, match="gbr"):
        colours.wrapped(network, "gbr", returns=True)
    assert colours.wrapped(network, "rgb", returns=True) is network
