"""Many values become one: means, sums, extremes and deviations over axes, and pooling by windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from hwmodels.workload import Function, Reduce, Window, Work
from searchspaces.ops.base import Op, Roles, Shape, elements
from searchspaces.ops.maps.activation import root


@dataclass(frozen=True)
class Reduction(Op):
    """One value for all that lie along ``axes``, which stay with size 1 (``keepdims``) or go. By default those of a picture:
    height and width."""

    family: ClassVar[str] = "pool"
    function: ClassVar[Function] = "add"
    rooted: ClassVar[bool] = False

    axes: tuple[int, ...] = (2, 3)
    keepdims: bool = True

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        shape = inputs[0]
        over = {axis % len(shape) for axis in self.axes}
        if self.keepdims:
            return tuple(1 if axis in over else side for axis, side in enumerate(shape))
        return tuple(side for axis, side in enumerate(shape) if axis not in over)

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Reduce(elements(tuple(inputs[0][axis] for axis in self.axes)), function=self.function, rooted=self.rooted)

    def window(self, weights: Roles) -> Window | None:
        return None

    @property
    def over_picture(self) -> bool:
        """Whether it is over height and width of a picture, which keeps its rank."""
        return sorted(self.axes) == [2, 3] and self.keepdims


@dataclass(frozen=True)
class Mean(Reduction):
    """The mean."""

    kind: ClassVar[str] = "mean"

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return inputs[0].mean(dim=self.axes, keepdim=self.keepdims)


@dataclass(frozen=True)
class Sum(Reduction):
    """The sum."""

    kind: ClassVar[str] = "sum"

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return inputs[0].sum(dim=self.axes, keepdim=self.keepdims)


@dataclass(frozen=True)
class Max(Reduction):
    """The largest."""

    kind: ClassVar[str] = "max"
    function: ClassVar[Function] = "compare"

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return inputs[0].amax(dim=self.axes, keepdim=self.keepdims)


@dataclass(frozen=True)
class Min(Reduction):
    """The smallest."""

    kind: ClassVar[str] = "min"
    function: ClassVar[Function] = "compare"

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return inputs[0].amin(dim=self.axes, keepdim=self.keepdims)


def _variance(x: Tensor, axes: tuple[int, ...], keepdims: bool, correction: int) -> Tensor:
    """In two passes: as precise as ``torch.var``, which takes eight times as long over the pixels of a feature map."""
    off = x - x.mean(dim=axes, keepdim=True)
    count = math.prod(x.shape[axis] for axis in axes)
    return off.square_().sum(dim=axes, keepdim=keepdims).div_(max(count - correction, 0))


@dataclass(frozen=True)
class Var(Reduction):
    """The variance; the sum of squares is divided by the count less ``correction``."""

    kind: ClassVar[str] = "var"
    function: ClassVar[Function] = "mul"

    correction: int = 0

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return _variance(inputs[0], self.axes, self.keepdims, self.correction)


@dataclass(frozen=True)
class Std(Reduction):
    """The standard deviation; the sum of squares is divided by the count less ``correction``."""

    kind: ClassVar[str] = "std"
    function: ClassVar[Function] = "mul"
    rooted: ClassVar[bool] = True

    correction: int = 0

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return root(_variance(inputs[0], self.axes, self.keepdims, self.correction))


@dataclass(frozen=True)
class WindowPool(Op):
    """One value for each window of ``kernel`` (rows, columns) pixels of ``[N, C, H, W]``, ``stride`` apart; ``padding`` (rows,
    columns) on both sides, at most half of the window."""

    channel_axis: ClassVar[int | None] = 1
    function: ClassVar[Function] = "add"

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if min(*self.kernel, *self.stride) < 1 or min(self.padding) < 0:
            raise ValueError("kernel and stride are at least 1, padding at least 0")

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        sides = zip(inputs[0][2:], self.kernel, self.stride, self.padding, strict=True)
        return (*inputs[0][:2], *((side + 2 * pad - kernel) // stride + 1 for side, kernel, stride, pad in sides))

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Reduce(elements(self.kernel), function=self.function, kernel=self.kernel, stride=self.stride[0])

    def window(self, weights: Roles) -> Window | None:
        return None


@dataclass(frozen=True)
class MaxPool(WindowPool):
    """The largest of each window."""

    kind: ClassVar[str] = "max_pool"
    function: ClassVar[Function] = "compare"

    @property
    def moves(self) -> bool:
        return True

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return F.max_pool2d(inputs[0], self.kernel, self.stride, self.padding)


@dataclass(frozen=True)
class AvgPool(WindowPool):
    """The mean of each window; ``count_padding``: padded zeros are counted."""

    kind: ClassVar[str] = "avg_pool"

    count_padding: bool = True

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return F.avg_pool2d(inputs[0], self.kernel, self.stride, self.padding, count_include_pad=self.count_padding)
