"""Fronts, knees, hypervolume and picks against definitions written as loops."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels.errors import BudgetError
from hwmodels.pricing.table import Objectives
from hwsearch.search import pareto


def dominated_by_definition(values):
    """A row is dominated if another is nowhere worse and somewhere better, or is its earlier twin."""
    result = []
    for i, a in enumerate(values):
        worse = False
        for j, b in enumerate(values):
            if i != j and all(b <= a) and (any(b < a) or j < i):
                worse = True
        result.append(worse)
    return np.array(result)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_non_dominated_equals_the_definition(objectives):
    values = np.random.default_rng(objectives).integers(0, 6, (80, objectives)).astype(float)
    np.testing.assert_array_equal(pareto.non_dominated(values), ~dominated_by_definition(values))


def test_rows_without_a_value_are_left_out():
    assert pareto.non_dominated(np.array([[1.0, np.nan], [2.0, 2.0]])).tolist() == [False, True]


@pytest.mark.parametrize("objectives", [2, 3])
def test_hypervolume_equals_counted_cells(objectives):
    """On an integer grid the volume is the number of unit cells whose upper corner some point dominates."""
    for seed in range(8):
        points = np.random.default_rng(seed).integers(0, 6, (12, objectives)).astype(float)
        cells = np.stack(np.meshgrid(*[np.arange(6)] * objectives), axis=-1).reshape(-1, objectives)
        counted = sum(any(np.all(p <= cell) for p in points) for cell in cells)
        assert pareto.hypervolume(points, np.full(objectives, 6.0)) == counted


def test_knee_is_where_the_curve_bends():
    latency = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    loss = np.array([10.0, 1.0, 0.8, 0.6, 0.5])
    assert pareto.knee(loss, latency) == 1
    assert pareto.knee(np.array([0.3]), np.array([1.0])) == 0


def prices(latency, weights, peak):
    return Objectives(np.array(latency), np.array(weights), np.array(peak), np.array(latency) * 2)


LOSSES = np.array([2.0, 1.0, 0.1, 0.05, 1.5])
PRICES = prices([1e-3, 2e-3, 4e-3, 8e-3, 5e-3], [100, 200, 300, 400, 500], [10, 10, 10, 10, 10])


def test_front_and_roles():
    front = pareto.front_of(LOSSES, PRICES, {})
    assert front == [0, 1, 2, 3]
    picks = pareto.choose(front, LOSSES, PRICES, {"latency": 5e-3, "memory": 400.0}, {})
    assert (picks["best quality"], picks["fastest"], picks["smallest"], picks["budget"]) == (3, 0, 0, 2)
    assert picks["knee"] == 2
    assert pareto.choose(front, LOSSES, PRICES, {"loss": 1.2}, {})["budget"] == 1


def test_hard_limits_bound_the_front():
    assert pareto.front_of(LOSSES, PRICES, {"weight_bytes": 250, "peak_activation_bytes": None}) == [0, 1]
    assert pareto.front_of(LOSSES, PRICES, {"peak_activation_bytes": 5}) == []


def test_an_impossible_budget_names_the_best_value():
    front = pareto.front_of(LOSSES, PRICES, {})
    with pytest.raises(BudgetError, match=r"best reached is 1 ms, the budget is 0\.5 ms \(latency\)") as caught:
        pareto.choose(front, LOSSES, PRICES, {"latency": 5e-4}, {})
    assert caught.value.exit_code == 4
    with pytest.raises(BudgetError, match=r"together with the other budgets is 4 ms"):
        pareto.choose(front, LOSSES, PRICES, {"latency": 3e-3, "loss": 0.2}, {})
