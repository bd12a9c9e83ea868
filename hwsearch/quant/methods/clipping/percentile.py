"""Percentiles: the rarest values at both ends of a tensor, and of each channel of weights, are clipped.

Li et al. 2019, "Fully Quantized Network for Object Detection". Tables of super-resolution name the method and not the
percentile: 99.9 % of the values are kept here.
"""

from __future__ import annotations

from hwsearch.quant.method import MethodInfo
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="Percentile",
    summary="ranges that hold 99.9 % of the values, weights likewise",
    source="Li et al., CVPR 2019; a baseline of 2DQuant and OAQ-SR",
    reconstructed="the percentile, which the tables do not tell",
    family="as traced",
)


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(seen, bounds.percentile, reach.percentile)
