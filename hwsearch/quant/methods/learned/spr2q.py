"""SPR2Q-type merging: a low-rank increment of every layer's weights is trained through the quantizer and merged before rounding.

SPR2Q (ICLR 2026; known from readers' notes, no code) trains increments of rank 8, 12,000 and then 500 steps at a rate of 1e-2,
and merges them into the weights, so that nothing is left of them at run time. Its groups of four layers and their routing are not
built: every layer has its own increment. Reconstructed: the increment is in units of the weights' deviation and begins as
nothing; bounds are found and distilled first, as 2DQuant's; 300 steps each, minutes instead of hours; the loss is 2DQuant's.
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
    title="SPR2Q-type merging",
    summary="bounds distilled, then low-rank increments of the weights trained through the quantizer and merged before rounding",
    source="SPR2Q, ICLR 2026 (notes)",
    reconstructed="units and beginning of the increments, loss and steps; without its groups and routing",
    trains=True,
)
DISTILLATION = Distillation(
    phases=(Phase("tensors", 150, 1e-2, 1e-4), Phase("weights", 150, 1e-2, 1e-4), Phase("increments", 300, 1e-2, 1e-4)),
    features=5.0,
    distance=of_directions,
    batch=4,
    rank=8,
)


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(seen, bounds.by_shape, reach.least_squares, DISTILLATION)
