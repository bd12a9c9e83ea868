"""Operators that only move values: what comes out is what went in, somewhere else, some of it, or some of it more than once.

Their output has the grid of their input, so in integers they move codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hwmodels.workload import POINT, Move, Movement, Window, Work
from searchspaces.ops.base import Op, Roles, Shape, elements, number
from searchspaces.ops.extent import Extent


@dataclass(frozen=True)
class View(Op):
    """A move of one tensor; ``movement`` is what it is to hardware."""

    movement: ClassVar[Movement] = "copy"

    @property
    def moves(self) -> bool:
        return True

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Move(self.movement, along=self.places_of(inputs[0]))

    @property
    def along(self) -> tuple[int, ...]:
        """The axes of which it chooses places, where that is all it does; empty: it does something else."""
        return ()

    def places_of(self, shape: Shape) -> tuple[int, ...]:
        """``along`` of a tensor of this shape, each axis counted from the first, in order."""
        return tuple(sorted(axis % len(shape) for axis in self.along))

    def window(self, weights: Roles) -> Window | None:
        return None


@dataclass(frozen=True)
class Concat(Op):
    """Tensors one after the other along ``axis``."""

    kind: ClassVar[str] = "concat"
    arity: ClassVar[tuple[int, int | None]] = (1, None)

    axis: int = 1

    @property
    def moves(self) -> bool:
        return True

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        axis = self.axis % len(inputs[0])
        rests = {(*shape[:axis], *shape[axis + 1 :]) for shape in inputs}
        if len(rests) != 1:
            raise ValueError(f"tensors {[list(shape) for shape in inputs]} do not fit along axis {axis}")
        return (*inputs[0][:axis], sum(shape[axis] for shape in inputs), *inputs[0][axis + 1 :])

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return torch.cat(list(inputs), dim=self.axis)

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Move("concat")

    def window(self, weights: Roles) -> Window | None:
        return POINT if self.axis == 1 else None


@dataclass(frozen=True)
class Slice(View):
    """Every ``step``-th place from ``start`` to before ``stop`` along ``axis``."""

    kind: ClassVar[str] = "slice"
    movement: ClassVar[Movement] = "slice"
    extents: ClassVar[tuple[str, ...]] = ("start", "stop")

    start: Extent
    stop: Extent
    axis: int = 1
    step: int = 1

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ValueError(f"a slice by steps of {self.step}")

    @property
    def along(self) -> tuple[int, ...]:
        return (self.axis,) if self.step == 1 else ()

    def taken(self, side: int) -> slice:
        """What it takes of an axis of ``side`` places.

        Raises:
            ValueError: it wants more places than there are.
        """
        if isinstance(self.stop, str) and number(self.stop) > side:
            raise ValueError(f"a slice up to {self.stop} = {number(self.stop)} of {side} places")
        return slice(*slice(number(self.start), number(self.stop), self.step).indices(side))

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        shape = list(inputs[0])
        taken = self.taken(shape[self.axis])
        shape[self.axis] = len(range(taken.start, taken.stop, taken.step))
        return tuple(shape)

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        x = inputs[0]
        axis = self.axis % x.ndim
        return x[(*[slice(None)] * axis, self.taken(x.shape[axis]))]

    def window(self, weights: Roles) -> Window | None:
        return POINT if self.axis == 1 else None


@dataclass(frozen=True)
class Repeat(View):
    """Each place along ``axis`` ``times`` times (``repeat_interleave``)."""

    kind: ClassVar[str] = "repeat"
    movement: ClassVar[Movement] = "repeat"

    times: int
    axis: int = 1

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        shape = list(inputs[0])
        shape[self.axis] *= self.times
        return tuple(shape)

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return torch.repeat_interleave(inputs[0], self.times, dim=self.axis)

    def window(self, weights: Roles) -> Window | None:
        return POINT if self.axis == 1 else None


@dataclass(frozen=True)
class PixelShuffle(View):
    """``[N, C f^2, H, W]`` to ``[N, C, f H, f W]``: channels become the pixels of a block."""

    kind: ClassVar[str] = "pixel_shuffle"
    movement: ClassVar[Movement] = "shuffle"
    channel_axis: ClassVar[int | None] = 1

    factor: int

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        count, channels, height, width = inputs[0]
        return (count, channels // self.factor**2, height * self.factor, width * self.factor)

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return F.pixel_shuffle(inputs[0], self.factor)

    def window(self, weights: Roles) -> Window | None:
        return POINT


@dataclass(frozen=True)
class PixelUnshuffle(View):
    """``[N, C, f H, f W]`` to ``[N, C f^2, H, W]``: the pixels of a block become channels."""

    kind: ClassVar[str] = "pixel_unshuffle"
    movement: ClassVar[Movement] = "shuffle"
    channel_axis: ClassVar[int | None] = 1

    factor: int

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        count, channels, height, width = inputs[0]
        if height % self.factor or width % self.factor:
            raise ValueError(f"a picture of {height}x{width} has no whole blocks of {self.factor}")
        return (count, channels * self.factor**2, height // self.factor, width // self.factor)

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return F.pixel_unshuffle(inputs[0], self.factor)

    def window(self, weights: Roles) -> Window | None:
        return 0, self.factor - 1, 0, self.factor - 1


@dataclass(frozen=True)
class Reshape(View):
    """The same values in order, as ``sizes``; one of them may be -1, whatever is left over."""

    kind: ClassVar[str] = "reshape"
    movement: ClassVar[Movement] = "view"
    extents: ClassVar[tuple[str, ...]] = ("sizes",)

    sizes: tuple[Extent, ...]

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        sizes = [number(side) for side in self.sizes]
        count, known = elements(inputs[0]), elements(tuple(side for side in sizes if side != -1))
        found = tuple(count // max(known, 1) if side == -1 else side for side in sizes)
        if elements(found) != count or sizes.count(-1) > 1:
            raise ValueError(f"{list(inputs[0])} has not as many values as {sizes}")
        return found

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return inputs[0].reshape([number(side) for side in self.sizes])


@dataclass(frozen=True)
class Permute(View):
    """The axes in another order: axis ``i`` of the output is ``axes[i]`` of the input."""

    kind: ClassVar[str] = "permute"
    movement: ClassVar[Movement] = "transpose"

    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        if sorted(self.axes) != list(range(len(self.axes))):
            raise ValueError(f"{list(self.axes)} is no order of axes")

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        if len(inputs[0]) != len(self.axes):
            raise ValueError(f"an order of {len(self.axes)} axes for {list(inputs[0])}")
        return tuple(inputs[0][axis] for axis in self.axes)

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Move(self.movement, tuple(inputs[0]), self.axes)

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return inputs[0].permute(self.axes)


@dataclass(frozen=True)
class Roll(View):
    """Values moved by ``shifts`` along ``axes``; what leaves at one end enters at the other."""

    kind: ClassVar[str] = "roll"

    shifts: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def along(self) -> tuple[int, ...]:
        return self.axes

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return torch.roll(inputs[0], self.shifts, self.axes)


@dataclass(frozen=True)
class Flip(View):
    """The order along ``axes`` reversed."""

    kind: ClassVar[str] = "flip"

    axes: tuple[int, ...]

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Move(self.movement, variant="reversed", along=self.places_of(inputs[0]))

    @property
    def along(self) -> tuple[int, ...]:
        return self.axes

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return inputs[0].flip(self.axes)


@dataclass(frozen=True)
class Gather(View):
    """The places ``indices`` along ``axis``, in that order, as often as they are named."""

    kind: ClassVar[str] = "gather"
    movement: ClassVar[Movement] = "gather"

    indices: tuple[int, ...]
    axis: int = 1

    @property
    def along(self) -> tuple[int, ...]:
        return (self.axis,)

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        shape = list(inputs[0])
        if self.indices and not -shape[self.axis] <= min(self.indices) <= max(self.indices) < shape[self.axis]:
            raise ValueError(f"places {min(self.indices)}..{max(self.indices)} of {shape[self.axis]}")
        shape[self.axis] = len(self.indices)
        return tuple(shape)

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        side = inputs[0].shape[self.axis]
        return inputs[0].index_select(self.axis, torch.tensor([index % side for index in self.indices]))

    def window(self, weights: Roles) -> Window | None:
        return POINT if self.axis == 1 else None


@dataclass(frozen=True)
class Expand(View):
    """Axes of size 1 repeated to ``sizes``; -1 keeps one as it is, further axes may stand in front."""

    kind: ClassVar[str] = "expand"
    movement: ClassVar[Movement] = "repeat"
    extents: ClassVar[tuple[str, ...]] = ("sizes",)

    sizes: tuple[Extent, ...]

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        sizes = [number(side) for side in self.sizes]
        shape = (1,) * (len(sizes) - len(inputs[0])) + inputs[0]
        found = tuple(old if new == -1 else new for old, new in zip(shape, sizes, strict=True))
        if any(old not in (1, new) for old, new in zip(shape, found, strict=True)):
            raise ValueError(f"{list(inputs[0])} cannot be repeated to {sizes}")
        return found

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return inputs[0].expand([number(side) for side in self.sizes])
