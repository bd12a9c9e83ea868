"""Resizing of pictures by interpolation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from hwmodels.workload import Move, Window, Work
from searchspaces.ops.base import Op, Roles, Shape, number
from searchspaces.ops.extent import Extent

Mode = Literal["nearest", "nearest-exact", "bilinear", "bicubic"]
REACH: Mapping[str, int] = {"nearest": 0, "nearest-exact": 0, "bilinear": 1, "bicubic": 2}
"""Input pixels beside its own that an output pixel of an interpolation can see."""


@dataclass(frozen=True)
class Resize(Op):
    """``[N, C, H, W]`` to ``factor`` times its height and width, or to ``size`` (height, width)."""

    kind: ClassVar[str] = "resize"
    channel_axis: ClassVar[int | None] = 1
    extents: ClassVar[tuple[str, ...]] = ("size",)

    mode: Mode
    factor: int | float | None = None
    size: tuple[Extent, Extent] | None = None
    align_corners: bool = False
    antialias: bool = False

    def __post_init__(self) -> None:
        if (self.factor is None) == (self.size is None):
            raise ValueError("a resize has a factor or a size, one of them")
        if self.factor is not None and not self.factor > 0:
            raise ValueError(f"a resize by {self.factor}")

    @property
    def moves(self) -> bool:
        """The nearest pixel is one of the input's; the others are sums."""
        return self.mode in ("nearest", "nearest-exact")

    @property
    def whole_factor(self) -> int | None:
        """The factor by which a plain interpolation enlarges, where it is a whole number; None for every other."""
        plain = self.factor is not None and int(self.factor) == self.factor and not self.align_corners and not self.antialias
        return int(self.factor) if plain and self.factor is not None else None

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        if self.size is not None:
            return (*inputs[0][:2], *(number(side) for side in self.size))
        assert self.factor is not None
        return (*inputs[0][:2], *(int(side * self.factor) for side in inputs[0][2:]))

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        smooth = self.mode in ("bilinear", "bicubic")
        how: dict[str, Any] = {"mode": self.mode, "align_corners": self.align_corners if smooth else None}
        if self.antialias:
            how["antialias"] = True
        if self.size is not None:
            return F.interpolate(inputs[0], size=[number(side) for side in self.size], **how)
        return F.interpolate(inputs[0], scale_factor=self.factor, **how)

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        if self.mode == "nearest" and self.whole_factor is not None:
            return Move("resize")
        sides = zip(inputs[0][2:], output[2:], strict=True)
        taps = tuple(self._taps(side, result) for side, result in sides)
        return Move("resize", taps=taps, variant="corners" if self.align_corners else "")

    def _taps(self, side: int, result: int) -> int:
        """Of how many of ``side`` rows or columns each of ``result`` is a weighted sum; a filter against aliasing is as much
        wider as they get fewer."""
        taps = 2 * REACH[self.mode]
        if side == result or not taps:
            return 1
        if self.antialias and side > result:
            taps = math.ceil(taps * side / result) + 1
        return min(taps, side)

    def window(self, weights: Roles) -> Window | None:
        return (REACH[self.mode],) * 4 if self.whole_factor is not None else None
