"""A scale and a shift for each channel. On pictures ``ir.simplify`` makes it part of a convolution, or a depthwise one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hwmodels.workload import Map, Work
from searchspaces.ops.base import Op, Roles, Shape


@dataclass(frozen=True)
class Affine(Op):
    """``scale[c] x + shift[c]``, channels on ``axis``; weights "scale" and "shift" ``[C]``."""

    kind: ClassVar[str] = "affine"
    needs: ClassVar[tuple[str, ...]] = ("scale", "shift")

    axis: int = 1

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        x = inputs[0]
        sides = [1] * x.ndim
        sides[self.axis] = -1
        return x * weights["scale"].view(sides) + weights["shift"].view(sides)

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Map("mul")
