"""PAMS: every tensor is clipped at a learned bound about zero, and the weights are trained with it.

Li et al. 2020, "PAMS: Quantized Super-Resolution via Parameterized Max Scale" (ECCV). A tensor becomes ``clip(x, -a, a)`` in
codes about zero, the step ``a / (2^(b-1) - 1)``; a ReLU's result leaves half of them unused, and no zero point is ever
multiplied. ``a`` begins as the mean over pictures of the largest magnitude in each, and is trained; weights reach to their
largest of the moment, which is not. The loss is the mean absolute error of the output and 1000 times the squared difference of
where the body's result has its energy (structured knowledge transfer).

Reconstructed, and weaker: the target is the floating-point network on the calibration pictures, where the paper has originals,
for 600 steps of four windows instead of 30 epochs; the mean of bounds is one of all pictures, where the paper's running one
forgets 3 in 10,000 each step; ends and changes of weights are trained relative to where they began, at a rate that halves twice;
weights have a scale for every channel, theirs one a layer; the code below ``-a`` that the width has is used, too. The paper
quantizes residual blocks alone (``--scope blocks``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from hwmodels.numbers import Int
from hwsearch.quant.learn.distillation import FULL, Distillation, Phase
from hwsearch.quant.learn.features import of_energies
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.rewriting import Scales
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.ranges.ranges import symmetric_format
from hwsearch.quant.ranges.spreads import extremes
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="PAMS, distilled",
    summary="tensors clipped at a learned bound about zero, weights trained with it",
    source="Li et al., ECCV 2020; its repository",
    reconstructed="the floating-point network instead of originals, minutes instead of epochs, relative rates; a scale a channel",
    trains=True,
)
DISTILLATION = Distillation(
    phases=(Phase("all", 600, 2e-3, 5e-4),),
    features=1000.0,
    distance=of_energies,
    batch=4,
    rank=FULL,
    largest=True,
    deepest=True,
)


def observe(seen: Observations) -> Pams:
    """See ``quant.method.MethodModule``."""
    return Pams(seen, bounds.min_max, reach.largest, DISTILLATION)


class Pams(Static):
    """See ``quant.method.Method``."""

    @cached_property
    def reaches(self) -> Mapping[str, float]:
        """Where each quantizer group is clipped at first: the mean over pictures of the largest magnitude."""
        groups, found = self.graph.quantizer_groups(), dict[str, float]()
        pictures = [extremes(self.graph, [crop]) for crop in self._seen.crops]
        for name in pictures[0]:
            mean = float(np.mean([seen[name].magnitude.max() for seen in pictures]))
            found[groups[name]] = max(mean, found.get(groups[name], 0.0))
        return found

    def tensor(self, group: str, number: Int, scales: Scales) -> TensorFormat:
        """Zero in the middle, and as many codes below as above."""
        return super().tensor(group, number, scales) if number.is_wide else symmetric_format(number, self.reaches[group])
