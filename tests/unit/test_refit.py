"""Damage tables calibrated by measured plans, on made-up truths."""

from __future__ import annotations

import numpy as np
import pytest

from hwsearch.damage import Damage, psnr_loss_db
from hwsearch.search.refit import refit

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
    return psnr_loss_db(truth[np.arange(truth.shape[0]), plans].sum(axis=1), FLOAT_MSE)


@pytest.mark.parametrize("seed", range(3))
def test_predicts_unseen_plans_far_better_than_a_wrong_proxy(seed: int):
    truth, proxy = world(seed, spread=0.8)
    plans = np.random.default_rng(seed).integers(0, 4, (200, 14))
    seen, unseen = plans[:120], plans[120:]
    wanted = losses(truth, unseen)
    before = np.abs(damage(proxy).psnr_loss_db(unseen) - wanted)
    refitted = refit(damage(proxy), seen, losses(truth, seen))
    after = np.abs(refitted.psnr_loss_db(unseen) - wanted)
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
    assert np.median(np.abs(refitted.psnr_loss_db(plans) / losses(truth, plans) - 1)) < 0.03


def test_without_measurements_the_proxy_stands():
    _, proxy = world(0, spread=0.5)
    assert refit(damage(proxy), np.empty((0, 14), dtype=np.int8), np.empty(0)).noise is proxy
