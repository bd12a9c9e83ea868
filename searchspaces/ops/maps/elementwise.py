"""Functions of two or three tensors, element by element, with numpy's broadcasting.

A constant operand stands among the weights as "other"; ``constant_first`` where it is the left one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from hwmodels.workload import Finish, Function, Map, Work
from searchspaces.ops.base import Op, Roles, Shape
from searchspaces.ops.maps.activation import Activation, activate


@dataclass(frozen=True)
class Elementwise(Op):
    """``f(a, b)``; ``function`` is what it is to hardware."""

    arity: ClassVar[tuple[int, int | None]] = (2, 2)
    takes: ClassVar[tuple[str, ...]] = ("other",)
    function: ClassVar[Function] = "add"
    variant: ClassVar[Literal["", "difference"]] = ""

    constant_first: bool = False

    def of(self, a: Tensor, b: Tensor) -> Tensor:
        """The function itself."""
        raise NotImplementedError

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        others = [weights["other"]] if "other" in weights else []
        return tuple(torch.broadcast_shapes(*inputs, *others))

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        if "other" not in weights:
            return self.of(inputs[0], inputs[1])
        if self.constant_first:
            return self.of(weights["other"], inputs[0])
        return self.of(inputs[0], weights["other"])

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Map(self.function, arity=2, variant=self.variant)


@dataclass(frozen=True)
class Add(Elementwise):
    """``a + b``, activated."""

    kind: ClassVar[str] = "add"
    aligns: ClassVar[bool] = True

    activation: Activation | None = None

    def of(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return activate(super().run(inputs, weights), self.activation, weights)

    @property
    def finish(self) -> Finish:
        return "none" if self.activation is None else self.activation.function


@dataclass(frozen=True)
class Sub(Elementwise):
    """``a - b``."""

    kind: ClassVar[str] = "sub"
    aligns: ClassVar[bool] = True
    variant: ClassVar[Literal["", "difference"]] = "difference"

    def of(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b


@dataclass(frozen=True)
class Mul(Elementwise):
    """``a b``."""

    kind: ClassVar[str] = "mul"
    function: ClassVar[Function] = "mul"

    def of(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b


@dataclass(frozen=True)
class Div(Elementwise):
    """``a / b``."""

    kind: ClassVar[str] = "div"
    function: ClassVar[Function] = "division"

    def of(self, a: Tensor, b: Tensor) -> Tensor:
        return a / b


@dataclass(frozen=True)
class SquaredDifference(Elementwise):
    """``(a - b)^2``."""

    kind: ClassVar[str] = "squared_difference"
    aligns: ClassVar[bool] = True
    function: ClassVar[Function] = "mul"
    variant: ClassVar[Literal["", "difference"]] = "difference"

    def of(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b) ** 2


@dataclass(frozen=True)
class Minimum(Elementwise):
    """The smaller of two."""

    kind: ClassVar[str] = "minimum"
    aligns: ClassVar[bool] = True
    function: ClassVar[Function] = "compare"

    def of(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.minimum(a, b)


@dataclass(frozen=True)
class Maximum(Elementwise):
    """The larger of two."""

    kind: ClassVar[str] = "maximum"
    aligns: ClassVar[bool] = True
    function: ClassVar[Function] = "compare"

    def of(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a, b)


@dataclass(frozen=True)
class Where(Op):
    """The first input where the constant weight "mask" is not zero, the second elsewhere; broadcast."""

    kind: ClassVar[str] = "where"
    arity: ClassVar[tuple[int, int | None]] = (2, 2)
    needs: ClassVar[tuple[str, ...]] = ("mask",)
    takes: ClassVar[tuple[str, ...]] = ("other",)
    aligns: ClassVar[bool] = True

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        return tuple(torch.broadcast_shapes(*inputs, *weights.values()))

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        other = weights["other"] if "other" in weights else inputs[1]
        return torch.where(weights["mask"] != 0, inputs[0], other)

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Map("compare", arity=3)
