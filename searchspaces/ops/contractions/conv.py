"""Convolution of pictures. Transposed ones are a convolution and a pixel shuffle (see ``ir.transposed``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from hwmodels.workload import Contract, Finish, Window, Work
from searchspaces.ops.base import Op, Roles, Shape, pair
from searchspaces.ops.maps.activation import Activation, activate

Padding = tuple[int, int, int, int]
"""Zeros to the left, right, top and bottom."""


@dataclass(frozen=True)
class Conv(Op):
    """``x [N, I, H, W]`` convolved with weight ``[O, I/groups, kh, kw]``, plus bias ``[O]`` if there is one, activated.

    ``padding``: zeros to the left, right, top and bottom.
    """

    kind: ClassVar[str] = "conv"
    needs: ClassVar[tuple[str, ...]] = ("weight",)
    takes: ClassVar[tuple[str, ...]] = ("bias",)
    quantized: ClassVar[str] = "weight"
    channel_axis: ClassVar[int | None] = 1

    stride: int | tuple[int, int] = 1
    padding: Padding = (0, 0, 0, 0)
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    activation: Activation | None = None

    def __post_init__(self) -> None:
        if min(*self.strides, *self.dilations, self.groups) < 1:
            raise ValueError("stride, dilation and groups are at least 1")

    @property
    def strides(self) -> tuple[int, int]:
        """Of rows and of columns."""
        return pair(self.stride)

    @property
    def dilations(self) -> tuple[int, int]:
        """Of rows and of columns."""
        return pair(self.dilation)

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        count, _, height, width = inputs[0]
        outputs, _, rows, columns = weights["weight"]
        left, right, top, bottom = self.padding
        high = (height + top + bottom - self.dilations[0] * (rows - 1) - 1) // self.strides[0] + 1
        wide = (width + left + right - self.dilations[1] * (columns - 1) - 1) // self.strides[1] + 1
        return (count, outputs, high, wide)

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        x = inputs[0]
        left, right, top, bottom = self.padding
        if left == right and top == bottom:
            padding = (top, left)
        else:
            x, padding = F.pad(x, self.padding), (0, 0)
        y = F.conv2d(
            x,
            weights["weight"],
            weights.get("bias"),
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return activate(y, self.activation, weights)

    def depthwise(self, channels: int, weight: Shape) -> bool:
        """Whether every channel of the input is convolved on its own."""
        return self.groups > 1 and weight[1] == 1 and self.groups == channels

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        weight = weights["weight"]
        outputs, inner, rows, columns = weight
        return Contract(
            macs=output[0] * output[2] * output[3] * outputs * inner * rows * columns,
            depth=inner * rows * columns,
            form="channelwise" if self.depthwise(inputs[0][1], weight) else "window",
            kernel=(rows, columns),
            stride=max(self.strides),
            groups=self.groups,
        )

    def window(self, weights: Roles) -> Window | None:
        left, _, top, _ = self.padding
        down, across = (step * (size - 1) for step, size in zip(self.dilations, weights["weight"][2:], strict=True))
        return (left, across - left, top, down - top)

    @property
    def finish(self) -> Finish:
        return "none" if self.activation is None else self.activation.function
