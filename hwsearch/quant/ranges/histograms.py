"""Histograms of the channels of a tensor, in one pass over its values."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from hwmodels.compiled import compiled


def counted(y: Tensor, axis: int | None, low: np.ndarray, high: np.ndarray, bins: int) -> np.ndarray:
    """How many values of each channel lie in each of ``bins`` equal parts of its range: ``int64[C, bins]``. What lies outside
    counts at the nearer end.

    Args:
        y: ``float32``; its channels lie on ``axis``, None: all values are one channel.
        low, high: ``float64[C]``, the ends of the ranges.
    """
    shape = tuple(y.shape)
    if axis is None:
        sides = (1, 1, y.numel())
    else:
        place = axis % y.ndim
        sides = (math.prod(shape[:place]), shape[place], math.prod(shape[place + 1 :]))
    starts = low.astype(np.float32)
    widths = np.maximum(high.astype(np.float32) - starts, np.float32(1e-12)) / np.float32(bins)
    found = np.zeros((sides[1], bins), dtype=np.int64)
    _count(y.detach().reshape(sides).numpy(), starts, widths, found)
    return found


@compiled
def _count(values: np.ndarray, starts: np.ndarray, widths: np.ndarray, found: np.ndarray) -> None:
    """Add the values ``float32[outer, C, inner]`` to ``found``."""
    last = found.shape[1] - 1
    for i in range(values.shape[0]):
        for c in range(values.shape[1]):
            for j in range(values.shape[2]):
                place = int((values[i, c, j] - starts[c]) / widths[c])
                found[c, min(max(place, 0), last)] += 1
