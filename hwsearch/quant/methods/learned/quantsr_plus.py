"""QuantSR+: integers of weights decided bit by bit, by thresholds that are trained; features of blocks kept near those of the
floating-point network.

Qin et al. 2026 (TPAMI, arXiv 2605.22351; what is known of it is its repository's earlier code). Three parts make it itself.

* Redistribution-driven bit determination: ``learn.quantizers.decisions``. Layers of 8 bits are rounded to the nearest.
* Function-localized distillation: beside the mean absolute error of the output, ``1e-4`` times the distance of what the blocks
  give in both networks, the mean over blocks that are there.
* A slimmable architecture: of twice as many blocks half are dropped while it is trained, those first whose shortcuts have grown
  most. Here blocks are dropped before (``--drop``), and what is left is trained towards the whole network, block by block.

Reconstructed: the target is the floating-point network on the calibration pictures, where the paper has originals, for as many
steps as ``lsq``, minutes instead of days; everything but weights and loss is as in ``lsq``, which so is its baseline at the same
steps. Tensors have a zero point where the paper adds a trained shift to every channel (which no integer layer can fold behind a
ReLU), and gradients straight through where its curve is between 15 % flatter and 8 % steeper. Weights have a scale for every
channel.
"""

from __future__ import annotations

from dataclasses import replace

from hwsearch.quant.learn.features import of_lengths
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.methods.learned import lsq
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="QuantSR+, distilled",
    summary="integers of weights decided bit by bit by trained thresholds, blocks kept near those of the floating-point network",
    source="Qin et al., TPAMI 2026, arXiv 2605.22351; an earlier repository",
    reconstructed="gradients of decisions; the floating-point network instead of originals, minutes instead of days; no shifts "
    "of channels; blocks are named to be dropped, not chosen by training",
    trains=True,
)
DISTILLATION = replace(lsq.DISTILLATION, decided=True, features=255 * 1e-4, distance=of_lengths)
"""The published weight is for pictures in 0..1; the error of the output counts in steps of 8 bits here."""


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(seen, bounds.least_squares, reach.least_squares, DISTILLATION)
