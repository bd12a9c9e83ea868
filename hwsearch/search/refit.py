"""Calibration of a damage table by measured plans: the table that explains them best and strays least from what the proxy said.

Noise adds up over decisions (the model of every proxy), so the measured output noise of a plan is a sum of entries of the table.
Damage is a positive quantity that a proxy misses by a factor, so the prior is log-normal: all entries share a factor of which
nothing is known, the entries of one decision another that is within ``e`` or so, and each entry has its own, smaller one. An
entry never becomes 0, and one that no plan determines follows its neighbours in the same decision. Plans that the sum does not
explain, for choices do interact, count less than squares would have them count (Huber's loss).

The most probable table is found by Gauss-Newton steps. With a Gaussian prior of covariance S on the logarithms z, a step solves a
system of the size of the plans, ``z = S J' (J S J' + R)^-1 (J z - r)``, however many entries there are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwsearch.damage import Damage
from hwsearch.search.exact import noise_of_loss

RELATIVE_ERROR = 0.05
"""How far the loss of a plan may be from that of the sum, as a share of it: interactions that the sum leaves out."""
FLOOR_DB = 0.005
"""Error of a measured loss that is near 0."""
COMMON, DECISION = 10.0, 1.0
"""Standard deviation of the logarithm of the factor that all entries share, and of that of one decision."""
DOUBTS = (0.1, 0.3, 1.0)
"""The same for a single entry: the one that predicts plans left out best is taken."""
FOLDS = 5
OUTLIER = 3.0
"""Standard errors from which on a plan counts linearly."""
_STEPS = 20
_CONVERGED = 1e-4


def refit(damage: Damage, plans: np.ndarray, losses_db: np.ndarray) -> Damage:
    """``damage`` calibrated by measurement.

    Args:
        plans: ``int8[P, D]``, choice indices.
        losses_db: ``float64[P]``, their measured PSNR loss; a plan that gains counts as without loss.
    Returns:
        A table with the same pictures, and its proxy named ``NAME, refitted``. Entries of 0 stay 0: these choices make no error.
    """
    entries = np.flatnonzero(damage.noise.ravel() > 0)
    if len(plans) < FOLDS or not len(entries):
        return damage
    decisions, choices = damage.noise.shape
    used = np.zeros((len(plans), decisions * choices))
    used[np.arange(len(plans))[:, None], np.arange(decisions) * choices + np.asarray(plans, dtype=np.int64)] = 1.0
    used, proxy, decision = used[:, entries], damage.noise.ravel()[entries], entries // choices
    losses = np.maximum(losses_db, 0.0)
    noise = np.array([noise_of_loss(loss, damage.float_mse) for loss in losses])
    worse = np.array([noise_of_loss(loss * (1 + RELATIVE_ERROR) + FLOOR_DB, damage.float_mse) for loss in losses])
    error = worse - noise
    fold = np.arange(len(plans)) % FOLDS

    def left_out(doubt: float) -> float:
        misses = []
        for k in range(FOLDS):
            seen = fold != k
            table = _fit(used[seen], noise[seen], error[seen], proxy, decision, doubt)
            misses.append(np.abs(used[~seen] @ table - noise[~seen]) / error[~seen])
        return float(np.median(np.concatenate(misses)))

    table = np.zeros(decisions * choices)
    table[entries] = _fit(used, noise, error, proxy, decision, min(DOUBTS, key=left_out))
    return replace(damage, proxy=f"{damage.proxy}, refitted", noise=table.reshape(decisions, choices))


def _fit(
    used: np.ndarray, noise: np.ndarray, error: np.ndarray, proxy: np.ndarray, decision: np.ndarray, doubt: float
) -> np.ndarray:
    """Entries ``float64[E]`` for plans that use them, ``used float64[P, E]``, and measure ``noise`` with ``error``.

    Args:
        proxy: the entries as the proxy has them; decision: to which decision each belongs, ``int[E]``.
    """
    same = decision[:, None] == decision[None, :]
    prior = COMMON**2 + DECISION**2 * same + doubt**2 * np.eye(len(proxy))
    predicted = used @ proxy
    told = (noise > 0) & (predicted > 0)
    start = np.log(proxy) + (np.median(np.log(noise[told] / predicted[told])) if told.any() else 0.0)

    def misfit(z: np.ndarray, dual: np.ndarray) -> float:
        far = np.abs(used @ np.exp(start + z) - noise) / error
        return float(np.where(far < OUTLIER, far**2, OUTLIER * (2 * far - OUTLIER)).sum() + dual @ z)

    z, dual = np.zeros(len(proxy)), np.zeros(len(proxy))
    best = misfit(z, dual)
    for _ in range(_STEPS):
        entries = np.exp(start + z)
        off = used @ entries - noise
        slope = used * entries
        spread = error**2 * np.maximum(np.abs(off) / error / OUTLIER, 1.0)
        toward = slope.T @ np.linalg.solve(slope @ prior @ slope.T + np.diag(spread), slope @ z - off)
        # z is prior @ dual throughout, so that dual @ z is its distance from the prior.
        step, dual_step = prior @ toward - z, toward - dual
        share = 1.0
        while (reached := misfit(z + share * step, dual + share * dual_step)) >= best and share > _CONVERGED:
            share /= 2
        if reached >= best:
            break
        z, dual = z + share * step, dual + share * dual_step
        gained, best = best - reached, reached
        if gained < _CONVERGED * best:
            break
    return np.exp(start + z)
