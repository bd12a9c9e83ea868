"""Which proxy is gone by."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hwsearch.documents.results import ProxyCheck
from hwsearch.quality import chosen_proxy
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.space import SearchSpace, build_space
from searchspaces.tracing.trace import trace


def check(name: str, spearman: float) -> ProxyCheck:
    return ProxyCheck(name=name, spearman=spearman, seconds=0.0, predicted_db=[0.1], simulated_db=[0.2])


def test_the_one_that_ranked_best_of_those_that_are_there() -> None:
    checks = [check("sqnr", 0.5), check("fisher", 0.9), check("gone", 0.99)]
    assert chosen_proxy.best(checks, ("sqnr", "fisher")) == "fisher"


def test_where_none_was_checked() -> None:
    assert chosen_proxy.best([], ("sqnr", chosen_proxy.DEFAULT)) == chosen_proxy.DEFAULT
    assert chosen_proxy.best([check("gone", 0.99)], ("sqnr", "fisher")) == "sqnr"


class Deep(nn.Module):
    """Four convolutions; ``side``: it is for pictures of one size."""

    def __init__(self, width: int, side: int | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(*(nn.Conv2d(i, o, 3, padding=1) for i, o in ((1, width), (width, width), (width, 1))))
        if side is not None:
            self.place = nn.Parameter(torch.zeros(1, 1, side, side))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x + self.place if hasattr(self, "place") else x)  # type: ignore[no-any-return]


def searched(network: nn.Module, side: int) -> tuple[Graph, SearchSpace]:
    graph = trace(network.eval(), 1, "deep", 1, size=(side, side))
    return graph, build_space(to_workload(graph, side, side), (4, 8), (8, 16))


def test_a_search_in_a_hurry_measures_one() -> None:
    small = searched(Deep(4), 32)
    assert list(chosen_proxy.measured(*small, quick=True)) == [chosen_proxy.DEFAULT]
    assert len(chosen_proxy.measured(*small)) > 1
    assert chosen_proxy.DEFAULT in chosen_proxy.measured(*small)


def test_a_large_network_is_not_run_once_for_each_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the smallest picture that it takes, whose size the network may say itself."""
    small, large = searched(Deep(4), 32), searched(Deep(4, 256), 256)
    assert not chosen_proxy.takes_long(*small)
    assert large[0].size == (256, 256)
    monkeypatch.setattr(chosen_proxy, "LONG", 1e8)
    assert not chosen_proxy.takes_long(*small)
    assert chosen_proxy.takes_long(*large)
    every = set(chosen_proxy.measured(*small))
    assert set(chosen_proxy.measured(*large)) == every - {chosen_proxy.DEFAULT}
    assert list(chosen_proxy.measured(*large, quick=True)) == [chosen_proxy.SHORT]
