"""State: what a network for videos keeps from one frame to the next.

A network with state is a graph of one frame. A ``State`` is a tensor that was there before the frame: zeros at the start of a
clip, afterwards what the ``Remember`` of its name kept of the frame before. Both are one tensor in memory, so they have one
format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hwmodels.workload import Move, Window, Work
from searchspaces.ops.base import Op, Roles, Shape


@dataclass(frozen=True)
class State(Op):
    """``[N, channels, factor H, factor W]`` beside a frame ``[N, C, H, W]``, which tells the size alone."""

    kind: ClassVar[str] = "state"
    channel_axis: ClassVar[int | None] = 1

    channels: int
    factor: int = 1

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        if len(inputs[0]) != 4:
            raise ValueError(f"a state stands beside pictures [N, C, H, W], not beside a tensor {list(inputs[0])}")
        count, _, height, width = inputs[0]
        return (count, self.channels, height * self.factor, width * self.factor)

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        """What it is at the start of a clip."""
        return inputs[0].new_zeros(self.shape([tuple(inputs[0].shape)], {}))

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Move("copy")


@dataclass(frozen=True)
class Remember(Op):
    """Keeps a tensor as the state called ``state`` of the next frame."""

    kind: ClassVar[str] = "remember"

    state: str

    @property
    def moves(self) -> bool:
        return True

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return inputs[0]

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Move("copy")

    def window(self, weights: Roles) -> Window | None:
        """Tiles of a picture do not add up to a clip: what one tile remembers, its neighbours read."""
        return None
