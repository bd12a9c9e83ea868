"""What a module computes twice from the same tensors is one node: runtimes merge it, too, and prices count it once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from searchspaces.ir.graph import execute
from searchspaces.ops.contractions.conv import Conv
from searchspaces.tracing.trace import trace


class Twice(nn.Module):
    """The same layer and function of the same tensor in two places; one like them of another tensor, one of other weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.own, self.other = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        left = torch.sigmoid(self.own(y)) + self.other(y)
        right = torch.sigmoid(self.own(y)) * self.own(left)
        return left + right


def test_once() -> None:
    module, x = Twice().eval(), torch.rand(1, 3, 12, 16)
    graph = trace(module, 3, "twice")
    layers = [node for node in graph.nodes if isinstance(node.op, Conv)]
    assert [node.inputs[0] == layers[0].name for node in layers] == [False, True, True, False]
    assert len(graph.nodes) == len({node.name for node in graph.nodes})
    with torch.no_grad():
        torch.testing.assert_close(execute(graph, x), module(x), rtol=1e-5, atol=1e-6)
    assert len(graph.weight_groups[layers[1].name]) == 2
