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

from hwmodels.numbers import INT2, Int
from hwsearch.quant.weights.compiled_rounding import compensated_rows, joint_descent, refine_rows

DAMPING = (0.002, 0.02)
"""Shares of the mean diagonal added to H: a guard against directions that the pictures hardly show."""

SMALL = 1_000_000
"""``O K^2`` up to which many scales are tried as a start: descent ends in a local minimum, and small layers have time."""


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
        integers, scales = refine_rows(
            rows.astype(np.float64), guarded.factor, guarded.moment, guarded.order, np.stack(starts).astype(np.float64), limit
        )
        options += [(q, s) for q, s in zip(integers.astype(np.float32), scales.astype(np.float32), strict=True)]
    losses = np.stack([output_error(q * s[:, None] - rows, curvature.held) for q, s in options])
    best = np.argmin(losses, axis=0)
    q = np.stack([options[b][0][o] for o, b in enumerate(best)]).astype(np.float32)
    return q, np.array([options[b][1][o] for o, b in enumerate(best)], dtype=np.float32)


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
    joint_descent(rows.astype(np.float64), result, scales.astype(np.float64), moment, guarded_gain, limit, rounds)
    return result.astype(np.float32)


def compensated(rows: np.ndarray, moment: np.ndarray, scales: np.ndarray, limit: int, share: float) -> np.ndarray:
    """Integers ``float64[O, K]`` of ``rows float32[O, K]`` on ``scales [O]`` by error-compensated rounding alone, with ``share``
    of the mean diagonal of ``moment [K, K]`` added to it."""
    order, factor = _triangular(damped(moment, share))
    integers: np.ndarray = compensated_rows(rows.astype(np.float64), factor, order, scales.astype(np.float64), limit)
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
            q = compensated_rows(scaled_rows.astype(np.float64), factor * column[order], order, start.astype(np.float64), limit)
            found[f, b] = output_error((q * start[:, None] - scaled_rows) / column, moment)
    return found
