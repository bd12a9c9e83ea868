"""Weights whose integers are decided bit by bit, each by a threshold of its own that is trained.

Redistribution-driven bit determination (QuantSR+; its repository's earlier code). A weight in steps, ``v``, becomes an odd whole
number ``n = sum q_i 2^i`` of ``b`` signs, from the highest to the lowest:

    q_i = sgn(S_i r_i - B_i)    with what is left    r_i = v - sum_{j > i} q_j S_j 2^j

``S_i = 1``, ``B_i = 0``, where they begin, is rounding to the nearest; trained, they move where one integer gives way to the
next. The levels stay evenly spaced, so that a layer of ordinary integers comes out. They use all ``2^b`` codes, one more than
the narrow range has: the one without an opposite, the highest as published, is the lowest here, as two's complement wants it.

Scales begin where the nearest codes leave the least squared error. Reconstructed: the gradient (the function that has it names a
variable which does not exist). A decision falls where ``v`` crosses
``T_i = sum_{j > i} q_j S_j 2^j + B_i / S_i``. The two thresholds beside a value are always among those that it was compared with,
so near the nearest of them ``n`` is taken for the curve of QuantSR's quantizer, ``tanh((v - T) / 2) / tanh(1 / 2)`` within half a
level on either side: steepest at the threshold, and flat beyond the last level.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hwsearch.quant.learn.quantizers.weights import Weights
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers

FACTORS = (0.5, 1.25, 61)
"""Of the scales that the narrow range has: the first, the last, and how many are tried."""
SMALLEST = 0.1
"""Below which no ``S_i`` is taken: a threshold is divided by it."""


def decided(v: Tensor, slopes: Tensor, thresholds: Tensor) -> Tensor:
    """The odd number of every ``v``, of any shape; ``slopes`` and ``thresholds``: ``S`` and ``B``, ``float32[b]``, the lowest bit
    first."""
    slopes = slopes.clamp_min(SMALLEST)
    upper, number = torch.zeros_like(v), torch.zeros_like(v)
    nearest = torch.full_like(v, torch.inf)
    for i in reversed(range(len(slopes))):
        apart = v - upper - thresholds[i] / slopes[i]
        sign = torch.where(apart.detach() >= 0, 1.0, -1.0)
        nearest = torch.where(apart.detach().abs() < nearest.detach().abs(), apart, nearest)
        upper = upper + sign * slopes[i] * 2**i
        number = number + sign * 2**i
    curve = torch.tanh(nearest.clamp(-1, 1) / 2) / math.tanh(0.5)
    found: Tensor = number + (curve - curve.detach())
    return found


def least_squares(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Factors ``[O]`` of the scales ``[O]`` of channels of ``weight [O, ...]`` with which the nearest of all codes of two's
    complement leave the least squared error."""
    rows = weight.flatten(1)
    factors = torch.linspace(*FACTORS)
    errors = []
    for factor in factors:
        steps = (scale * factor)[:, None]
        codes = (rows / steps).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        errors.append((codes * steps - rows).square().sum(dim=1))
    return factors[torch.stack(errors).argmin(dim=0)]


class DecidedWeights(Weights):
    """A layer's ends as in ``Weights``, and how its integers are decided. The code of ``n`` is ``-(n + 1) / 2``."""

    def __init__(
        self, layer: LayerIntegers, weight: Tensor, source: TensorFormat, rank: int = 0, first: DecidedWeights | None = None
    ) -> None:
        super().__init__(layer, weight, source, rank, first)
        self.start = self.start * least_squares(weight, self.start, self.bits)
        self.slopes: Tensor = torch.ones(self.bits, requires_grad=True) if first is None else first.slopes
        self.thresholds: Tensor = torch.zeros(self.bits, requires_grad=True) if first is None else first.thresholds

    def _codes(self) -> Tensor:
        scale = self._scale().view(-1, *[1] * (self.weight.ndim - 1))
        found: Tensor = -(decided(-2 * self.weight / scale - 1, self.slopes, self.thresholds) + 1) / 2
        return found
