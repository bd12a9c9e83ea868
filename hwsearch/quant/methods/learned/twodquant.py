"""2DQuant: bounds searched by the shape of the distribution, then distilled.

Liu et al. 2024, "2DQuant: Low-bit Post-Training Quantization for Image Super-Resolution" (NeurIPS). DOBI tries 100 bounds: both
ends of a bell move inwards together, a distribution with one side keeps its beginning; those of least squared error stay, of
weights alike. DQC trains all bounds together, for the mean absolute error of the output and five times the distance between
unit features of the layers.

Differences: 400 steps of 4 windows instead of 3000 of 32, hours there and minutes here; the rate is relative to where a bound
began; weights are symmetric per channel, theirs have one range and a zero point per tensor. The paper's equation divides a
layer's distance, which is at most 2, by how many numbers the layer has, and sums over layers; here it is not divided, and the
mean over layers is taken.
"""

from __future__ import annotations

from hwsearch.quant.learn.distillation import Distillation, Phase
from hwsearch.quant.learn.features import of_directions
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="2DQuant (DOBI + DQC)",
    summary="ranges searched by the shape of the distribution, then distilled together with those of weights",
    source="Liu et al., NeurIPS 2024; its repository",
    reconstructed="fewer and smaller steps; learning rate relative to a bound; weights symmetric per channel",
    price="none here; as published, asymmetric weights cost a box sum of the input a layer",
    trains=True,
)
DISTILLATION = Distillation(phases=(Phase("all", 400, 1e-2, 1e-4),), features=5.0, distance=of_directions, batch=4)


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(seen, bounds.by_shape, reach.least_squares, DISTILLATION)
