"""Trained ends of a tensor whose range is that of each picture and channel (see ``network.normalized``): the same interface as
the ends of one range.

The value that goes on is the one that the integers stand for; gradients are those of a uniform quantizer between ends that follow
the channel's lowest and highest value, with the straight-through estimator for rounding.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hwsearch.quant.learn.quantizers.straight_through import rounded
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.normalized import PARTS, Normalized

MIDDLE, APART = 0.5, 0.01
"""Of a channel's range: what neither end passes, and by how much."""


class NormalizedEnds:
    """``change`` moves the two ends in the normalized domain -1..1, beyond which they never go."""

    def __init__(self, fmt: TensorFormat) -> None:
        assert fmt.normalized is not None
        self.fmt = fmt
        self.start = torch.tensor([fmt.normalized.low, fmt.normalized.high]) / PARTS
        self.change = torch.zeros(2, requires_grad=True)

    def ends(self) -> Tensor:
        """Shares of a channel's range ``[2]``. Gradients pass where an end is held back, so that it may return."""
        free: Tensor = self.start + self.change / 2
        held = torch.minimum(torch.maximum(free, torch.tensor([0.0, MIDDLE + APART])), torch.tensor([MIDDLE - APART, 1.0]))
        found: Tensor = free + (held - free).detach()
        return found

    def step(self) -> float:
        """That of the 16-bit integers which readers multiply."""
        return self.fmt.scale

    def fake(self, x: Tensor) -> Tensor:
        lowest, highest = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
        low, high = (lowest + share * (highest - lowest) for share in self.ends())
        step = ((high - low) / self._normalized.number.levels).clamp_min(1e-12)
        value = low + rounded((torch.minimum(torch.maximum(x, low), high) - low) / step) * step
        found: Tensor = value + (self.format().fake(x.detach()) - value).detach()
        return found

    @property
    def _normalized(self) -> Normalized:
        assert self.fmt.normalized is not None
        return self.fmt.normalized

    def format(self) -> TensorFormat:
        """The format that the trained numbers stand for."""
        low, high = (round(float(share) * PARTS) for share in self.ends().detach())
        return replace(self.fmt, normalized=replace(self._normalized, low=low, high=high))
