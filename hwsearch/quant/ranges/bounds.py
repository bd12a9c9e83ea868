"""Where published methods end the range of a tensor: each rule maps a histogram and a number format to ``low <= 0 <= high``.

Zero lies in every range and becomes a code, because padding and ReLUs need it; the sources whose rule could leave it out (an
all-positive tensor quantized from its minimum) differ there by a fraction of a step at most.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import lambertw

from hwmodels.numbers import Int
from hwsearch.quant.ranges.spreads import Spread

Bounds = Callable[[Spread, Int], tuple[float, float]]

PERCENTILE = 0.999
MSE_POINTS = 40
DOBI_POINTS = 100
OCTAV_STEPS = 30
DBDC_BINS = 2048
DBDC_DROPPED = {8: 1e-5}
DBDC_DROPPED_BELOW = 5e-4
"""Share of the values that DBDC drops: at 8 bits, and at fewer."""
ONE_SIDED = 1e-3
"""A range whose one side is shorter than this share of the other has one side."""


def min_max(spread: Spread, number: Int) -> tuple[float, float]:
    """All that was seen."""
    return spread.low, spread.high


def percentile(spread: Spread, number: Int) -> tuple[float, float]:
    """``PERCENTILE`` of the values, as many left out at one end as at the other."""
    share = np.cumsum(spread.weight) / max(float(spread.weight.sum()), 1e-300)
    rest = (1 - PERCENTILE) / 2
    last = len(share) - 1
    low = spread.centres[min(int(np.searchsorted(share, rest)), last)]
    high = spread.centres[min(int(np.searchsorted(share, 1 - rest)), last)]
    return min(float(low), 0.0), max(float(high), 0.0)


def squared_error(spread: Spread, low: float, high: float, number: Int) -> float:
    """Squared error of the values, rounded to ``2^b`` codes from ``low`` to ``high`` of which one is zero."""
    step = max(high - low, 1e-12) / number.levels
    zero = np.clip(np.rint(-low / step), 0, number.levels)
    codes = np.clip(np.rint(spread.centres / step) + zero, 0, number.levels)
    return float(np.sum(((codes - zero) * step - spread.centres) ** 2 * spread.weight))


def least_squares(spread: Spread, number: Int) -> tuple[float, float]:
    """The ends of least squared error, each shortened by itself."""
    shares = np.linspace(1.0, 0.1, MSE_POINTS)
    tried = [(low, high) for low in _shortened(spread.low, shares) for high in _shortened(spread.high, shares)]
    return min(tried, key=lambda ends: squared_error(spread, ends[0], ends[1], number))


def _shortened(end: float, shares: np.ndarray) -> list[float]:
    return [float(share * end) for share in shares] if end else [0.0]


def laplace_reach(bits: int, *, one_sided: bool) -> float:
    """Banner, Nahshan and Soudry 2019: where to clip a Laplace distribution, in units of its scale b.

    Clipping at ``x b`` costs ``b^2 e^-x`` a side, rounding ``(x b)^2 / (3 4^bits)`` where codes reach from ``-x b`` to ``x b``;
    the sum is least where ``x e^x = 3 4^bits``. Behind a ReLU half of the values are zero and the codes reach from 0 only:
    ``x e^x = 12 4^bits``.
    """
    return float(lambertw((12 if one_sided else 3) * 4.0**bits).real)


def aciq(spread: Spread, number: Int) -> tuple[float, float]:
    """Clipped as a Laplace distribution of the same mean deviation; never wider than what was seen."""
    weight, one_sided = spread.weight, -spread.low <= ONE_SIDED * spread.high
    if one_sided:  # a rectified Laplace distribution about zero: the mean of what is above zero is its scale
        weight = np.where(spread.centres > spread.centres[0], weight, 0.0)
    total = max(float(weight.sum()), 1e-300)
    centre = 0.0 if one_sided else float(np.sum(weight * spread.centres)) / total
    reach = laplace_reach(number.bits, one_sided=one_sided) * float(np.sum(weight * np.abs(spread.centres - centre))) / total
    return max(spread.low, min(centre - reach, 0.0)), min(spread.high, max(centre + reach, 0.0))


def octav_reach(magnitudes: np.ndarray, weight: np.ndarray, bits: int, *, one_sided: bool) -> float:
    """Sakr et al. 2022, OCTAV: the clipping value of least squared error, by the recursion that is Newton's method on it:
    ``s <- E[|x|; |x| > s] / (4^-bits / 3 P(0 < |x| <= s) + P(|x| > s))``; a quarter of the first term for codes from zero only.

    Args:
        magnitudes, weight: ``|x|`` and how often, any shape alike.
    """
    rounding = 4.0**-bits / (12 if one_sided else 3)
    some = np.where(magnitudes > 0, weight, 0.0)
    reach = float(np.sum(some * magnitudes) / max(float(some.sum()), 1e-300))
    for _ in range(OCTAV_STEPS):
        beyond = magnitudes > reach
        inside = float(some[~beyond].sum())
        reach = float(np.sum((some * magnitudes)[beyond])) / max(rounding * inside + float(some[beyond].sum()), 1e-300)
    return reach


def octav(spread: Spread, number: Int) -> tuple[float, float]:
    """Clipped at OCTAV's value on both sides, or on the one that there is; never wider than what was seen. Zeros, which rounding
    leaves alone, do not count, and with them the few others of their bin: behind a ReLU they are half of all values."""
    one_sided = -spread.low <= ONE_SIDED * spread.high
    magnitudes = np.abs(spread.centres)
    magnitudes = np.where(magnitudes < 0.51 * (spread.high - spread.low) / len(magnitudes), 0.0, magnitudes)
    reach = octav_reach(magnitudes, spread.weight, number.bits, one_sided=one_sided)
    return max(spread.low, -reach), min(spread.high, reach)


def density(spread: Spread, number: Int) -> tuple[float, float]:
    """PTQ4SR's density-based dual clipping: of ``DBDC_BINS`` bins the outermost is dropped at whichever end has fewer values,
    until no more than the wanted share is left."""
    per_bin = max(1, len(spread.weight) // DBDC_BINS)
    counts = spread.weight.reshape(-1, per_bin).sum(axis=1)
    keep = (1 - DBDC_DROPPED.get(number.bits, DBDC_DROPPED_BELOW)) * counts.sum()
    first, last, left = 0, len(counts) - 1, float(counts.sum())
    while left > keep and first < last:
        if counts[first] < counts[last]:
            left -= counts[first]
            first += 1
        else:
            left -= counts[last]
            last -= 1
    edges = np.linspace(spread.low, spread.high, len(counts) + 1)
    return min(float(edges[first]), 0.0), max(float(edges[last + 1]), 0.0)


def by_shape(spread: Spread, number: Int) -> tuple[float, float]:
    """2DQuant's distribution-oriented search: both ends of a bell move inwards together, one side of the range each step a
    ``DOBI_POINTS``-th of half its length; a distribution with one side keeps its beginning."""
    half = (spread.high - spread.low) / (2 * DOBI_POINTS)
    one_sided = -spread.low <= ONE_SIDED * spread.high
    tried = [
        (spread.low if one_sided else min(spread.low + i * half, 0.0), max(spread.high - (2 if one_sided else 1) * i * half, 0.0))
        for i in range(DOBI_POINTS)
    ]
    return min(tried, key=lambda ends: squared_error(spread, ends[0], ends[1], number))
