"""What sizes of weights leave out is said, where it is much."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from hwsearch.plans import pricing
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from searchspaces.tracing.trace import trace


class Masked(nn.Module):
    """A convolution of 10 numbers a channel behind an addition of 16 constant ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, channels, 3, padding=1)
        self.register_buffer("mask", torch.rand(1, 1, 1, 16))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x + self.mask)


@pytest.mark.parametrize(("channels", "told"), [(400, False), (4, True)])
def test_constants_beside_the_weights(channels: int, told: bool) -> None:
    problem = pose(Request())
    graph = trace(Masked(channels), 1, "masked", size=(16, 16))
    assert (graph.constants, graph.parameters) == (16, 10 * channels)
    said = replace(problem, graph=graph).beside_weights
    assert bool(said) == told
    if told:
        assert "16 numbers beside 40 parameters" in said[0]
        price = pricing.price(replace(problem, graph=graph), problem.space.uniform(8, 8), "W8A8")
        assert said[0] in price.remarks
    assert not problem.beside_weights
