"""How well one ranking of plans is another: what is predicted of them beside what is measured.

A correlation means something only with the range of losses over which it was taken (``loss_range``).
"""

from __future__ import annotations

import numpy as np


def loss_range(losses_db: np.ndarray) -> tuple[float, float]:
    """Between which losses nine of ten plans lie: the 5th and the 95th percentile of ``float64[N]``."""
    low, high = np.percentile(losses_db, (5, 95))
    return float(low), float(high)


def spearman(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Spearman's rank correlation of two ``float64[N]``; 0 where either is constant and there is nothing to rank."""
    predicted, measured = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    if len(predicted) < 2 or np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(predicted), _ranks(measured))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Rank of each value, the mean of their ranks where some are equal."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks


def kendall(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Kendall's tau-b of two ``float64[N]``: pairs ordered alike minus pairs ordered otherwise, as a share; 0 where either is
    constant."""
    predicted, measured = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    if len(predicted) < 2 or np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return 0.0
    from scipy.stats import kendalltau  # half a second to import, and no search asks for it

    return float(kendalltau(predicted, measured).statistic)


def top_found(predicted: np.ndarray, measured: np.ndarray, share: float) -> float:
    """How much of the best ``share`` by measured loss is in the best ``share`` by predicted loss, 0..1."""
    count = max(1, round(share * len(measured)))
    best = [set(np.argsort(values, kind="stable")[:count].tolist()) for values in (predicted, measured)]
    return len(best[0] & best[1]) / count
