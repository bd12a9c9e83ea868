"""Values put around a tensor, or cut off it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from hwmodels.workload import Move, Movement, Work
from searchspaces.ops.base import Roles, Shape, number
from searchspaces.ops.extent import Extent
from searchspaces.ops.moves.move import View


@dataclass(frozen=True)
class Pad(View):
    """``padding`` before and after the last axis, then before and after the one in front of it, and so on; negative: cut off.

    ``mode``: "constant" puts ``value`` there, "reflect" and "replicate" what lies inside, mirrored or the outermost.
    """

    kind: ClassVar[str] = "pad"
    movement: ClassVar[Movement] = "pad"
    extents: ClassVar[tuple[str, ...]] = ("padding",)

    padding: tuple[Extent, ...]
    mode: Literal["constant", "reflect", "replicate"] = "constant"
    value: float = 0.0

    def __post_init__(self) -> None:
        if len(self.padding) % 2:
            raise ValueError("padding comes in pairs, before and after")

    @property
    def moves(self) -> bool:
        """Zero is a code of every grid; another constant is not."""
        return self.mode != "constant" or self.value == 0.0

    @property
    def amounts(self) -> tuple[int, ...]:
        """The padding as numbers."""
        return tuple(number(side) for side in self.padding)

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        shape, amounts = list(inputs[0]), self.amounts
        for place in range(len(amounts) // 2):
            shape[-1 - place] += amounts[2 * place] + amounts[2 * place + 1]
        return tuple(shape)

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Move(self.movement, variant="outermost" if self.mode == "replicate" else "")

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        if self.mode == "constant":
            return F.pad(inputs[0], self.amounts, value=self.value)
        return F.pad(inputs[0], self.amounts, mode=self.mode)
