"""Sums that the output unit of a U85 does one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwmodels import cost
from hwmodels.classes.ethos.array import array_of, described
from hwmodels.classes.ethos.buffering import Weighing
from hwmodels.classes.ethos.layers import Pricing
from hwmodels.classes.ethos.operations import bounded_apart, chained
from hwmodels.classes.ethos.residence import ranges_of
from hwmodels.classes.ethos.storage import bricks
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


class Twice(nn.Module):
    """A convolution of three channels, whose result two sums take one after the other."""

    def __init__(self, sums: int = 2) -> None:
        super().__init__()
        self.head, self.body, self.tail = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.sums = sums

    def forward(self, x: Tensor) -> Tensor:
        head = self.head(x)
        y = self.body(head)
        for _ in range(self.sums):
            y = y + head
        return self.tail(y)  # type: ignore[no-any-return]


def test_what_lies_between_two_sums_is_nowhere() -> None:
    """The output unit passes the first sum on to the second, whose result overwrites what the first one reads."""
    device = catalogue.load("ethos-u85-512")
    workload, array = to_workload(trace(Twice().eval(), 3, "twice", size=(64, 60)), 64, 60), array_of(described(device)[0])
    brick = bricks(workload, any_order=True)
    absorbed = [chained(workload, row, array, brick) for row in range(len(workload.layers))]
    first, second = (row for row, layer in enumerate(workload.layers) if layer.maps("add"))
    assert absorbed == [row == second for row in range(len(workload.layers))]
    read, between, result = (workload.layers[row].output for row in (first - 1, first, second))
    every = np.ones(len(workload.tensors), dtype=bool)
    found = ranges_of(workload, brick, every, 1.0, np.zeros(len(every)), absorbed)
    assert not any(between in one.tensors for one in found)
    (where,) = (one for one in found if result in one.tensors)
    assert where.tensors == [read, result]
    assert (where.first, where.last, where.size_bytes) == (first - 1, second + 1, 64 * 60 * 3)


def test_a_copy_hides_behind_every_sum_of_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vela prints 720 cycles for a sum of 64x60 pixels of three channels on a U85-1024, and 1440 for two in one."""
    device, original, seen = catalogue.load("ethos-u85-1024"), Pricing._weigh, dict[int, float]()

    def weigh(self: Pricing, found: Any, weights: np.ndarray, row: int, rows: int) -> list[Weighing]:
        made = original(self, found, weights, row, rows)
        if self.workload.layers[row].maps("add") and made:
            seen[self._last(row) - row] = made[0].cycles
        return made

    monkeypatch.setattr(Pricing, "_weigh", weigh)
    for sums in (1, 2):
        cost.onchip_bytes(device, to_workload(trace(Twice(sums).eval(), 3, "twice", size=(64, 60)), 64, 60), 8)
    assert seen == {0: pytest.approx(720.0), 1: pytest.approx(1440.0)}


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
