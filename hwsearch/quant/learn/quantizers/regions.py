"""Trained ends and breakpoint of a tensor in two regions (see ``ranges.regions``): the same interface as the ends of one range.

The value that goes on is the one that the integers stand for; gradients are those of three uniform quantizers, one in each
region, with the straight-through estimator for rounding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hwmodels.numbers import INT8
from hwsearch.quant.learn.quantizers.straight_through import rounded
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.ranges.regions import Regions, Rule


class RegionEnds:
    """``change`` trains the two ends, ``point_change`` the breakpoint: logarithms over where they began. Which regions there are
    stays. ``rule``: the one by which the format was made."""

    def __init__(self, fmt: TensorFormat, rule: Rule = Rule.PAPER) -> None:
        assert fmt.levels is not None
        self.rule = rule
        self.grid, self.symmetric = fmt.grid, fmt.is_symmetric and fmt.zero_point == INT8.middle
        levels = fmt.levels
        # A tail below zero leaves few codes for the one above; without one it has half of them.
        dense, few = rule.dense_steps(self.grid, True), math.ceil(rule.dense_steps(self.grid, True))
        self.two_sided = levels[0] <= -dense and sum(level > dense for level in levels) <= few
        self.first = min(levels[0], 0)
        most = dense if self.two_sided else self.first + rule.dense_steps(self.grid, False)
        # Where a byte is too short for both regions the step was widened, and fewer codes are dense.
        last = next((above - 1 for above in range(1, int(most) + 1) if above not in levels), most)
        self.start = torch.tensor([levels[0] * fmt.scale, levels[-1] * fmt.scale])
        self.point = torch.tensor(max(last, 1) * fmt.scale)
        self.change = torch.zeros(2, requires_grad=True)
        self.point_change = torch.zeros(1, requires_grad=True)

    def ends(self) -> tuple[Tensor, Tensor, Tensor]:
        """Low end, breakpoint and high end."""
        low, high = self.start * self.change.exp()
        return low, (self.point * self.point_change.exp())[0], high

    def _regions(self) -> Regions:
        low, point, high = (float(end.detach()) for end in self.ends())
        return Regions(min(low, -point * (1 + 1e-6)) if self.two_sided else max(low, -point), point, high, self.rule)

    def step(self) -> Tensor:
        """The dense step; gradients reach it through the breakpoint and, with one side, through the low end."""
        low, point, _ = self.ends()
        found = (point if self.two_sided else point - low) / self.rule.dense_steps(self.grid, self.two_sided)
        return found + (self.format().scale - found).detach()

    def fake(self, x: Tensor) -> Tensor:
        low, point, high = self.ends()
        step, steps = self.step(), self.rule.tail_steps(self.grid, self.two_sided)
        bottom = -point if self.two_sided else low
        value = rounded(torch.clamp(x, bottom, point) / step) * step
        value = torch.where(x > point, _in_tail(x, point, torch.maximum(high, point * (1 + 1e-3)), steps), value)
        if self.two_sided:
            value = torch.where(x < -point, -_in_tail(-x, point, torch.maximum(-low, point * (1 + 1e-3)), steps), value)
        return value + (self.format().fake(x.detach()) - value).detach()

    def format(self) -> TensorFormat:
        """The format that the trained numbers stand for."""
        return self._regions().format(self.grid, symmetric=self.symmetric)


def _in_tail(x: Tensor, start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Values behind ``start``, rounded to ``steps`` of them up to ``end``."""
    step = (end - start) / steps
    found: Tensor = start + rounded((torch.minimum(x, end) - start).clamp_min(0) / step) * step
    return found
