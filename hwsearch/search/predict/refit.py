"""Calibration of a damage table by measured plans: the table that explains them best and strays least from what the proxy said.

Noise adds up over decisions (the model of every proxy), so the measured output noise of a plan is a sum of entries of the table.
Damage is a positive quantity that a proxy misses by a factor, so the prior is log-normal: all entries share a factor of which
nothing is known, the entries of one decision another that is within ``e`` or so, and each entry has its own, smaller one. An
entry never becomes 0, and one that no plan determines follows its neighbours in the same decision. Plans that the sum does not
explain, for choices do interact, count less than squares would have them count (Huber's loss).

How well a sum explains plans differs from network to network: FSRCNN's to a hundredth of a dB, VDSR's, whose twenty layers
dampen one detail together, to a tenth. A fit that trusts every plan to a hundredth there takes what is left over for damage of
single choices. So how far to trust the sum, and each entry of the proxy, is chosen by how well plans left out are predicted, in
dB, and what these plans lose beyond their prediction on the whole is added to the table as a factor.

The most probable table is found by Gauss-Newton steps. With a Gaussian prior of covariance S on the logarithms z, a step solves a
system of the size of the plans, ``z = S J' (J S J' + R)^-1 (J z - r)``, however many entries there are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwsearch.quality.damage import Damage, loss_of_noise
from hwsearch.search.exact.exact import noise_of_loss

RELATIVE_ERROR = 0.05
"""How far the loss of a plan may be from that of the sum, as a share of it: interactions that the sum leaves out."""
FLOORS_DB = (0.005, 0.03, 0.1)
"""The same for a loss near 0, in dB: the one that predicts plans left out best is taken."""
COMMON, DECISION = 10.0, 0.5
"""Standard deviation of the logarithm of the factor that all entries share, and of that of one decision."""
DOUBTS = (0.1, 0.3, 1.0)
"""The same for a single entry, chosen likewise."""
FOLDS = 5
TOLERATED_DB, TOLERATED_SHARE = 0.05, 0.15
"""Errors of prediction are counted in units of their sum; one counts as ``_WORST`` of them at most."""
OUTLIER = 3.0
"""Standard errors from which on a plan counts linearly."""
TRACE = 0.01
"""Where the proxy sees no error in a choice, what is assumed of it, as a share of the least error of its decision."""
_WORST = 5.0
_STEPS = 20
_CONVERGED = 1e-4


def refit(damage: Damage, plans: np.ndarray, losses_db: np.ndarray) -> Damage:
    """``damage`` calibrated by measurement.

    Args:
        plans: ``int8[P, D]``, choice indices, in the order in which they were measured: the next ones will be most like the later
            half of them, which decides how far to trust what.
        losses_db: ``float64[P]``, their measured PSNR loss; a plan that gains counts as without loss.
    Returns:
        A table with the same pictures, and its proxy named ``NAME, refitted``. Where the proxy says 0 for a choice, its entry can
        grow when plans have it; not that of the widest choice that plans have of a decision.
    """
    if len(plans) < FOLDS:
        return damage
    decisions, choices = damage.noise.shape
    used = np.zeros((len(plans), decisions * choices))
    used[np.arange(len(plans))[:, None], np.arange(decisions) * choices + np.asarray(plans, dtype=np.int64)] = 1.0
    start = _with_traces(damage.noise, used.any(axis=0).reshape(decisions, choices)).ravel()
    entries = np.flatnonzero(start > 0)
    if not len(entries):
        return damage
    used, proxy, decision = used[:, entries], start[entries], entries // choices
    losses = np.maximum(losses_db, 0.0)
    noise = np.array([noise_of_loss(loss, damage.float_mse) for loss in losses])
    fold, later = np.arange(len(plans)) % FOLDS, slice(len(plans) // 2, None)

    def error(floor_db: float) -> np.ndarray:
        """Standard errors of ``noise``."""
        worse = [noise_of_loss(loss * (1 + RELATIVE_ERROR) + floor_db, damage.float_mse) for loss in losses]
        found: np.ndarray = np.array(worse) - noise
        return found

    def left_out(error: np.ndarray, doubt: float) -> np.ndarray:
        """Noise of every plan, predicted from the plans of the other folds."""
        predicted = np.empty(len(plans))
        for k in range(FOLDS):
            seen = fold != k
            predicted[~seen] = used[~seen] @ _fit(used[seen], noise[seen], error[seen], proxy, decision, doubt)
        return predicted

    def miss(predicted: np.ndarray) -> float:
        off = np.abs(loss_of_noise(predicted, damage.float_mse) - losses) / (TOLERATED_DB + TOLERATED_SHARE * losses)
        return float(np.minimum(off, _WORST)[later].mean())

    tried = [(errors, doubt, left_out(errors, doubt)) for errors in map(error, FLOORS_DB) for doubt in DOUBTS]
    errors, doubt, predicted = min(tried, key=lambda one: miss(one[2]))
    table = np.zeros(decisions * choices)
    table[entries] = _fit(used, noise, errors, proxy, decision, doubt) * np.median(_ratios(noise[later], predicted[later]))
    return replace(damage, proxy=f"{damage.proxy}, refitted", noise=table.reshape(decisions, choices))


def _ratios(noise: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Measured over predicted noise of the plans that lose anything; 1 where there are none."""
    lossy = (noise > 0) & (predicted > 0)
    return noise[lossy] / predicted[lossy] if lossy.any() else np.ones(1)


def _with_traces(noise: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """``noise float64[D, C]`` of a proxy with a trace of error where it says 0 for a choice that measured plans have (``seen
    bool[D, C]``), but for the widest of them."""
    least = np.where(noise > 0, noise, np.inf).min(axis=1, initial=np.inf)
    wider_seen = np.cumsum(seen[:, ::-1], axis=1)[:, ::-1] > 1
    raised = (noise == 0) & seen & wider_seen & np.isfinite(least)[:, None]
    return np.where(raised, TRACE * np.where(np.isfinite(least), least, 0.0)[:, None], noise)


def _fit(
    used: np.ndarray, noise: np.ndarray, error: np.ndarray, proxy: np.ndarray, decision: np.ndarray, doubt: float
) -> np.ndarray:
    """Entries ``float64[E]`` for plans that use them, ``used float64[P, E]``, and measure ``noise`` with ``error``.

    Args:
        proxy: the entries as the proxy has them; decision: to which decision each belongs, ``int[E]``.
    """
    # The prior's covariance is shared @ shared.T + doubt**2: two factors of many entries, and each entry's own.
    shared = np.column_stack([np.full(len(proxy), COMMON), DECISION * (decision[:, None] == np.unique(decision))])
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
        common = slope @ shared
        covariance = common @ common.T + doubt**2 * (slope @ slope.T) + np.diag(spread)
        toward = slope.T @ np.linalg.solve(covariance, slope @ z - off)
        # z is the covariance times dual throughout, so that dual @ z is its distance from the prior.
        step, dual_step = shared @ (shared.T @ toward) + doubt**2 * toward - z, toward - dual
        share = 1.0
        while (reached := misfit(z + share * step, dual + share * dual_step)) >= best and share > _CONVERGED:
            share /= 2
        if reached >= best:
            break
        z, dual = z + share * step, dual + share * dual_step
        gained, best = best - reached, reached
        if gained < _CONVERGED * best:
            break
    found: np.ndarray = np.exp(start + z)
    return found
