"""LSQ: weights and the steps of weights and tensors are trained together through the rounding.

Esser et al. 2020, "Learned Step Size Quantization" (ICLR): the baseline of quantization-aware training. There the network trains
for its task, from labels and for epochs. Reconstructed, and weaker: the target is the floating-point network on the calibration
pictures, for 600 steps of four windows; ends and changes of weights are trained relative to where they began, so that one rate
serves all; biases stay. It is no substitute for training on originals: that is not built.
"""

from __future__ import annotations

from hwsearch.quant.learn.distillation import FULL, Distillation, Phase
from hwsearch.quant.learn.features import of_directions
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="LSQ, distilled",
    summary="weights and steps trained together against the floating-point network",
    source="Esser et al., ICLR 2020",
    reconstructed="the floating-point network instead of originals, minutes instead of epochs, relative rates",
    trains=True,
)
DISTILLATION = Distillation(
    phases=(Phase("tensors", 150, 1e-2, 1e-3), Phase("all", 450, 5e-3, 1e-5)),
    features=0.0,
    distance=of_directions,
    batch=4,
    rank=FULL,
)


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(seen, bounds.least_squares, reach.least_squares, DISTILLATION)
