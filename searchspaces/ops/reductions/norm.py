"""Normalizations: values less their mean, over their standard deviation, then a scale and a shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hwmodels.workload import POINT, Reduce, Window, Work
from searchspaces.ops.base import Op, Roles, Shape, elements


@dataclass(frozen=True)
class Norm(Op):
    """What normalizations share: weights "weight" and "bias" scale and shift the result where there are any."""

    takes: ClassVar[tuple[str, ...]] = ("weight", "bias")
    centred: ClassVar[bool] = True
    """Whether the mean is taken off."""

    def over(self, shape: Shape) -> int:
        """How many values share one mean."""
        raise NotImplementedError

    def divisor(self, x: Tensor) -> Tensor:
        """What the values of ``x`` are divided by, in a shape that is broadcast to that of ``x``."""
        raise NotImplementedError

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Reduce(self.over(inputs[0]), keeps=True, function="division", centred=self.centred)

    def window(self, weights: Roles) -> Window | None:
        return None


@dataclass(frozen=True)
class _AxesNorm(Norm):
    """Over ``axes``; weights have the shape of those axes."""

    axes: tuple[int, ...] = (-1,)

    def over(self, shape: Shape) -> int:
        return elements(tuple(shape[axis] for axis in self.axes))

    def window(self, weights: Roles) -> Window | None:
        return POINT if self.axes == (1,) else None


@dataclass(frozen=True)
class LayerNorm(_AxesNorm):
    """Over ``axes``; weights have the shape of those axes."""

    kind: ClassVar[str] = "layer_norm"

    eps: float = 1e-5

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        x = inputs[0]
        axes = sorted(axis % x.ndim for axis in self.axes)
        weight, bias = weights.get("weight"), weights.get("bias")
        if axes == list(range(x.ndim - len(axes), x.ndim)):
            return F.layer_norm(x, [x.shape[axis] for axis in axes], weight, bias, self.eps)
        variance, mean = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
        return _scaled((x - mean) * torch.rsqrt(variance + self.eps), axes, weight, bias)

    def divisor(self, x: Tensor) -> Tensor:
        return _deviation(x, self.axes, self.eps)


@dataclass(frozen=True)
class RmsNorm(_AxesNorm):
    """Values over the root of their mean square, over ``axes``; no mean is taken off, there is no bias."""

    kind: ClassVar[str] = "rms_norm"
    centred: ClassVar[bool] = False
    takes: ClassVar[tuple[str, ...]] = ("weight",)

    eps: float = 1e-6

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        x = inputs[0]
        axes = sorted(axis % x.ndim for axis in self.axes)
        normal = x * torch.rsqrt(x.square().mean(dim=axes, keepdim=True) + self.eps)
        return _scaled(normal, axes, weights.get("weight"), None)

    def divisor(self, x: Tensor) -> Tensor:
        return (x.square().mean(dim=self.axes, keepdim=True) + self.eps).sqrt()


@dataclass(frozen=True)
class UnitNorm(_AxesNorm):
    """Values over the root of the sum of their squares, or over ``eps`` where that is larger; no weights."""

    kind: ClassVar[str] = "unit_norm"
    centred: ClassVar[bool] = False
    takes: ClassVar[tuple[str, ...]] = ()

    eps: float = 1e-12

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return inputs[0] / self.divisor(inputs[0])

    def divisor(self, x: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(x, dim=self.axes, keepdim=True)
        return length.clamp_min(self.eps)


@dataclass(frozen=True)
class GroupNorm(Norm):
    """Over each of ``groups`` groups of the channels on axis 1, and over all that follows; weights ``[C]``."""

    kind: ClassVar[str] = "group_norm"
    channel_axis: ClassVar[int | None] = 1

    groups: int
    eps: float = 1e-5

    def over(self, shape: Shape) -> int:
        return elements(shape[1:]) // self.groups

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return F.group_norm(inputs[0], self.groups, weights.get("weight"), weights.get("bias"), self.eps)

    def divisor(self, x: Tensor) -> Tensor:
        groups = x.unflatten(1, (self.groups, -1))
        found = _deviation(groups, tuple(range(2, groups.ndim)), self.eps)
        return found.expand(-1, -1, groups.shape[2], *[-1] * (groups.ndim - 3)).flatten(1, 2)


@dataclass(frozen=True)
class InstanceNorm(Norm):
    """Over all that follows the channel, for each channel on axis 1; weights ``[C]``."""

    kind: ClassVar[str] = "instance_norm"
    channel_axis: ClassVar[int | None] = 1

    eps: float = 1e-5

    def over(self, shape: Shape) -> int:
        return elements(shape[2:])

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return F.instance_norm(inputs[0], weight=weights.get("weight"), bias=weights.get("bias"), eps=self.eps)

    def divisor(self, x: Tensor) -> Tensor:
        return _deviation(x, tuple(range(2, x.ndim)), self.eps)


def _deviation(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """The root of the variance over ``axes`` and ``eps``."""
    found: Tensor = (x.var(dim=axes, correction=0, keepdim=True) + eps).sqrt()
    return found


def _scaled(x: Tensor, axes: list[int], weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Scale and shift whose axes are those of ``x``."""
    sides = [x.shape[axis] if axis in axes else 1 for axis in range(x.ndim)]
    if weight is not None:
        x = x * weight.view(sides)
    return x if bias is None else x + bias.view(sides)
