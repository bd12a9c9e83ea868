"""Where a network begins, and what could not be traced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from hwmodels.workload import Map, Work
from searchspaces.ops.base import Op, Roles, Shape


@dataclass(frozen=True)
class Input(Op):
    """The picture ``[N, channels, H, W]`` that goes in."""

    kind: ClassVar[str] = "input"
    arity: ClassVar[tuple[int, int | None]] = (0, 0)
    channel_axis: ClassVar[int | None] = 1

    channels: int

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        raise ValueError("the shape of the input is that of the picture")

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        raise ValueError("the input is no work")


@dataclass(frozen=True)
class Unknown(Op):
    """An operation that no other class expresses; only in graphs with ``uncounted`` operations, which cannot be executed.

    ``example``: shape of its output where it was seen.
    """

    kind: ClassVar[str] = "unknown"
    arity: ClassVar[tuple[int, int | None]] = (1, None)

    operation: str
    example: tuple[int, ...] | None = None

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        """Whatever it is, it reads and writes."""
        return Map("function", arity=len(inputs))
