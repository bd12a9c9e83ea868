"""Where published methods clip: against the papers' tables, hand-made histograms, and what brute force finds."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels.numbers import Int
from hwsearch.quant.ranges import bounds
from hwsearch.quant.ranges.spreads import BINS, Spread
from hwsearch.quant.weights import reach


def spread_of(values: np.ndarray) -> Spread:
    """The histogram of values, as ``ChannelSpreads.spread`` makes it."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    counts, edges = np.histogram(values, BINS, (low, high))
    return Spread((edges[:-1] + edges[1:]) / 2, counts.astype(float), low, high)


@pytest.fixture(scope="module")
def bell() -> Spread:
    return spread_of(np.random.default_rng(0).laplace(0.0, 0.5, 200_000))


@pytest.fixture(scope="module")
def one_sided() -> Spread:
    return spread_of(np.maximum(np.random.default_rng(1).laplace(0.0, 0.5, 200_000), 0))


def test_the_clipping_values_of_the_paper() -> None:
    """Table of Banner et al. for Laplace distributions, 2 to 8 bits."""
    found = [bounds.laplace_reach(bits, one_sided=False) for bits in range(2, 9)]
    np.testing.assert_allclose(found, [2.83, 3.89, 5.03, 6.20, 7.41, 8.64, 9.89], atol=0.02)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_aciq_clips_samples_of_its_distribution_there(bell: Spread, one_sided: Spread, bits: int) -> None:
    low, high = bounds.aciq(bell, Int(bits))
    assert high == pytest.approx(0.5 * bounds.laplace_reach(bits, one_sided=False), rel=0.02)
    assert low == pytest.approx(-high, rel=0.02)
    low, high = bounds.aciq(one_sided, Int(bits))
    assert low == 0
    assert high == pytest.approx(0.5 * bounds.laplace_reach(bits, one_sided=True), rel=0.02)


def test_percentile_leaves_the_same_share_at_both_ends() -> None:
    low, high = bounds.percentile(spread_of(np.linspace(-1, 3, 400_001)), Int(4))
    assert (low, high) == pytest.approx((-1 + 4 * 0.0005, 3 - 4 * 0.0005), abs=2e-3)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("which", ["bell", "one_sided"])
def test_least_squares_is_least_of_all_rules(which: str, bits: int, request: pytest.FixtureRequest) -> None:
    spread = request.getfixturevalue(which)
    best = bounds.squared_error(spread, *bounds.least_squares(spread, Int(bits)), Int(bits))
    for rule in (bounds.min_max, bounds.percentile, bounds.aciq, bounds.octav, bounds.density, bounds.by_shape):
        low, high = rule(spread, Int(bits))
        assert spread.low <= low <= 0 <= high <= spread.high
        assert best <= 1.03 * bounds.squared_error(spread, low, high, Int(bits))  # the grid of what is tried is not infinite


def test_squared_error_by_hand() -> None:
    """Three values on codes 0, 1, 2, 3 that stand for -1, 0, 1, 2."""
    spread = Spread(np.array([-1.5, 0.25, 3.0]), np.array([1.0, 2.0, 1.0]), -1.5, 3.0)
    assert bounds.squared_error(spread, -1.0, 2.0, Int(2)) == pytest.approx(0.25 + 2 * 0.0625 + 1.0)


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_octav_ends_where_its_error_is_least(bits: int) -> None:
    values = np.abs(np.random.default_rng(2).normal(0, 1, 50_000))
    found = bounds.octav_reach(values, np.ones(len(values)), bits, one_sided=False)
    tried = np.linspace(0.05, values.max(), 2000)
    cost = [4.0**-bits / 3 * s**2 * np.mean(values <= s) + np.mean(np.maximum(values - s, 0) ** 2) for s in tried]
    assert found == pytest.approx(tried[int(np.argmin(cost))], rel=0.04)  # the paper leaves out what crosses the end
    beyond = values > found
    assert found * (4.0**-bits / 3 * np.mean(~beyond) + np.mean(beyond)) == pytest.approx(np.mean(values * beyond), rel=1e-4)


def test_density_drops_the_thinner_end_first() -> None:
    """2048 bins of two; one value in each of the five outer bins at the top, a thousand in the first, the rest in the middle."""
    counts = np.zeros(BINS)
    counts[0], counts[1000], counts[[-2, -4, -6, -8, -10]] = 1000, 8995, 1
    spread = Spread(np.linspace(-1, 1, BINS), counts, -1.0, 1.0)
    assert bounds.density(spread, Int(4)) == (-1.0, -1 + 2 * 2043 / 2048)  # 5 of 10000 may go
    assert bounds.density(spread, Int(8)) == (-1.0, -1 + 2 * 2047 / 2048)  # one of 100000 may go: dropped until no more is left


def test_a_range_with_one_side_keeps_its_beginning(one_sided: Spread, bell: Spread) -> None:
    low, high = bounds.by_shape(one_sided, Int(3))
    assert low == one_sided.low == 0
    assert high < one_sided.high
    low, high = bounds.by_shape(bell, Int(3))
    assert low - bell.low == pytest.approx(bell.high - high)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_reach_of_weights(bits: int) -> None:
    rows = np.random.default_rng(3).normal(0, 1, (5, 72)).astype(np.float32)
    rows[2] = 0
    limit = 2 ** (bits - 1) - 1

    def error(found: np.ndarray) -> np.ndarray:
        scale = (found / limit)[:, None]
        return ((np.clip(np.rint(rows / scale), -limit, limit) * scale - rows) ** 2).sum(axis=1)

    top = reach.largest(rows, bits)
    np.testing.assert_array_equal(top[[0, 1, 3, 4]], np.abs(rows).max(axis=1)[[0, 1, 3, 4]])
    best = error(reach.least_squares(rows, bits))
    for rule in (reach.largest, reach.percentile, reach.aciq, reach.octav):
        found = rule(rows, bits)
        assert np.all((found > 0) & (found <= top * (1 + 1e-6)))
        # No grid of shares is infinite, and at 8 bits the error is a matter of luck.
        assert np.all(best <= (1.02 if bits < 8 else 1.3) * error(found) + 1e-6)
