"""Intervals over pictures against scipy's paired test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hwsearch.quality.intervals import difference, interval


def test_intervals_of_differences_are_those_of_the_paired_test() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 1, 14), rng.normal(0.4, 1, 14)
    found, tested = difference(one, other), stats.ttest_rel(one, other).confidence_interval(0.95)
    assert found.mean - found.half == pytest.approx(tested.low)
    assert found.mean + found.half == pytest.approx(tested.high)
    assert found.is_tie == (tested.low <= 0 <= tested.high)


def test_one_picture_tells_no_spread_and_none_tells_nothing() -> None:
    assert interval([3.0]).half == float("inf")
    assert interval([3.0]).is_tie
    assert not interval([3.0, 3.1]).is_tie
    with pytest.raises(ValueError, match="no pictures"):
        interval([])
