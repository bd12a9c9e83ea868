"""Descent in the logarithms of constants: where a sum of squares is least, and what the data does not see there.

Prices have corners (the slowest of arithmetic and memories binds), where a gradient sees nothing; a coarse scan of each constant
over two decades precedes the descent, and derivatives are taken over steps of 3 %.

Identifiability is read off the Jacobian at the solution (Gauss-Newton information ``J'J``, the linear theory of nonlinear
regression, e.g. Bates and Watts, 1988): its null directions are what the data does not see. A constant that lies in one alone is
undetermined; constants that share one can be traded against each other without changing any prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

SEEN = 0.05
"""A direction of the constants is unseen when a factor e along it changes all predictions together by less than this."""

_STEP = 0.03
_SCAN = np.log([1 / 10, 1 / 3, 3, 10])


def descended(
    function: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    loss: Literal["linear", "soft_l1"],
    settled: float,
) -> np.ndarray:
    """Where the sum of squares of ``function`` is least between ``low`` and ``high``: looked for by ratios, then by descent."""
    from scipy.optimize import least_squares

    found: np.ndarray = least_squares(
        function,
        _scan(function, np.clip(start, low, high), low, high, loss),
        jac=lambda x: jacobian(function, x),
        bounds=(low, high),
        loss=loss,
        f_scale=0.1,
        xtol=1e-6,
        ftol=settled,
    ).x
    return found


def _scan(
    function: Callable[[np.ndarray], np.ndarray], point: np.ndarray, low: np.ndarray, high: np.ndarray, loss: str
) -> np.ndarray:
    """Two rounds of trying each constant at a few ratios to where it is, keeping what lowers the loss."""

    def cost_of(at: np.ndarray) -> float:
        squares = (function(at) / 0.1) ** 2
        return float(np.sum(squares if loss == "linear" else 2 * (np.sqrt(1 + squares) - 1)))

    best = cost_of(point)
    for _ in range(2):
        before = best
        for i in range(len(point)):
            for ratio in _SCAN:
                tried = point.copy()
                tried[i] = np.clip(tried[i] + ratio, low[i], high[i])
                if (found := cost_of(tried)) < best:
                    best, point = found, tried
        if best == before:
            break
    return point


def put_back(
    penalised: Callable[[np.ndarray], np.ndarray],
    residuals: Callable[[np.ndarray], np.ndarray],
    point: np.ndarray,
    start: np.ndarray,
) -> np.ndarray:
    """Constants that the data does not see, back at the file's values: the scan may have carried them off for nothing."""
    for i in (group[0] for group in undetermined(jacobian(residuals, point)) if len(group) == 1):
        tried = point.copy()
        tried[i] = start[i]
        if np.sum(penalised(tried) ** 2) <= 1.01 * np.sum(penalised(point) ** 2):
            point = tried
    return point


def jacobian(function: Callable[[np.ndarray], np.ndarray], point: np.ndarray) -> np.ndarray:
    """Central differences over ``_STEP``: ``float64[outputs, K]``. Bounds are overstepped by that much, which prices allow."""
    columns = []
    for i in range(len(point)):
        step = np.zeros(len(point))
        step[i] = _STEP
        columns.append((function(point + step) - function(point - step)) / (2 * _STEP))
    return np.stack(columns, axis=1) if columns else np.zeros((len(function(point)), 0))


def undetermined(seen: np.ndarray) -> list[list[int]]:
    """Sets of constants that share a direction which the data does not see, by the Jacobian ``float64[N, K]`` of the predictions.

    The projector onto the unseen directions does not depend on the basis chosen for them; constants that it couples belong
    together.
    """
    if not seen.shape[1]:
        return []
    eigenvalues, vectors = np.linalg.eigh(seen.T @ seen)
    unseen = vectors[:, eigenvalues < SEEN**2]
    projector = unseen @ unseen.T
    groups: list[list[int]] = []
    for i in range(len(projector)):
        if projector[i, i] > 0.02:
            joined = [group for group in groups if any(abs(projector[i, j]) > 0.05 for j in group)]
            groups = [group for group in groups if group not in joined] + [sorted([i, *(j for group in joined for j in group)])]
    return sorted(groups)
