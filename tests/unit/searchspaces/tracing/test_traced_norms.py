"""Normalizations of pictures: where channels are turned to the last axis for them, and scales and shifts behind them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from block_networks import LayerNorm2d
from torch import Tensor, nn

from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ir.simplify import simplify
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import Relu
from searchspaces.ops.moves.move import Permute
from searchspaces.ops.reductions.norm import LayerNorm, Norm
from searchspaces.tracing.trace import trace

WIDTH = 8
FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def aside(x: Tensor, norm: Callable[[Tensor], Tensor]) -> Tensor:
    return norm(x.permute(LAST)).permute(FIRST)


def rms(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)


def both(x: Tensor, norm: Callable[[Tensor], Tensor]) -> Tensor:
    return aside(x, norm) + norm(x.permute(LAST)).sum((1, 2)).view(1, -1, 1, 1)


class Between(nn.Module):
    """A convolution, a normalization in some spelling, and another convolution."""

    def __init__(self, body: Callable[[Tensor], Tensor], norm: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.tail, self.body = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 3, 3, padding=1), body
        self.norm = norm or nn.LayerNorm(WIDTH)
        self.scale, self.shift = nn.Parameter(torch.rand(WIDTH, 1, 1) + 0.5), nn.Parameter(torch.randn(WIDTH, 1, 1))
        for parameter in self.norm.parameters():
            nn.init.uniform_(parameter, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.tail(self.body(self, self.head(x)))  # type: ignore[call-arg]
        return found


ONE = {
    "channels put last": (lambda net, y: aside(y, net.norm), None),
    "in elementary steps": (lambda net, y: net.norm(y), LayerNorm2d(WIDTH)),
    "a root mean square, scaled": (lambda net, y: rms(y) * net.scale, None),
    "unit length": (lambda net, y: aside(y, lambda z: F.normalize(z, dim=-1)), None),
    "groups, scaled": (lambda net, y: net.norm(y) * net.scale + net.shift, nn.GroupNorm(2, WIDTH)),
    "each channel, scaled": (lambda net, y: net.norm(y) * net.scale + net.shift, nn.InstanceNorm2d(WIDTH)),
}
MORE = {
    "a root mean square with a shift": (lambda net, y: rms(y) * net.scale + net.shift, None, 1),
    "what is put last has another reader": (lambda net, y: both(y, net.norm), None, 0),
    "another order back": (lambda net, y: net.norm(y.permute(LAST)).permute(0, 3, 2, 1), None, 0),
}


def traced(name: str, body: Callable[[Tensor], Tensor], norm: nn.Module | None) -> Graph:
    net, x = Between(body, norm).eval(), torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    graph = trace(net, 3, "net")
    with torch.no_grad():
        torch.testing.assert_close(execute(graph, x), net(x), rtol=1e-4, atol=1e-5)
    return graph


@pytest.mark.parametrize("name", ONE)
def test_one_operator_where_the_picture_stands(name: str) -> None:
    graph = traced(name, *ONE[name])
    kinds = [type(node.op) for node in graph.nodes]
    assert len(kinds) == 4
    assert (kinds[1], kinds[3]) == (Conv, Conv)
    assert issubclass(kinds[2], Norm)
    assert all(node.op.axes == (1,) for node in graph.nodes if isinstance(node.op, LayerNorm))


def test_one_behind_another() -> None:
    """The second is turned by what reads the first one's order back: files may write both orders, which tracing joins."""
    turned = [Permute(LAST), LayerNorm((-1,)), Permute(FIRST)]
    nodes = [Node("input", Input(3))]
    for number, op in enumerate([*turned, *turned, Relu()]):
        nodes.append(Node(f"n{number}", op, (nodes[-1].name,)))
    found = simplify(nodes)
    assert [(node.op, node.inputs) for node in found[1:3]] == [(LayerNorm((1,)), ("input",)), (LayerNorm((1,)), (found[1].name,))]
    assert len(found) == 4


@pytest.mark.parametrize("name", MORE)
def test_and_more_where_it_is_none(name: str) -> None:
    *spelled, products = MORE[name]
    graph = traced(name, *spelled)
    turns = [node for node in graph.nodes if isinstance(node.op, Permute)]
    behind = [node for node in graph.nodes if isinstance(node.op, Conv) and node.op.groups == WIDTH]
    assert len(behind) == products
    assert bool(turns) == (not products)
