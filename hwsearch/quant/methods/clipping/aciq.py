"""ACIQ: ranges are clipped where the squared error of a Laplace distribution of the same mean deviation is least, in closed form.

Banner, Nahshan and Soudry 2019, "Post-training 4-bit Quantization of Convolution Networks for Rapid-Deployment". With scale b
the clipping value is ``W(3 4^bits) b`` (W: Lambert's function), and ``W(12 4^bits) b`` behind a ReLU. Of the paper's three
parts this is the first; bits by channel and the correction of biases are not in it.
"""

from __future__ import annotations

from hwsearch.quant.method import MethodInfo
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="ACIQ",
    summary="ranges and weights clipped as Laplace distributions, in closed form",
    source="Banner et al., NeurIPS 2019",
    reconstructed="the clipping alone; every distribution is taken for one of Laplace",
    family="as traced",
)


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(seen, bounds.aciq, reach.aciq)
