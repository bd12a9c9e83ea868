"""QuantVSR: channels rotated, low-rank branches trained with the rounded rest of their layers, then a bias for every channel.

AAAI 2026, arXiv 2508.04485; its repository. A layer is ``X L1 L2 + Q(X H) Q(H^T (W - L1 L2)) + b``. Factors come from the
singular directions of the weights; then L1 and L2 are trained alone, the rest moving as they do, then b alone, both for the
squared error of the output; ranges are not trained.

Reconstructed, and in integers: H is used where it folds, as in ``hadamard``; branches are those of the network (``--branches``),
integer layers of their own widths, where the paper has 16-bit floats, trained where they have at most 8 bits; without
``--branches`` the rotation and b are left of the method. The rest of a layer is what its rounded branch leaves, so it makes up
for that rounding, too. Ranges are those of least squared error of all pictures, where the paper has the extremes of weights and
of each picture; weights have no zero point. 300 steps each instead of 900, of four windows, at relative rates along a cosine.

b folds into the bias. Networks that keep a state between frames are refused, as by every method that trains: the paper's
quantizer is of a video network, this one sees single pictures.
"""

from __future__ import annotations

from hwsearch.quant.learn.distillation import Distillation, Phase
from hwsearch.quant.learn.features import of_directions, of_squares
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.methods.weights.hadamard import with_rotation
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="QuantVSR",
    summary="linear streams rotated, low-rank branches trained with the rounded rest of their layers, then biases",
    source="arXiv 2508.04485 (AAAI 2026); its repository",
    reconstructed="branches in integers, where the network has them; rotations where they fold; static ranges of least squared "
    "error; fewer steps, relative rates; single pictures, no networks with state",
    price="none here: rotations and biases fold, branches are layers; as published, rotations and ranges of every picture",
    trains=True,
)
DISTILLATION = Distillation(
    phases=(Phase("branches", 300, 1e-2, 1e-3), Phase("biases", 300, 1e-2, 1e-3)),
    features=0.0,
    distance=of_directions,
    batch=4,
    added=("branches", "biases"),
    output=of_squares,
)


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(with_rotation(seen), bounds.least_squares, reach.least_squares, DISTILLATION)
