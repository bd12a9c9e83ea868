"""Minimum to maximum: every range is what was seen on the calibration pictures, every weight the nearest.

The floor that papers compare with: no clipping, no equalization, no correction, nothing learned.
"""

from __future__ import annotations

from hwsearch.quant.method import MethodInfo
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="MinMax",
    summary="ranges from minimum to maximum, weights to the nearest",
    source="the baseline of PTQ4SR (CVPR 2023), 2DQuant (NeurIPS 2024), OAQ-SR (ICCV 2025)",
    family="as traced",
)


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(seen, bounds.min_max, reach.largest)
