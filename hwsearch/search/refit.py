"""Calibration of a damage table by measured plans: the table that explains them best and strays least from what the proxy said.

Noise adds up over decisions (the model of every proxy), so the measured output noise of a plan is a sum of entries of the table.
Entries are found by least squares, never negative. Every measurement counts by its relative error, so that good plans are not
drowned by bad ones; an entry that the plans do not determine keeps its ratio to the proxy's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import lsq_linear

from hwsearch.damage import Damage
from hwsearch.search.exact import noise_of_loss

RELATIVE_ERROR = 0.05
"""How far the noise of a plan may be from the sum, as a share of it: interactions that the sum leaves out."""
NOISE_FLOOR = 5e-4
"""Error of measured noise as a share of the floating-point network's own mean squared error."""
DOUBTS = (0.1, 0.3, 1.0, 3.0)
"""How far an entry may be from the proxy's, as a share of it: the one that predicts plans left out best is taken."""
FOLDS = 5


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
    used, proxy = used[:, entries], damage.noise.ravel()[entries]
    noise = np.array([noise_of_loss(loss, damage.float_mse) for loss in losses_db])
    error = RELATIVE_ERROR * noise + NOISE_FLOOR * float(np.mean(damage.float_mse))
    fold = np.arange(len(plans)) % FOLDS

    def left_out(doubt: float) -> float:
        misses = [
            np.abs(used[fold == k] @ _fit(used[fold != k], noise[fold != k], error[fold != k], proxy, doubt) - noise[fold == k])
            / error[fold == k]
            for k in range(FOLDS)
        ]
        return float(np.median(np.concatenate(misses)))

    table = np.zeros(decisions * choices)
    table[entries] = _fit(used, noise, error, proxy, min(DOUBTS, key=left_out))
    return replace(damage, proxy=f"{damage.proxy}, refitted", noise=table.reshape(decisions, choices))


def _fit(used: np.ndarray, noise: np.ndarray, error: np.ndarray, proxy: np.ndarray, doubt: float) -> np.ndarray:
    """Entries ``float64[E]`` for plans that use them, ``used float64[P, E]``, and measure ``noise`` with ``error``."""
    predicted = used @ proxy
    # One scale for all first: a proxy that orders well may be far off in size, and doubt is about ratios.
    scale = np.sum(predicted * noise / error**2) / np.sum((predicted / error) ** 2)
    unit = proxy * (scale if scale > 0 else 1.0)
    # In units of the scaled proxy, where all unknowns are near 1.
    rows = np.concatenate([used * unit / error[:, None], np.eye(len(unit)) / doubt])
    right = np.concatenate([noise / error, np.full(len(unit), 1 / doubt)])
    return np.asarray(lsq_linear(rows, right, bounds=(0.0, np.inf)).x * unit)
