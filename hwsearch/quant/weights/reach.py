"""Where published methods clip weights: the largest magnitude that each output channel keeps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hwsearch.quant.ranges.bounds import PERCENTILE, laplace_reach, octav_reach
from hwsearch.quant.weights import rounding
from hwsearch.quant.weights.rounding import nearest

Reach = Callable[[np.ndarray, int], np.ndarray]
"""Weights ``float32[O, K]`` and bits to magnitudes ``float32[O] > 0``; the integer ``2^(bits-1) - 1`` stands for them."""

SHARES = np.linspace(1.0, 0.1, 91)


def largest(rows: np.ndarray, bits: int) -> np.ndarray:
    """See ``rounding.largest``."""
    return rounding.largest(rows)


def least_squares(rows: np.ndarray, bits: int) -> np.ndarray:
    """The share of the largest weight that leaves the least squared error."""
    top, limit = largest(rows, bits), 2 ** (bits - 1) - 1
    tried = [(share * top).astype(np.float32) for share in SHARES]
    errors = np.stack(
        [((nearest(rows, reach / limit, limit) * (reach / limit)[:, None] - rows) ** 2).sum(axis=1) for reach in tried]
    )
    best: np.ndarray = np.stack(tried)[np.argmin(errors, axis=0), np.arange(len(rows))]
    return best


def percentile(rows: np.ndarray, bits: int) -> np.ndarray:
    """What ``PERCENTILE`` of the magnitudes of each channel do not exceed."""
    found = np.quantile(np.abs(rows), PERCENTILE, axis=1).astype(np.float32)
    return np.where(found > 0, found, largest(rows, bits))


def aciq(rows: np.ndarray, bits: int) -> np.ndarray:
    """Clipped as a Laplace distribution about zero; never beyond the largest."""
    scale = np.abs(rows).mean(axis=1)
    reach = laplace_reach(bits, one_sided=False) * scale
    top = largest(rows, bits)
    return np.where(reach > 0, np.minimum(reach, top), top).astype(np.float32)


def octav(rows: np.ndarray, bits: int) -> np.ndarray:
    """OCTAV's clipping value of each channel; never beyond the largest."""
    ones = np.ones(rows.shape[1])
    found = [octav_reach(np.abs(row).astype(np.float64), ones, bits, one_sided=False) for row in rows]
    top = largest(rows, bits)
    return np.where(np.array(found) > 0, np.minimum(found, top), top).astype(np.float32)
