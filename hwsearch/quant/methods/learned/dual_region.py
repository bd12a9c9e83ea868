"""Outlier-aware dual region: a fine grid for most values of a tensor, a coarse one for the few beyond, trained by sensitivity.

ICCV 2025, arXiv 2511.00682 (OAQ-SR). Tensors are split at the 99th percentile of their magnitude (``ranges.regions``), weights
are clipped where their squared error is least. Then three kinds of numbers are trained in turn, 50 steps each, three times over:
ends of weights, ends of tensors, breakpoints; for the mean absolute error of the output, and the distance of unit features
weighted by how much each feature varies.

Differences: points of the tails are multiples of the dense step, so that the engine computes in integers; a share of the mean in
the softmax over deviations, which is one-hot with theirs; weights have one scale a channel; percentile and extremes are of all
pictures at once. With 2 bits no code is left for a tail, and a tensor has one range of least squared error. The released code
gives every region one bit more than its label says: that rule is the method ``dual_region_code``.

Where a tensor has no long tails half of its codes are spent on nothing: the 99th percentile of the middle tensors of published
FSRCNN x2 lies at 0.8 to 0.97 of their ends, and at 6 bits their squared error is three to five times that of one whole range.
"""

from __future__ import annotations

import numpy as np

from hwmodels.numbers import Int
from hwsearch.quant.learn.distillation import Distillation, Phase
from hwsearch.quant.learn.features import of_directions
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.rewriting import Scales
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.ranges.regions import FEWEST_BITS, Regions
from hwsearch.quant.ranges.spreads import Spread
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="Outlier-aware dual region",
    summary="tensors in two regions with their own steps, bounds trained by the sensitivity of layers",
    source="OAQ-SR, ICCV 2025, arXiv 2511.00682; its repository",
    reconstructed="steps of the tails are multiples of the dense one; the softmax is over deviations relative to their mean",
    price="a table decodes every tensor to a byte: products of bytes, one look-up a value that is read",
    trains=True,
)
DENSE = 0.99
"""Share of the values that lie within the breakpoint."""
DISTILLATION = Distillation(
    phases=tuple(
        Phase(what, 50, 1e-3 * 0.9**epoch, 1e-3 * 0.9**epoch) for epoch in range(3) for what in ("weights", "ends", "points")
    ),
    features=2.0,
    distance=of_directions,
    batch=2,
    by_sensitivity=True,
)


def observe(seen: Observations) -> DualRegion:
    """See ``quant.method.MethodModule``."""
    return DualRegion(seen, DISTILLATION)


def breakpoint_of(spread: Spread) -> float:
    """The magnitude that ``DENSE`` of the values do not pass; zeros that a ReLU makes count as every value does."""
    magnitudes = np.abs(spread.centres)
    order = np.argsort(magnitudes)
    share = np.cumsum(spread.weight[order]) / max(float(spread.weight.sum()), 1e-300)
    return float(magnitudes[order][min(int(np.searchsorted(share, DENSE)), len(order) - 1)])


class DualRegion(Static):
    """See ``quant.method.Method``. ``distillation``: how it is trained, and by which rule codes are divided."""

    def __init__(self, seen: Observations, distillation: Distillation) -> None:
        super().__init__(seen, bounds.least_squares, reach.least_squares, distillation)
        self._rule = distillation.rule

    def tensor(self, group: str, number: Int, scales: Scales) -> TensorFormat:
        """Two regions, from the lowest to the highest value seen; one where there are too few bits, or more than enough."""
        spread = self._seen.spreads[group].spread(scales.factors)
        point = breakpoint_of(spread)
        if not FEWEST_BITS <= number.bits < number.container_bits or not 0 < point < max(spread.high, -spread.low):
            return super().tensor(group, number, scales)
        return Regions(spread.low, point, spread.high, self._rule).format(number, symmetric=self._seen.symmetric)
