"""Rounding that gradients pass through unchanged (Bengio, Leonard and Courville 2013)."""

from __future__ import annotations

import torch
from torch import Tensor

from hwsearch.quant.learn.quantizers.grid import on_given_grid
from hwsearch.quant.network.formats import TensorFormat


class _Round(torch.autograd.Function):
    """Rounding whose gradient is that of the identity."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


def rounded(x: Tensor) -> Tensor:
    """The nearest whole numbers, half to even."""
    found: Tensor = _Round.apply(x)  # type: ignore[no-untyped-call]  # torch does not type it
    return found


def stored(x: Tensor, fmt: TensorFormat) -> Tensor:
    """What is left of real values in a format that is not trained; the gradient passes where nothing is clipped. Floating point
    is left as it is: its rounding is far below that of anything that is trained."""
    if fmt.is_float:
        return x
    low, high = fmt.qmin - fmt.zero_point, fmt.qmax - fmt.zero_point
    found = on_given_grid(x, fmt.scale, low, high)
    return found if fmt.keeps_all else found + (fmt.fake(x) - found).detach()
