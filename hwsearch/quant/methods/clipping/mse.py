"""Least squares: every range, and every channel of weights, is clipped where its own squared error is least.

Choukroun et al. 2019, "Low-bit Quantization of Neural Networks for Efficient Inference". Both ends of a tensor are searched,
each by itself, on a histogram.
"""

from __future__ import annotations

from hwsearch.quant.method import MethodInfo
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="MSE",
    summary="ranges and weights clipped where their own squared error is least",
    source="Choukroun et al., ICCV-W 2019; a baseline of OAQ-SR",
    family="as traced",
)


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(seen, bounds.least_squares, reach.least_squares)
