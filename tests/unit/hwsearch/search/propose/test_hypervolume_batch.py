"""Plans that promise most volume, against brute force on small spaces; and rounds that use them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from random_tables import chain

from hwsearch.quality.damage import Damage, loss_of_noise
from hwsearch.search import pareto, rounds
from hwsearch.search.exact import exact
from hwsearch.search.exact.additive import lower
from hwsearch.search.propose import hypervolume_batch
from searchspaces.space import PlanRow, matrix

FLOAT_MSE = np.array([20.0, 35.0])


def every(space) -> np.ndarray:
    return np.array(list(itertools.product(*(space.choices(d) for d in range(space.decisions)))), dtype=np.int8)


def points(problem, plans: np.ndarray) -> np.ndarray:
    costs = problem.costs(plans)
    return np.stack([costs["noise"], costs["latency_s"], costs["memory_bytes"]], axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_fill_finds_nearly_all_of_the_front(seed):
    table, noise, space = chain(3, seed, weight_bits=(2, 4, 8), activation_bits=(8, 16))
    problem = lower(table, noise, space)
    found = points(
        problem, hypervolume_batch.fill(problem, np.stack(exact.front(table, noise, space)), {}, np.random.default_rng(0))
    )
    whole = points(problem, every(space))
    reference = whole.max(axis=0) * 1.01
    assert pareto.non_dominated(found).all()
    assert pareto.hypervolume(found, reference) >= 0.999 * pareto.hypervolume(whole[pareto.non_dominated(whole)], reference)


def test_fill_keeps_the_limits():
    table, noise, space = chain(5, 1)
    problem = lower(table, noise, space)
    limit = float(np.median(problem.costs(space.random(np.random.default_rng(0), 200))["memory_bytes"]))
    found = hypervolume_batch.fill(problem, matrix([space.uniform(2, 4)]), {"memory_bytes": limit}, np.random.default_rng(0))
    assert len(found) > 20
    assert problem.costs(found)["memory_bytes"].max() <= limit


@pytest.mark.parametrize("seed", range(3))
def test_pick_is_as_good_as_greedy_choice_by_exact_volume(seed):
    rng = np.random.default_rng(seed)
    offered, measured = rng.random((30, 3)) ** 2, rng.random((4, 3))
    ideal, reference = np.zeros(3), np.ones(3)
    picked = hypervolume_batch.pick(offered, measured, ideal, reference, 6)
    exactly: list[int] = []
    for _ in range(6):
        gains = [pareto.hypervolume(np.vstack([measured, offered[[*exactly, n]]]), reference) for n in range(30)]
        exactly.append(int(np.argmax(gains)))
    ours, best = (pareto.hypervolume(np.vstack([measured, offered[rows]]), reference) for rows in (picked, exactly))
    assert len(set(picked)) == 6
    assert ours >= 0.995 * best


def test_pick_takes_nothing_that_adds_nothing():
    better = np.full((1, 3), 0.1)
    worse = np.random.default_rng(0).uniform(0.2, 1, (20, 3))
    assert hypervolume_batch.pick(worse, better, np.zeros(3), np.ones(3), 5) == []
    assert hypervolume_batch.pick(np.empty((0, 3)), better, np.zeros(3), np.ones(3), 5) == []


def test_rounds_reach_with_few_plans_what_random_plans_do_not_with_many():
    """Against a proxy that is wrong by a factor of its own in every entry, and damage that does not quite add up."""
    table, noise, space = chain(6, 5)
    truth = noise * 40
    proxy = Damage("proxy", truth * np.random.default_rng(0).lognormal(0, 0.7, truth.shape), FLOAT_MSE, 0, ("a", "b"), 0.0)
    problem = lower(table, truth, space)

    def loss(plans: np.ndarray) -> np.ndarray:
        own = truth[np.arange(space.decisions), plans]
        return loss_of_noise(own.sum(axis=1) + 0.3 * np.sqrt(own[:, 0] * own[:, 1]), FLOAT_MSE)

    asked: list[PlanRow] = []

    def evaluate(plans):
        asked.extend(plans)
        return loss(matrix(plans)).tolist()

    budgets = {"loss": 0.5}
    solved = rounds.solve([table], proxy, space, budgets, [], np.empty(0), evaluate, points=12, evaluations=48)
    assert len(set(asked)) == len(asked) == len(solved.plans) + len(solved.anchors) <= 48

    def objectives(plans: np.ndarray) -> np.ndarray:
        costs = problem.costs(plans)
        return np.stack([loss(plans), costs["latency_s"], costs["memory_bytes"]], axis=1)

    reference = np.array([1.0, *objectives(matrix([space.uniform(8, 16)]))[0, 1:]])
    ours = pareto.hypervolume(objectives(matrix(solved.plans)), reference)
    blind = objectives(space.random(np.random.default_rng(0), 2000))
    assert ours > pareto.hypervolume(blind[pareto.non_dominated(blind)], reference)
    late = np.abs(solved.predicted_db - solved.simulated_db)[-12:]
    assert np.median(late) < np.median(np.abs(solved.by_proxy_db - solved.simulated_db)[-12:])
