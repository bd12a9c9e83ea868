"""What a sum of damages leaves out, on made-up truths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from random_tables import chain
from scipy.stats import multivariate_normal

from hwsearch.quality.damage import Damage, loss_of_noise
from hwsearch.search.exact.additive import lower
from hwsearch.search.exact.exact import noise_of_loss
from hwsearch.search.predict import interactions
from hwsearch.search.predict.refit import refit

FLOAT_MSE = np.array([20.0, 35.0])
DECISIONS, CHOICES = 40, 4


def table(seed: int) -> Damage:
    rng = np.random.default_rng(seed)
    noise = rng.lognormal(0, 1, (DECISIONS, 1)) * 0.25 ** np.arange(CHOICES)
    noise[:, -1] = 0.0
    return Damage("proxy", noise, FLOAT_MSE, 0, ("a", "b"), 0.0)


def plans(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CHOICES, (count, DECISIONS))


def dampened(damage: Damage, rows: np.ndarray) -> np.ndarray:
    """Losses where each quarter of the decisions dampens its own noise, and the quarters add up."""
    quarters = damage.noise[np.arange(DECISIONS), rows].reshape(len(rows), 4, -1).sum(axis=2)
    return loss_of_noise((quarters / (1 + quarters / 0.3)).sum(axis=1), FLOAT_MSE)


def alike(seed: int, count: int) -> np.ndarray:
    """Plans as a search finds them: each a few changes away from one of five."""
    rng = np.random.default_rng(seed)
    near = plans(0, 5)[rng.integers(5, size=count)]
    return np.where(rng.random(near.shape) < 0.1, rng.integers(0, CHOICES, near.shape), near)


@pytest.mark.parametrize("seed", range(3))
def test_plans_that_interact_are_predicted_better_than_by_their_sum(seed: int):
    damage, seen, unseen = table(seed), alike(seed + 10, 90), alike(seed + 99, 80)
    wanted, losses = dampened(damage, unseen), dampened(damage, seen)
    summed = refit(damage, seen, losses)
    by_sum = np.median(np.abs(summed.loss_db(unseen) - wanted))
    by_both = np.median(np.abs(interactions.learn(summed, seen, losses).loss_db(unseen) - wanted))
    assert by_both < 0.8 * by_sum


def test_sums_that_are_true_stay():
    damage, seen, unseen = table(0), plans(0, 60), plans(1, 60)
    learned = interactions.learn(damage, seen, damage.loss_db(seen))
    np.testing.assert_allclose(learned.loss_db(unseen), damage.loss_db(unseen), rtol=1e-6, atol=1e-9)


def test_without_plans_the_sum_stands():
    damage = table(0)
    learned = interactions.learn(damage, np.empty((0, DECISIONS)), np.empty(0))
    np.testing.assert_allclose(learned.loss_db(plans(0, 9)), damage.loss_db(plans(0, 9)), rtol=1e-9, atol=1e-12)


def test_a_measured_plan_is_told_nearly_as_measured():
    damage, seen = table(2), plans(2, 30)
    losses = 1.7 * damage.loss_db(seen)
    learned = interactions.learn(damage, seen, losses)
    np.testing.assert_allclose(learned.loss_db(seen), losses, rtol=0.05)


def test_a_plan_without_noise_loses_nothing_and_no_loss_is_negative():
    damage = table(3)
    widest = np.full((1, DECISIONS), CHOICES - 1)
    seen = np.concatenate([widest, plans(3, 20)])
    losses = np.concatenate([[-0.1], 0.2 * damage.loss_db(seen[1:])])
    learned = interactions.learn(damage, seen, losses).loss_db(np.concatenate([seen, plans(4, 50)]))
    assert learned[0] == pytest.approx(0.0, abs=0.02)
    assert np.all(learned >= 0)


def test_it_is_the_mean_of_the_conditional_normal_distribution():
    """Against the joint distribution of what is left out of two measured plans and a third, written out, by a general library:
    the density of the third is highest at the prediction."""
    damage, rows = table(5), plans(5, 3)
    losses = damage.loss_db(rows[:2]) * np.array([1.5, 0.8])
    told = float(interactions.learn(damage, rows[:2], losses).loss_db(rows[2:])[0])

    floor = noise_of_loss(interactions.FLOOR_DB, FLOAT_MSE)
    total = damage.predicted_noise(rows)
    share = np.sqrt(damage.noise[np.arange(DECISIONS), rows] / total[:, None])
    covariance = np.full((3, 3), 0.5**2)
    for i in range(3):
        for j in range(3):
            apart = np.sum((share[i] - share[j]) ** 2)
            louder = np.log((total[i] + floor) / (total[j] + floor)) ** 2
            covariance[i, j] += 0.5**2 * np.exp(-apart / (2 * 0.5**2) - louder / 2)
    covariance[0, 0] += 0.1**2
    covariance[1, 1] += 0.1**2
    measured = np.array([noise_of_loss(loss, FLOAT_MSE) for loss in losses])
    seen = np.log((measured + floor) / (total[:2] + floor))
    grid = np.linspace(-1, 1, 4001)
    density = multivariate_normal(np.zeros(3), covariance).pdf(np.column_stack([np.tile(seen, (len(grid), 1)), grid]))
    most = loss_of_noise((total[2] + floor) * np.exp(grid[np.argmax(density)]) - floor, FLOAT_MSE)
    assert told == pytest.approx(float(most), rel=2e-3)


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.6])
def test_a_budget_on_quality_is_met_as_predicted(factor: float):
    """Measured plans lose more, or less, than their sum says: the fastest plan that is predicted within the budget is found,
    against all plans one by one."""
    costs, noise, space = chain(4, 0)
    damage = Damage("proxy", noise, FLOAT_MSE, 0, ("a", "b"), 0.0)
    every = np.array(list(itertools.product(*(space.choices(d) for d in range(space.decisions)))), dtype=np.int8)
    seen = every[np.random.default_rng(0).choice(len(every), 40, replace=False)]
    learned = interactions.learn(damage, seen, loss_of_noise(factor * damage.predicted_noise(seen), FLOAT_MSE))
    told, problem = learned.loss_db(every), lower(costs, noise, space)
    for share in (0.1, 0.3, 0.5):
        budget = float(np.quantile(told, share))
        found = np.stack(interactions.within_budgets(costs, learned, space, {"loss": budget}))
        within = learned.loss_db(found) <= budget
        assert within.any()
        fastest = problem.costs(found[within])["latency_s"].min()
        assert fastest <= 1.05 * problem.costs(every[told <= budget])["latency_s"].min()
