"""Rounding of weights: which integers, and which scale, disturb the layer's output least.

Weights are symmetric per output channel, ``w ~ s q`` with ``|q| <= 2^(b-1) - 1``. The error of a channel is ``e^T H e`` with
``e = s q - w`` and H the second moment of the layer's input about its mean (``hwsearch.quant.observe.moments``): the mean squared
error of the layer's output after the bias has been corrected. Candidates per channel:

- nearest rounding with the largest weight as the end of the range, and with the scale of least squared weight error;
- nearest rounding with the scale of least output error;
- error-compensated rounding (Frantar, Singh and Alistarh 2022, "Optimal Brain Compression"; Frantar et al. 2022, "GPTQ"): weights
  are rounded one after the other, and each error is compensated by those not yet rounded; then coordinate descent over single
  steps and least-squares refits of the scale until nothing improves.

The fit sees half of the calibration pictures; whichever candidate errs least on the other half is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import lapack

from hwmodels.compiled import compiled
from hwmodels.numbers import INT2, Int

DAMPING = (0.002, 0.02)
"""Shares of the mean diagonal added to H: a guard against directions that the pictures hardly show."""

TILE = 8
"""Rows that are multiplied together: sixteen such of 576 numbers, what is read and what is summed, take 74 kB."""

SMALL = 1_000_000
"""``O K^2`` up to which many scales are tried as a start: descent ends in a local minimum, and small layers have time."""


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
def _compensated_rows(rows: np.ndarray, factor: np.ndarray, order: np.ndarray, scales: np.ndarray, limit: int) -> np.ndarray:
    integers = np.empty(rows.shape)
    for o in range(rows.shape[0]):
        q = np.empty(rows.shape[1])
        q[order] = _compensated(rows[o][order], factor, scales[o], limit)
        integers[o] = q
    return integers


@compiled
def _refine_rows(
    rows: np.ndarray, factor: np.ndarray, moment: np.ndarray, order: np.ndarray, scales: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compensated rounding and descent for every row ``[O, K]`` and start scale ``[S, O]``: integers ``[S, O, K]``, scales
    ``[S, O]``."""
    integers = np.empty((scales.shape[0], *rows.shape))
    final = np.empty(scales.shape)
    hw, own = _products(moment, rows), np.diag(moment).copy()
    for t in range(len(scales)):
        integers[t] = _compensated_rows(rows, factor, order, scales[t], limit)
        hq = _products(moment, integers[t])
        for o in range(len(rows)):
            final[t, o] = _descend(hw[o], integers[t, o], hq[o], moment, own, scales[t, o], limit, 12)
    return integers, final


def _triangular(moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order of rounding (largest diagonal first) and, in that order, U upper triangular with ``H^-1 = U^T U``.

    With J the reversal, ``J H J = L L^T`` gives ``H = R R^T`` for the upper triangular ``R = J L J``, hence ``U = R^-1``.
    """
    order = np.argsort(-np.diag(moment), kind="stable")
    lower = np.linalg.cholesky(moment[np.ix_(order[::-1], order[::-1])].astype(np.float64))
    inverse, _ = lapack.dtrtri(lower[::-1, ::-1], lower=0)
    return order, np.ascontiguousarray(np.triu(inverse))


@dataclass(frozen=True, eq=False)
class Damped:
    """A moment ``float64[K, K]`` with a guard on its diagonal, and ``_triangular`` of it."""

    moment: np.ndarray
    order: np.ndarray
    factor: np.ndarray


@dataclass(frozen=True, eq=False)
class Curvature:
    """Second moments of a layer's input about its mean, ``float32[K, K]``: of the pictures that rounding is fitted to, and of
    those held out, which decide. Their factors are the same for every width, and worked out once."""

    fit: np.ndarray
    held: np.ndarray

    @cached_property
    def factored(self) -> tuple[Damped, ...]:
        """One for each of ``DAMPING``."""
        moments = [damped(self.fit, share).astype(np.float64) for share in DAMPING]
        return tuple(Damped(moment, *_triangular(moment)) for moment in moments)


def _lowest(bits: int) -> float:
    """The smallest share of the largest weight that is worth trying as the end of the range."""
    return {2: 0.3, 3: 0.35, 4: 0.45, 5: 0.6}.get(bits, 0.75)


def nearest(rows: np.ndarray, scales: np.ndarray, limit: int) -> np.ndarray:
    """Integers ``[O, K]`` nearest to ``rows / scales``, clipped to ``+-limit``; ``scales [O]``."""
    found: np.ndarray = np.clip(np.rint(rows / scales[:, None]), -limit, limit)
    return found


def output_error(error: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """``e^T H e`` of every row of ``error [..., O, K]``: ``[..., O]``."""
    found: np.ndarray = np.maximum(np.sum((error @ moment) * error, axis=-1), 0.0)
    return found


def damped(moment: np.ndarray, share: float) -> np.ndarray:
    """H with ``share`` of its mean diagonal added to the diagonal; the identity where nothing was seen."""
    level = float(np.mean(np.diag(moment)))
    if level <= 0:
        return np.eye(len(moment), dtype=moment.dtype)
    return moment + share * level * np.eye(len(moment), dtype=moment.dtype)


def largest(rows: np.ndarray) -> np.ndarray:
    """The largest weight of each channel ``float32[O] > 0`` of ``rows float32[O, K]``. A channel without weights gets the
    layer's: its integers are zero, and its bias stays in the range of the others."""
    top = np.abs(rows).max(axis=1)
    whole = max(float(top.max()), 1e-12)
    return np.where(top > whole * 1e-6, top, whole).astype(np.float32)


def round_rows(rows: np.ndarray, curvature: Curvature, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The best integers and scales for the output channels of one group.

    Args:
        rows: ``float32[O, K]`` weights.
        bits: width, at least 2.
    Returns:
        ``q float32[O, K]`` (integers) and ``scales float32[O]``.
    """
    limit = 2 ** (bits - 1) - 1
    rows = rows.astype(np.float32)
    top = largest(rows) / limit
    if Int(bits).is_wide:
        return nearest(rows, top, limit).astype(np.float32), top
    shrink = np.linspace(1.0, _lowest(bits), 25, dtype=np.float32)
    if bits == INT2.bits:
        shrink = np.concatenate([shrink, np.array([1.2, 1.5, 2.0], dtype=np.float32)])
    grid = shrink[:, None] * top  # [S, O]
    errors = np.stack([nearest(rows, s, limit) * s[:, None] - rows for s in grid])  # [S, O, K]
    by_output = output_error(errors, damped(curvature.fit, DAMPING[0]))
    columns = np.arange(len(rows))
    least_squares = grid[np.argmin((errors**2).sum(axis=2), axis=0), columns]
    ranked = np.argsort(by_output, axis=0)
    starts = [top, least_squares, grid[ranked[0], columns]]
    if rows.shape[0] * rows.shape[1] ** 2 <= SMALL:
        starts += list(grid[2::3])
    options = [(nearest(rows, s, limit), s) for s in starts]
    for guarded in curvature.factored:
        integers, scales = _refine_rows(
            rows.astype(np.float64), guarded.factor, guarded.moment, guarded.order, np.stack(starts).astype(np.float64), limit
        )
        options += [(q, s) for q, s in zip(integers.astype(np.float32), scales.astype(np.float32), strict=True)]
    losses = np.stack([output_error(q * s[:, None] - rows, curvature.held) for q, s in options])
    best = np.argmin(losses, axis=0)
    q = np.stack([options[b][0][o] for o, b in enumerate(best)]).astype(np.float32)
    return q, np.array([options[b][1][o] for o, b in enumerate(best)], dtype=np.float32)


@compiled
def _joint_descent(
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


def cancel_across_channels(
    rows: np.ndarray, q: np.ndarray, scales: np.ndarray, curvature: Curvature, gain: np.ndarray, bits: int
) -> np.ndarray:
    """Integers ``[O, K]`` whose errors also cancel between output channels, given how noise on them reaches the network's output.

    The noise at the output is ``trace(G E H E^T)`` if what the layer reads and how its result is used are independent (the
    assumption of Kronecker-factored curvature, Martens and Grosse 2015). ``gain float64[O, O]`` is G; ``curvature`` has H.
    The scales stay.
    """
    limit = 2 ** (bits - 1) - 1
    size = rows.size
    rounds = 8 if size <= 20000 else 2
    result = q.astype(np.float64)
    moment, guarded_gain = curvature.factored[0].moment, damped(gain, 0.01).astype(np.float64)
    _joint_descent(rows.astype(np.float64), result, scales.astype(np.float64), moment, guarded_gain, limit, rounds)
    return result.astype(np.float32)


def compensated(rows: np.ndarray, moment: np.ndarray, scales: np.ndarray, limit: int, share: float) -> np.ndarray:
    """Integers ``float64[O, K]`` of ``rows float32[O, K]`` on ``scales [O]`` by error-compensated rounding alone, with ``share``
    of the mean diagonal of ``moment [K, K]`` added to it."""
    order, factor = _triangular(damped(moment, share))
    integers: np.ndarray = _compensated_rows(rows.astype(np.float64), factor, order, scales.astype(np.float64), limit)
    return integers


def quick_errors(rows: np.ndarray, fit: np.ndarray, factors: np.ndarray, widths: Sequence[int]) -> np.ndarray:
    """Output error of every channel when column k of the weights is multiplied by ``factors[f, k]`` (and the input divided by it)
    before rounding: ``float64[F, len(widths), O]``. Compensated rounding from one start scale: enough to compare factors.
    """
    moment = damped(fit, DAMPING[-1])
    order, factor = _triangular(moment)
    found = np.empty((len(factors), len(widths), len(rows)))
    for f, column in enumerate(factors.astype(np.float32)):
        scaled_rows = rows * column
        largest = np.maximum(np.abs(scaled_rows).max(axis=1), 1e-12)
        for b, bits in enumerate(widths):
            limit = 2 ** (bits - 1) - 1
            grid = np.linspace(1.0, _lowest(bits), 6, dtype=np.float32)[:, None] * (largest / limit)
            errors = np.stack([(nearest(scaled_rows, s, limit) * s[:, None] - scaled_rows) / column for s in grid])
            start = grid[np.argmin(output_error(errors, moment), axis=0), np.arange(len(rows))]
            q = _compensated_rows(scaled_rows.astype(np.float64), factor * column[order], order, start.astype(np.float64), limit)
            found[f, b] = output_error((q * start[:, None] - scaled_rows) / column, moment)
    return found
