"""Functions of one value: activations, roots, exponentials. Each may stand alone; some may be fused to a layer (``FUSED``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hwmodels.workload import Bend, Map, Work
from searchspaces.ops.base import Op, Roles, Shape

Variant = Literal["", "gelu", "sampled", "logistic", "gated"]
"""Of ``workload.Map``."""


@dataclass(frozen=True)
class Activation(Op):
    """``y = f(x)``, element by element. ``function`` is what it is to hardware: a clamp, a slope below zero, or a function that
    is looked up."""

    family: ClassVar[str] = "unary"
    function: ClassVar[Bend] = "function"
    variant: ClassVar[Variant] = ""

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """The function itself."""
        raise NotImplementedError

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return self.of(inputs[0], weights)

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Map(self.function, variant=self.variant)


@dataclass(frozen=True)
class Relu(Activation):
    """``max(x, 0)``."""

    kind: ClassVar[str] = "relu"
    function: ClassVar[Bend] = "clamp"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return F.relu(x)


@dataclass(frozen=True)
class Relu6(Activation):
    """``x`` within 0..6."""

    kind: ClassVar[str] = "relu6"
    function: ClassVar[Bend] = "clamp"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return F.relu6(x)


@dataclass(frozen=True)
class LeakyRelu(Activation):
    """``x``, or ``slope x`` below zero."""

    kind: ClassVar[str] = "leaky_relu"
    function: ClassVar[Bend] = "slope"

    slope: float

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return F.leaky_relu(x, self.slope)


@dataclass(frozen=True)
class PRelu(Activation):
    """``x``, or ``slope[c] x`` below zero, with a slope for each channel on axis 1; weight "slope" ``[C]``."""

    kind: ClassVar[str] = "prelu"
    function: ClassVar[Bend] = "slopes"
    needs: ClassVar[tuple[str, ...]] = ("slope",)

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return F.prelu(x, weights["slope"])


@dataclass(frozen=True)
class Clip(Activation):
    """``x`` within ``low..high``, either of which may be infinite."""

    kind: ClassVar[str] = "clip"
    function: ClassVar[Bend] = "clamp"

    low: float
    high: float

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return x.clamp(self.low, self.high)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """``1 / (1 + exp(-x))``."""

    kind: ClassVar[str] = "sigmoid"
    variant: ClassVar[Variant] = "logistic"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.sigmoid(x)


@dataclass(frozen=True)
class Tanh(Activation):
    """Hyperbolic tangent."""

    kind: ClassVar[str] = "tanh"
    variant: ClassVar[Variant] = "logistic"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.tanh(x)


@dataclass(frozen=True)
class Gelu(Activation):
    """``x`` times the normal distribution function of x, by erf, or ``approximate`` "tanh" (Hendrycks and Gimpel 2016)."""

    kind: ClassVar[str] = "gelu"
    variant: ClassVar[Variant] = "gelu"

    approximate: Literal["none", "tanh"] = "none"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return F.gelu(x, approximate=self.approximate)


@dataclass(frozen=True)
class Silu(Activation):
    """``x sigmoid(x)``."""

    kind: ClassVar[str] = "silu"
    variant: ClassVar[Variant] = "gated"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return F.silu(x)


@dataclass(frozen=True)
class Elu(Activation):
    """``x``, or ``alpha (exp(x) - 1)`` below zero."""

    kind: ClassVar[str] = "elu"

    alpha: float = 1.0

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return F.elu(x, self.alpha)


@dataclass(frozen=True)
class HardSwish(Activation):
    """``x`` times ``x + 3`` within 0..6, over 6."""

    kind: ClassVar[str] = "hard_swish"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return F.hardswish(x)


@dataclass(frozen=True)
class HardSigmoid(Activation):
    """``x + 3`` within 0..6, over 6."""

    kind: ClassVar[str] = "hard_sigmoid"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return F.hardsigmoid(x)


@dataclass(frozen=True)
class Softplus(Activation):
    """``log(1 + exp(x))``."""

    kind: ClassVar[str] = "softplus"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return F.softplus(x)


@dataclass(frozen=True)
class Mish(Activation):
    """``x tanh(log(1 + exp(x)))`` (Misra 2019)."""

    kind: ClassVar[str] = "mish"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return F.mish(x)


@dataclass(frozen=True)
class Erf(Activation):
    """The error function."""

    kind: ClassVar[str] = "erf"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.erf(x)


@dataclass(frozen=True)
class Exp(Activation):
    """``exp(x)``."""

    kind: ClassVar[str] = "exp"
    variant: ClassVar[Variant] = "sampled"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.exp(x)


@dataclass(frozen=True)
class Log(Activation):
    """The natural logarithm."""

    kind: ClassVar[str] = "log"
    variant: ClassVar[Variant] = "sampled"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.log(x)


def root(x: Tensor) -> Tensor:
    """The square root. Its derivative at zero, infinite, is taken for zero: times that of the variance of a constant, which is
    zero, it would be no number, and a whole backward pass with it."""
    positive = x != 0
    return torch.sqrt(torch.where(positive, x, 1.0)) * positive


@dataclass(frozen=True)
class Sqrt(Activation):
    """The square root."""

    kind: ClassVar[str] = "sqrt"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return root(x)


@dataclass(frozen=True)
class Rsqrt(Activation):
    """One over the square root."""

    kind: ClassVar[str] = "rsqrt"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.rsqrt(x)


@dataclass(frozen=True)
class Reciprocal(Activation):
    """``1 / x``."""

    kind: ClassVar[str] = "reciprocal"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.reciprocal(x)


@dataclass(frozen=True)
class Abs(Activation):
    """``|x|``."""

    kind: ClassVar[str] = "abs"
    function: ClassVar[Bend] = "slope"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.abs(x)


@dataclass(frozen=True)
class Neg(Activation):
    """``-x``."""

    kind: ClassVar[str] = "neg"
    function: ClassVar[Bend] = "slope"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.neg(x)


@dataclass(frozen=True)
class Sin(Activation):
    """The sine."""

    kind: ClassVar[str] = "sin"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.sin(x)


@dataclass(frozen=True)
class Cos(Activation):
    """The cosine."""

    kind: ClassVar[str] = "cos"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.cos(x)


@dataclass(frozen=True)
class Atan(Activation):
    """The arc tangent."""

    kind: ClassVar[str] = "atan"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.atan(x)


@dataclass(frozen=True)
class Pow(Activation):
    """``x`` to a constant power."""

    kind: ClassVar[str] = "pow"

    exponent: float

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.pow(x, self.exponent)


FUSED = (Relu, Relu6, LeakyRelu, PRelu)
"""Activations that a layer or an addition applies as it writes its result."""


def activate(x: Tensor, activation: Activation | None, weights: Mapping[str, Tensor]) -> Tensor:
    """``x`` through a fused activation, if there is one, whose weights stand on the node that it is fused to."""
    return x if activation is None else activation.of(x, weights)


def bounds(activation: Activation | None) -> tuple[float, float]:
    """Lowest and highest value that a clamp lets through; infinite where there is none."""
    match activation:
        case Relu():
            return 0.0, math.inf
        case Relu6():
            return 0.0, 6.0
        case Clip(low=low, high=high):
            return low, high
    return -math.inf, math.inf
