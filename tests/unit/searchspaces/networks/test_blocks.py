"""Networks without some of their blocks: what is left, and what is no block."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import UsageError
from searchspaces.networks.adapted.blocks import blocks, without
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.tracing.trace import trace


class Block(nn.Module):
    """``x + f(x)`` of four channels."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())

    def forward(self, x: Tensor, plain: bool = False) -> Tensor:
        found: Tensor = self.f(x)
        return found if plain else x + found


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1))
        self.body = nn.ModuleList([Block() for _ in range(3)])
        self.tail = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        for block in self.body:
            x = block(x, False)
        found: Tensor = self.tail(x)
        return found


@pytest.fixture
def network() -> LoadedNetwork:
    torch.manual_seed(0)
    return LoadedNetwork(Net().eval(), "net", 2, 1, "low", "", {})


def test_blocks_are_parts_that_keep_the_shape(network: LoadedNetwork) -> None:
    assert blocks(network) == ("body.0", "body.0.f", "body.1", "body.1.f", "body.2", "body.2.f")


def test_without_a_block_what_it_was_given_passes(network: LoadedNetwork) -> None:
    x, net = torch.rand(1, 1, 8, 8), network.module
    left = without(network, ["body.1"])
    assert left.dropped == ("body.1",)
    with torch.no_grad():
        by_hand = net.tail(net.body[2](net.body[0](net.head(x))))
        assert torch.equal(left.module(x), by_hand)
        assert not torch.equal(net(x), by_hand), "the whole network was changed"


def test_its_layers_are_gone_from_what_is_traced_and_the_others_keep_their_names(network: LoadedNetwork) -> None:
    whole, left = (trace(each.module, 1, "net") for each in (network, without(network, ["body.1"])))
    gone = {node.name for node in whole.convs} - {node.name for node in left.convs}
    assert gone == {"body.1.f.0"}
    assert whole.parameters - left.parameters == 4 * 4 * 9 + 4
    assert {node.name for node in left.nodes} < {node.name for node in whole.nodes}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["head"], "no block 'head'"),
        (["body.7"], "no block 'body.7'"),
        (["body.1", "body.1.f"], "lies in body.1"),
        (["body.0", "body.1", "body.2"], "no block left"),
    ],
)
def test_what_cannot_be_dropped_is_refused(network: LoadedNetwork, names: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        without(network, names)
