"""Pictures read at computed places: warping by optical flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from hwmodels.workload import Map, Window, Work
from searchspaces.ops.base import Op, Roles, Shape


@dataclass(frozen=True)
class GridSample(Op):
    """``x [N, C, H, W]`` at the places ``grid [N, H', W', 2]``: column and row, each -1 .. 1 over the picture."""

    kind: ClassVar[str] = "grid_sample"
    arity: ClassVar[tuple[int, int | None]] = (2, 2)
    channel_axis: ClassVar[int | None] = 1

    mode: Literal["bilinear", "nearest", "bicubic"] = "bilinear"
    around: Literal["zeros", "border", "reflection"] = "zeros"
    align_corners: bool = False

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        picture, grid = inputs
        if len(grid) != 4 or grid[3] != 2:
            raise ValueError(f"places {list(grid)} are no rows and columns")
        return (*picture[:2], *grid[1:3])

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return F.grid_sample(inputs[0], inputs[1], self.mode, self.around, self.align_corners)

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Map("function", arity=2)

    def window(self, weights: Roles) -> Window | None:
        return None
