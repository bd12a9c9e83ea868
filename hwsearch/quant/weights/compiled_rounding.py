"""Rounding of weights, the compiled loops: error-compensated rounding of a row, and descent over single steps of integers.

See ``rounding``, which says what they are given and which of their results is kept. ``H`` is the second moment of what a layer
reads about its mean.
"""

from __future__ import annotations

import numpy as np

from hwmodels.compiled import compiled

TILE = 8
"""Rows that are multiplied together: sixteen such of 576 numbers, what is read and what is summed, take 74 kB."""


@compiled
def _compensated(w: np.ndarray, factor: np.ndarray, scale: float, limit: int) -> np.ndarray:
    """Error-compensated rounding of one row. ``factor``: upper triangular, ``H^-1 = factor^T factor``. Returns integers."""
    k = w.shape[0]
    rest = w.copy()
    q = np.empty(k)
    for i in range(k):
        value = min(max(np.rint(rest[i] / scale), -limit), limit)
        q[i] = value
        error = (rest[i] - value * scale) / factor[i, i]
        behind, row = rest[i + 1 :], factor[i, i + 1 :]  # as views, from 0 on, loops are vectorised: four times as fast
        for j in range(behind.size):
            behind[j] -= error * row[j]
    return q


@compiled
def _products(moment: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``H x`` of the symmetric H for every row of ``x [O, K]``, always summed in one order; a row of H serves ``TILE`` rows of x
    while it is in the cache."""
    found = np.zeros(x.shape)
    for start in range(0, x.shape[0], TILE):
        for i in range(x.shape[1]):
            row = moment[i]
            for o in range(start, min(start + TILE, x.shape[0])):
                factor, sums = x[o, i], found[o]
                if factor != 0:
                    for j in range(row.size):
                        sums[j] += row[j] * factor
    return found


@compiled
def _descend(
    hw: np.ndarray, q: np.ndarray, hq: np.ndarray, moment: np.ndarray, own: np.ndarray, scale: float, limit: int, rounds: int
) -> float:
    """Coordinate descent on ``(s q - w)^T H (s q - w)`` over integers ``q`` (changed in place) and the scale, which is
    returned. ``hw``: H w; ``hq``: H q, changed in place; ``own``: the diagonal of H."""
    k = q.shape[0]
    for _ in range(rounds):
        moved = 0
        for i in range(k):
            step = np.rint((hw[i] / scale - hq[i]) / own[i])
            value = min(max(q[i] + step, -limit), limit)
            step = value - q[i]
            if step != 0:
                q[i] = value
                moved += 1
                row = moment[i]
                for j in range(row.size):
                    hq[j] += row[j] * step
        numerator, denominator = 0.0, 0.0
        for i in range(k):
            numerator += q[i] * hw[i]
            denominator += q[i] * hq[i]
        if denominator > 0 and numerator > 0:
            scale = numerator / denominator
        if moved == 0:
            break
    return scale


@compiled
def compensated_rows(rows: np.ndarray, factor: np.ndarray, order: np.ndarray, scales: np.ndarray, limit: int) -> np.ndarray:
    integers = np.empty(rows.shape)
    for o in range(rows.shape[0]):
        q = np.empty(rows.shape[1])
        q[order] = _compensated(rows[o][order], factor, scales[o], limit)
        integers[o] = q
    return integers


@compiled
def refine_rows(
    rows: np.ndarray, factor: np.ndarray, moment: np.ndarray, order: np.ndarray, scales: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compensated rounding and descent for every row ``[O, K]`` and start scale ``[S, O]``: integers ``[S, O, K]``, scales
    ``[S, O]``."""
    integers = np.empty((scales.shape[0], *rows.shape))
    final = np.empty(scales.shape)
    hw, own = _products(moment, rows), np.diag(moment).copy()
    for t in range(len(scales)):
        integers[t] = compensated_rows(rows, factor, order, scales[t], limit)
        hq = _products(moment, integers[t])
        for o in range(len(rows)):
            final[t, o] = _descend(hw[o], integers[t, o], hq[o], moment, own, scales[t, o], limit, 12)
    return integers, final


@compiled
def joint_descent(
    w: np.ndarray, q: np.ndarray, scales: np.ndarray, moment: np.ndarray, gain: np.ndarray, limit: int, rounds: int
) -> int:
    """Coordinate descent on ``trace(G E H E^T)``, ``E = s q - w [O, K]``, over integers ``q`` (changed in place). Returns the
    moves made."""
    count, k = w.shape
    error = np.empty((count, k))
    for o in range(count):
        for i in range(k):
            error[o, i] = q[o, i] * scales[o] - w[o, i]
    slope = gain @ error @ moment
    total = 0
    for _ in range(rounds):
        moved = 0
        for i in range(k):
            for o in range(count):
                step = np.rint(-slope[o, i] / (gain[o, o] * moment[i, i] * scales[o]))
                value = min(max(q[o, i] + step, -limit), limit)
                step = value - q[o, i]
                if step != 0:
                    q[o, i] = value
                    moved += 1
                    row = moment[i]
                    for p in range(count):
                        change, slopes = step * scales[o] * gain[p, o], slope[p]
                        for j in range(row.size):
                            slopes[j] += change * row[j]
        total += moved
        if moved == 0:
            break
    return total
