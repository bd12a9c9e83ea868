"""Trained ends of a tensor in one range: what every trainer of a quantized plan does with tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from hwsearch.quant.learn.quantizers.grid import on_grid
from hwsearch.quant.learn.quantizers.straight_through import rounded
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.ranges.ranges import range_format


class Ends:
    """The ends of one quantizer group, trained as logarithms over where they began; an end at zero stays there."""

    def __init__(self, fmt: TensorFormat) -> None:
        self.grid, self.symmetric = fmt.grid, fmt.is_symmetric and fmt.zero_point == fmt.grid.middle
        top = self.grid.narrow_limit if self.symmetric else self.grid.levels - fmt.zero_point
        self.start = torch.tensor([0.0 if self.symmetric else -fmt.zero_point * fmt.scale, top * fmt.scale])
        self.change = torch.zeros(2, requires_grad=True)

    def ends(self) -> Tensor:
        found: Tensor = self.start * self.change.exp()
        return found

    def step(self) -> Tensor:
        low, high = self.ends()
        found: Tensor = high / self.grid.narrow_limit if self.symmetric else (high - low) / self.grid.levels
        return found

    def fake(self, x: Tensor) -> Tensor:
        """The nearest that a code stands for; gradients as ``grid.on_grid`` says."""
        step = self.step()
        zero = torch.tensor(self.grid.narrow_limit + 1.0) if self.symmetric else rounded(-self.ends()[0] / step)
        return on_grid(x, step, zero, self.grid.levels)

    def format(self) -> TensorFormat:
        """The format that the trained numbers stand for."""
        low, high = (float(end) for end in self.ends().detach())
        return range_format(-high if self.symmetric else low, high, self.grid, symmetric=self.symmetric)
