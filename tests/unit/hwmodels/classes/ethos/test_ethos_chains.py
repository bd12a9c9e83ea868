"""Sums that the output unit of a U85 does one after the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hwmodels.classes.ethos.layers import Pricing
from hwmodels.classes.ethos.operations import bounded_apart
from hwmodels.device import catalogue
from hwsearch.formats.reading import pricing
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace

SUMS = 6


class Sums(nn.Module):
    """What all convolutions gave, summed at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(SUMS + 1))

    def forward(self, x: Tensor) -> Tensor:
        y, found = self.head(x), list[Tensor]()
        for conv in self.body:
            found.append(y)
            y = conv(torch.relu(y))
        for other in found[:SUMS]:
            y = y + other
        return self.tail(y)  # type: ignore[no-any-return]


class Joined(nn.Module):
    """Two convolutions with bounds, one of them joined with a convolution without."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.left, self.right, self.tail = (
            nn.Conv2d(3, 16, 3),
            nn.Conv2d(16, 16, 1),
            nn.Conv2d(16, 16, 1),
            nn.Conv2d(32, 3, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.head(x))
        return self.tail(torch.cat([torch.relu(self.left(y)), self.right(y)], dim=1))  # type: ignore[no-any-return]


def test_a_bound_is_an_operation_where_its_zero_is_not_the_first_code() -> None:
    """At 8 bits the head's codes begin at zero; a part's do not, which it shares with a part below zero; at 16 bits none do."""
    workload = to_workload(trace(Joined().eval(), 3, "joined", size=(32, 32)), 32, 32)
    names = [layer.label for layer in workload.layers if layer.finish == "clamp"]
    rows = [row for row, layer in enumerate(workload.layers) if layer.contracts]
    assert len(names) == 2
    assert [bounded_apart(workload, row, wide=False) for row in rows] == [False, True, False, False]
    assert [bounded_apart(workload, row, wide=True) for row in rows] == [True, True, False, False]


def test_a_sum_is_priced_without_pricing_all_before_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sum asking for all before it, and they for theirs, would take 2**sums steps."""
    depth, deepest, chains, original, chain = 0, 0, 0, Pricing.layer, Pricing._chain

    def layer(self: Pricing, *given: Any) -> Any:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        try:
            return original(self, *given)
        finally:
            depth -= 1

    def chained(self: Pricing, *given: Any) -> Any:
        nonlocal chains
        chains += 1
        return chain(self, *given)

    monkeypatch.setattr(Pricing, "layer", layer)
    monkeypatch.setattr(Pricing, "_chain", chained)
    graph, device = trace(Sums().eval(), 3, "sums", size=(32, 32)), catalogue.load("ethos-u85-512")
    widths = ({node.name: 8 for node in nodes} for nodes in (graph.convs, graph.nodes))
    assert pricing.of_widths(graph, *widths, device, (32, 32)).latency_s > 0
    # Once for each pair of widths of the layer that all sums are part of.
    assert 0 < chains <= 4
    assert deepest == 1
