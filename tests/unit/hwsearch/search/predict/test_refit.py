"""Damage tables calibrated by measured plans, on made-up truths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from hwsearch.quality.damage import Damage, loss_of_noise
from hwsearch.search.predict.refit import COMMON, DECISION, OUTLIER, _fit, refit

FLOAT_MSE = np.array([20.0, 35.0])


def damage(noise: np.ndarray) -> Damage:
    return Damage("proxy", noise, FLOAT_MSE, 0, ("a", "b"), 0.0)


def world(seed: int, spread: float, decisions: int = 14, choices: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """A true table, and a proxy that is wrong by a factor of its own in every entry; the last choice makes no error."""
    rng = np.random.default_rng(seed)
    truth = rng.lognormal(0, 1, (decisions, 1)) * 0.25 ** np.arange(choices)
    truth[:, -1] = 0.0
    return truth, truth * 4 * rng.lognormal(0, spread, truth.shape)


def losses(truth: np.ndarray, plans: np.ndarray) -> np.ndarray:
    return loss_of_noise(truth[np.arange(truth.shape[0]), plans].sum(axis=1), FLOAT_MSE)


@pytest.mark.parametrize("seed", range(3))
def test_predicts_unseen_plans_far_better_than_a_wrong_proxy(seed: int):
    truth, proxy = world(seed, spread=0.8)
    plans = np.random.default_rng(seed).integers(0, 4, (200, 14))
    seen, unseen = plans[:120], plans[120:]
    wanted = losses(truth, unseen)
    before = np.abs(damage(proxy).loss_db(unseen) - wanted)
    refitted = refit(damage(proxy), seen, losses(truth, seen))
    after = np.abs(refitted.loss_db(unseen) - wanted)
    assert np.median(after) < 0.1 * np.median(before)
    assert np.median(after / wanted) < 0.02
    assert np.all(refitted.noise >= 0)
    assert np.all(refitted.noise[:, -1] == 0)


def test_what_no_plan_chose_keeps_its_ratio_to_the_proxy():
    truth, proxy = world(0, spread=0.0)
    plans = np.random.default_rng(0).integers(1, 4, (60, 14))
    refitted = refit(damage(proxy), plans, losses(truth, plans))
    np.testing.assert_allclose(refitted.noise[:, 0], truth[:, 0], rtol=0.02)


def test_noise_in_the_measurements_is_averaged():
    truth, proxy = world(1, spread=0.5)
    rng = np.random.default_rng(0)
    plans = rng.integers(0, 4, (300, 14))
    measured = losses(truth, plans) * rng.normal(1, 0.05, 300)
    refitted = refit(damage(proxy), plans, measured)
    assert np.median(np.abs(refitted.loss_db(plans) / losses(truth, plans) - 1)) < 0.03


def test_without_measurements_the_proxy_stands():
    _, proxy = world(0, spread=0.5)
    assert refit(damage(proxy), np.empty((0, 14), dtype=np.int8), np.empty(0)).noise is proxy


def test_no_plan_at_all():
    proxy = world(0, 0.5)[1]
    assert refit(damage(proxy), np.empty((0, 14), dtype=np.int8), np.empty(0)).noise is proxy


def test_plans_of_choices_that_the_proxy_calls_free():
    """Two choices a decision, most of them without error by the proxy: predictions of zero are no ratio to correct by."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = rng.lognormal(0, 1, (4, 2)) * (rng.random((4, 2)) < 0.5)
        plans = rng.integers(0, 2, (12, 4))
        table = refit(damage(truth * (rng.random((4, 2)) < 0.6)), plans, losses(truth, plans)).noise
        assert np.all(np.isfinite(table))


def test_no_choice_is_believed_to_be_free():
    """Bad plans say little about a choice that costs little; it must not be told as free, or the next front would be full of
    it."""
    truth, proxy = world(2, spread=0.3)
    plans = np.random.default_rng(2).integers(0, 2, (60, 14))
    refitted = refit(damage(proxy), plans, losses(truth, plans) * np.random.default_rng(3).normal(1, 0.1, 60))
    used = refitted.noise[:, :2]
    assert np.all(used / truth[:, :2] > 0.05)
    assert np.all(used / truth[:, :2] < 20)


def test_an_entry_that_no_plan_has_follows_its_decision():
    """The proxy misses each decision by a factor of its own; plans with two of the widths tell that of the third."""
    rng = np.random.default_rng(4)
    truth, _ = world(4, spread=0.0)
    proxy = truth * rng.lognormal(0, 0.8, (14, 1))
    plans = rng.integers(1, 3, (120, 14))
    refitted = refit(damage(proxy), plans, losses(truth, plans))
    # Only decisions that make most of the noise can be told from measured sums of it.
    matters = truth[:, 1] > np.median(truth[:, 1])
    before, after = (np.abs(np.log(table[matters, 0] / truth[matters, 0])) for table in (proxy, refitted.noise))
    assert np.mean(after) < 0.6 * np.mean(before)
    moved = np.log(refitted.noise[:, :2] / proxy[:, :2])
    assert np.corrcoef(moved.T)[0, 1] > 0.9


def test_a_few_plans_that_do_not_add_up_do_little_harm():
    truth, proxy = world(5, spread=0.5)
    plans = np.random.default_rng(5).integers(0, 4, (150, 14))
    measured = losses(truth, plans)
    measured[::15] *= 2.0
    table = refit(damage(proxy), plans, measured)
    assert np.median(np.abs(table.loss_db(plans) / losses(truth, plans) - 1)) < 0.05


def test_the_fit_is_the_minimum_of_its_objective():
    """Against a general minimiser of the negative log posterior, written out again."""
    rng = np.random.default_rng(6)
    decision = np.repeat(np.arange(5), 2)
    used = np.zeros((25, 10))
    used[np.arange(25)[:, None], 2 * np.arange(5) + rng.integers(0, 2, (25, 5))] = 1.0
    truth = rng.lognormal(0, 1, 10)
    proxy = truth * rng.lognormal(0.5, 0.5, 10)
    noise = used @ truth * rng.normal(1, 0.02, 25)
    error = 0.1 * noise
    start = np.log(proxy) + np.median(np.log(noise / (used @ proxy)))
    covariance = COMMON**2 + DECISION**2 * (decision[:, None] == decision) + 0.3**2 * np.eye(10)

    def objective(z: np.ndarray) -> float:
        far = np.abs(used @ np.exp(start + z) - noise) / error
        return float(np.sum(np.where(far < OUTLIER, far**2, 2 * OUTLIER * far - OUTLIER**2)) + z @ np.linalg.solve(covariance, z))

    expected = minimize(objective, np.zeros(10), method="BFGS", options={"gtol": 1e-4}).x
    found = np.log(_fit(used, noise, error, proxy, decision, 0.3)) - start
    assert objective(found) <= objective(expected) * 1.001 + 1e-3
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_choice_that_the_proxy_calls_free_is_charged_what_plans_with_it_lose():
    """But not the widest choice of a decision, nor one that no plan has."""
    truth, _ = world(7, spread=0.0)
    proxy = truth.copy()
    dearest = int(np.argmax(truth[:, 1]))
    proxy[dearest, 1] = 0.0
    proxy[dearest - 1, 0] = 0.0
    plans = np.random.default_rng(7).integers(1, 4, (120, 14))
    refitted = refit(damage(proxy), plans, losses(truth, plans))
    assert refitted.noise[dearest, 1] == pytest.approx(truth[dearest, 1], rel=0.2)
    assert np.all(refitted.noise[:, -1] == 0)
    assert refitted.noise[dearest - 1, 0] == 0


@pytest.mark.parametrize("seed", range(4))
def test_plans_far_from_the_probes_are_predicted_once_some_were_measured(seed: int):
    """Ten small errors add up in amplitude and large ones saturate, as in a deep network: no sum explains the random probes and
    the narrow plans of a front both. What was measured last decides."""
    rng = np.random.default_rng(seed)
    noise = rng.lognormal(0, 1, (14, 1)) * 0.25 ** np.arange(4)
    noise[:10] *= 0.1
    noise[:, -1] = 0.0
    proxy = noise * 4 * rng.lognormal(0, 0.5, noise.shape)
    probes = rng.integers(0, 4, (60, 14))
    narrow = np.concatenate([rng.integers(0, 2, (60, 10)), rng.integers(2, 4, (60, 4))], axis=1)
    plans = np.concatenate([probes, narrow])
    parts = noise[np.arange(14), plans]
    total = np.sqrt(parts[:, :10]).sum(axis=1) ** 2 + parts[:, 10:].sum(axis=1)
    measured = loss_of_noise(total / (1 + total / 20), FLOAT_MSE)
    table = refit(damage(proxy), plans[:96], measured[:96])
    assert np.median(np.abs(table.loss_db(plans[96:108]) / measured[96:108] - 1)) < 0.03
