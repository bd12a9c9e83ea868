"""QArtSR: scales of channels and merged increments, trained module by module from the output to the input, then all at once.

arXiv 2503.05584; known from its figures, no code. A layer is ``L1 L2 x + Q(phi x) Q((W - L1 L2 + F1 F2) / phi)``: a low-rank
branch, a learned scale of each channel of its input, and an increment that is merged before rounding (as in ``spr2q``); W itself
stays.

* Reversed per-module quantization: modules, from one sum to the next (of a residual, or of a layer and its branch; single layers
  where there are none), from the last to the first. Each reads what the floating-point network writes and is followed by the
  quantized ones; lowered are the error of what it writes and that of the picture.
* Extended training: then all that was added, ends of tensors and of weights among it, for the error of the picture.

Reconstructed: steps and rates, as many as ``spr2q`` has; rank 8 of increments; all begin as nothing, ranges as 2DQuant's; both
errors of a module are squared and over what they are at first. The paper's perceptual loss (LPIPS) needs a trained network that
is not here: the squared error stands in its place, so nothing of what it reports of perception is to be expected. Scales are one
for all readers, where they fold into the layer before; elsewhere there are none. Branches are those of the network
(``--branches``), in integers of their own widths, trained with the rest where they have at most 8 bits; without them a layer has
none. That a diffusion network is first trained again for one favourable timestep is of that network and not of its quantizer, and
is not here.
"""

from __future__ import annotations

from hwsearch.quant.learn.distillation import Distillation, Phase
from hwsearch.quant.learn.features import of_directions, of_squares
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="QArtSR-type reversed training",
    summary="scales of channels, merged increments and branches trained module by module from the output back, then all at once",
    source="arXiv 2503.05584 (figures)",
    reconstructed="ranks, rates, steps, weights of losses; the squared error instead of LPIPS; scales where they fold; branches "
    "in integers, where the network has them; without the timestep retraining of the diffusion network",
    price="none here: scales fold, branches are layers; as published, a multiply per channel and branches in 16 bits",
    trains=True,
)
DISTILLATION = Distillation(
    phases=(Phase("modules", 300, 1e-2, 1e-3), Phase("all", 300, 5e-3, 1e-4)),
    features=0.0,
    distance=of_directions,
    batch=4,
    rank=8,
    added=("scales", "branches"),
    output=of_squares,
)


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(seen, bounds.by_shape, reach.least_squares, DISTILLATION)
