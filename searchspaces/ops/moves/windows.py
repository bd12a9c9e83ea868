"""Windows along an axis, which may overlap.

``Tensor.unfold`` gives them; ``F.unfold`` of pictures is those of the rows and then those of the columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from hwmodels.workload import Movement
from searchspaces.ops.base import Roles, Shape
from searchspaces.ops.moves.move import View


@dataclass(frozen=True)
class Windows(View):
    """``size`` places of ``axis``, ``dilation`` apart, from every ``step``-th place on: the axis becomes that of the windows, and
    the places of a window a new last axis."""

    kind: ClassVar[str] = "windows"
    movement: ClassVar[Movement] = "gather"

    axis: int
    size: int
    step: int = 1
    dilation: int = 1

    def __post_init__(self) -> None:
        if min(self.size, self.step, self.dilation) < 1:
            raise ValueError(f"windows of {self.size} places by steps of {self.step}, {self.dilation} apart")

    @property
    def reach(self) -> int:
        """From the first place of a window to behind its last."""
        return (self.size - 1) * self.dilation + 1

    def places(self, side: int) -> np.ndarray:
        """The places of an axis of ``side`` that the windows hold: ``int64[windows, size]``.

        Raises:
            ValueError: not one window fits.
        """
        if side < self.reach:
            raise ValueError(f"windows of {self.reach} places on an axis of {side}")
        starts: np.ndarray = np.arange(0, side - self.reach + 1, self.step)
        found: np.ndarray = starts[:, None] + np.arange(self.size) * self.dilation
        return found

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        shape = list(inputs[0])
        shape[self.axis] = len(self.places(shape[self.axis]))
        return (*shape, self.size)

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return inputs[0].unfold(self.axis, self.reach, self.step)[..., :: self.dilation]
