"""Which proxy is gone by."""

from __future__ import annotations

from hwsearch.documents.results import ProxyCheck
from hwsearch.quality import chosen_proxy


def check(name: str, spearman: float) -> ProxyCheck:
    return ProxyCheck(name=name, spearman=spearman, seconds=0.0, predicted_db=[0.1], simulated_db=[0.2])


def test_the_one_that_ranked_best_of_those_that_are_there() -> None:
    checks = [check("sqnr", 0.5), check("fisher", 0.9), check("gone", 0.99)]
    assert chosen_proxy.best(checks, ("sqnr", "fisher")) == "fisher"


def test_where_none_was_checked() -> None:
    assert chosen_proxy.best([], ("sqnr", chosen_proxy.DEFAULT)) == chosen_proxy.DEFAULT
    assert chosen_proxy.best([check("gone", 0.99)], ("sqnr", "fisher")) == "sqnr"


def test_a_search_in_a_hurry_measures_one() -> None:
    assert list(chosen_proxy.measured(one=True)) == [chosen_proxy.DEFAULT]
    assert len(chosen_proxy.measured()) > 1
