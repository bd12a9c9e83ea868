"""A race decides between forms of a layer as all windows together do, and looks at few of them where the forms lie far apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hwsearch.quant.observe import race
from hwsearch.quant.observe.gains import Bench
from searchspaces.ir.graph import Graph, Node
from searchspaces.tracing.trace import trace


@pytest.fixture(scope="module")
def graph() -> Graph:
    torch.manual_seed(0)
    return trace(nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 1, 3, padding=1)), 1, "two layers")


def forms(graph: Graph, shares: list[float], seed: int) -> list[Node]:
    """The first layer with errors of its weights, as large as ``shares`` of one another."""
    layer = graph.convs[0]
    generator = torch.Generator().manual_seed(seed)
    weight = layer.weights["weight"]
    return [layer.with_weights(weight=weight + 0.05 * share * torch.randn(weight.shape, generator=generator)) for share in shares]


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_near_forms_are_decided_by_all_windows(graph: Graph, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "CLOSE", np.inf)
    x = torch.rand(count, 1, 12, 14, generator=torch.Generator().manual_seed(count))
    for seed in range(6):
        tried = forms(graph, [1.0, 1.0, 1.0], seed)
        wanted = np.argmin([Bench(graph, x).noise({}, {form.name: form}) for form in tried])
        assert race.Race(graph, x).quietest(tried) == wanted


def test_forms_far_apart_are_decided_by_the_first_windows(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(4, 1, 12, 14, generator=torch.Generator().manual_seed(1))
    contest = race.Race(graph, x)
    looked: list[int] = []
    noise = Bench.noise

    def counted(bench: Bench, *given: object) -> float:
        looked.append(len(bench._x))
        return noise(bench, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Bench, "noise", counted)
    assert contest.quietest(forms(graph, [3.0, 1.0, 9.0], 0)) == 1
    assert looked == [3, 3, 3]
    looked.clear()
    same = forms(graph, [1.0], 2) * 2 + forms(graph, [9.0], 3)
    assert contest.quietest(same) == 0  # of equals the first
    assert looked == [3, 3, 3, 1, 1]
