"""Least sums by elimination and bounds by a price on a limit, against all plans."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import random_tables

from hwsearch.search.exact.additive import AdditiveProblem, lower
from hwsearch.search.exact.elimination import LARGEST, Elimination
from hwsearch.search.exact.exact import Solver
from hwsearch.search.exact.lagrange import Relaxation, largest


def test_the_example_of_elimination():
    f, g = [3.0, 2.0, 1.0, 6.0], [4.0, 0.0, 1.0, 5.0]
    found = Elimination([2, 2, 2], [(0, 1), (1, 2)]).least(np.array(f + g))
    assert found.value == 1.0
    assert found.positions.tolist() == [1, 0, 1]
    assert found.with_option.tolist() == [3.0, 1.0, 1.0, 3.0, 3.0, 1.0]


@pytest.mark.parametrize("seed", range(40))
def test_least_sums_are_those_of_all_plans(seed: int):
    rng = np.random.default_rng(seed)
    decisions = int(rng.integers(1, 7))
    sizes = rng.integers(1, 4, decisions).tolist()
    meet = [rng.permutation(decisions)[: rng.integers(0, min(decisions, 3) + 1)] for _ in range(rng.integers(0, 6))]
    elimination = Elimination(sizes, [*((d,) for d in range(decisions)), *(tuple(scope.tolist()) for scope in meet)])
    tables = rng.normal(size=elimination.starts[-1])
    sums = {plan: tables[elimination.entries(np.array(plan))].sum() for plan in itertools.product(*map(range, sizes))}
    found = elimination.least(tables)
    assert found.value == pytest.approx(min(sums.values()))
    assert sums[tuple(found.positions.tolist())] == pytest.approx(found.value)
    wanted = [min(v for plan, v in sums.items() if plan[d] == c) for d, size in enumerate(sizes) for c in range(size)]
    assert found.with_option == pytest.approx(wanted)


def test_too_many_that_meet_are_refused():
    with pytest.raises(ValueError, match="meet"):
        Elimination([LARGEST // 2, 3], [(0, 1)])


def test_the_example_of_a_price():
    # One decision with three choices, limited by what the only term adds.
    terms = {"latency_s": np.zeros((1, 3, 3, 3)), "weight_bytes": np.zeros((1, 3, 3, 3))}
    terms["latency_s"][0, :, 0, 0] = 9, 4, 3
    problem = AdditiveProblem(
        (np.arange(3),), np.array([[1.0, 4.0, 9.0]]), np.array([[0, 1, 1]]), terms, dict.fromkeys(terms, 0.0), np.zeros((0, 0, 3))
    )
    relaxation = Relaxation(problem, problem.options, "noise", "latency_s")
    bound = relaxation.bound(5.0)
    assert bound is not None
    assert bound.value == pytest.approx(3.4)
    assert [plan.tolist() for plan in bound.plans] == [[0], [1]]
    assert relaxation.bound(2.9) is None
    assert relaxation.bound(9.0).value == 1.0  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(12))
def test_no_plan_is_below_a_bound(seed: int):
    table, noise, space = random_tables.chain(3, seed)
    problem = lower(table, noise, space)
    plans = np.array(list(itertools.product(*problem.options)))
    costs = problem.costs(plans)
    top = largest(problem, problem.options)
    for limited in ("latency_s", "weight_bytes", "energy_j"):
        relaxation = Relaxation(problem, problem.options, "noise", limited)
        assert costs[limited].max() <= top[limited] * (1 + 1e-12)
        for limit in np.quantile(costs[limited], [0.0, 0.02, 0.3, 0.9]):
            within = costs[limited] <= limit * (1 + 1e-12)
            bound = relaxation.bound(float(limit) * (1 + 1e-12))
            assert bound is not None
            least = costs["noise"][within].min()
            assert bound.value <= least * (1 + 1e-9)
            assert bound.value >= costs["noise"].min() * (1 - 1e-9)
            assert problem.costs(bound.plans[-1][None])[limited][0] <= limit * (1 + 1e-9)
            column = 0
            for d, own in enumerate(problem.options):
                for c in own:
                    made = costs["noise"][within & (plans[:, d] == c)]
                    assert bound.with_option[column] <= made.min(initial=np.inf) * (1 + 1e-9)
                    column += 1
    assert costs["peak_activation_bytes"].max() == top["peak_activation_bytes"]


def test_a_limit_that_leaves_one_plan_is_met_by_it():
    """The plan of least latency is not unique in any one term; the best of those that have it must be found."""
    table, noise, space = random_tables.chain(4, 3)
    problem = lower(table, noise, space)
    plans = np.array(list(itertools.product(*problem.options)))
    costs = problem.costs(plans)
    least = costs["weight_bytes"].min()
    found = Solver(problem).minimum({"weight_bytes": float(least)})
    assert found is not None
    assert found.gap == 0.0
    assert found.objective == pytest.approx(costs["noise"][costs["weight_bytes"] <= least * (1 + 1e-12)].min(), rel=1e-9)
