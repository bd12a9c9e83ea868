"""What pictures can tell: means of differences with their confidence intervals, and when two of them are a tie.

Losses of two plans are compared picture by picture: what makes a picture hard is then in both. The interval is Student's at 95 %
over pictures taken for independent; it says nothing about pictures of another kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its interval; infinite for a single picture, which tells no spread."""

    mean: float
    half: float

    @property
    def is_tie(self) -> bool:
        """Whether a difference may as well be zero."""
        return abs(self.mean) <= self.half


def finite(half: float) -> float | None:
    """Half an interval as documents have it: None where it is not known."""
    return half if np.isfinite(half) else None


def interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Mean of ``values[pictures]`` with its interval.

    Raises:
        ValueError: there are none.
    """
    found = np.asarray(values, dtype=np.float64)
    if not len(found):
        raise ValueError("no pictures, no mean")
    if len(found) == 1:
        return Interval(float(found[0]), float("inf"))
    half = stdtrit(len(found) - 1, (1 + CONFIDENCE) / 2) * found.std(ddof=1) / np.sqrt(len(found))
    return Interval(float(found.mean()), float(half))


def difference(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> Interval:
    """``one - other`` on the same pictures, in order."""
    return interval(np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64))
