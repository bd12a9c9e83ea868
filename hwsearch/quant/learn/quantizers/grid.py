"""Rounding a tensor to the codes of a grid, and its gradients: one pass over the values each way.

In a network of few bits every value is rounded in every step of training. Written as torch operations that is ten passes over
memory, and a third of a step's time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwmodels.compiled import compiled

PARTIAL = 64
"""Partial sums of a gradient: they are independent, so a processor works on several at once, and single precision is enough."""


@compiled
def _forward(x: np.ndarray, step: np.float32, zero: np.float32, top: np.float32, out: np.ndarray) -> None:
    for i in range(x.shape[0]):
        out[i] = (min(max(np.rint(x[i] / step) + zero, np.float32(0)), top) - zero) * step


@compiled(inline="always")
def _shares(
    x: np.float32, arriving: np.float32, step: np.float32, zero: np.float32, top: np.float32
) -> tuple[np.float32, np.float32, np.float32]:
    """What of an arriving gradient one value hands to itself, to the step, and to the zero point in units of ``-step``."""
    value = x / step
    code = np.rint(value) + zero
    kept = min(max(code, np.float32(0)), top)
    inside = np.float32(1) if kept == code else np.float32(0)
    return arriving * inside, arriving * (kept - zero - value * inside), arriving * (np.float32(1) - inside)


@compiled
def _backward(
    x: np.ndarray, gradient: np.ndarray, step: np.float32, zero: np.float32, top: np.float32, out: np.ndarray
) -> tuple[float, float]:
    """Fills the gradient of ``x``; returns those of the step and of the zero point."""
    to_step, clipped = np.zeros(PARTIAL, np.float32), np.zeros(PARTIAL, np.float32)
    whole = x.shape[0] - x.shape[0] % PARTIAL
    for first in range(0, whole, PARTIAL):
        last = first + PARTIAL
        values, arriving, found = x[first:last], gradient[first:last], out[first:last]
        for k in range(PARTIAL):  # a number of turns that the compiler knows: five times as fast
            found[k], stepped, lost = _shares(values[k], arriving[k], step, zero, top)
            to_step[k] += stepped
            clipped[k] += lost
    for i in range(whole, x.shape[0]):
        out[i], stepped, lost = _shares(x[i], gradient[i], step, zero, top)
        to_step[i - whole] += stepped
        clipped[i - whole] += lost
    return float(to_step.sum()), -float(step) * float(clipped.sum())


@compiled
def _forward_given(x: np.ndarray, step: np.float32, low: np.float32, high: np.float32, out: np.ndarray) -> int:
    """Fills ``out``; returns how many values were not between the ends. What is no number stays none."""
    outside = 0
    for i in range(x.shape[0]):
        value = x[i] / step
        inside = (value >= low) and (value <= high)
        outside += 0 if inside else 1
        kept = low if value < low else value
        kept = high if kept > high else kept
        out[i] = np.rint(kept) * step
    return outside


@compiled
def _inside_given(x: np.ndarray, step: np.float32, low: np.float32, high: np.float32, out: np.ndarray) -> None:
    for i in range(x.shape[0]):
        value = x[i] / step
        out[i] = (value >= low) and (value <= high)


class _OnGivenGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: float, low: int, high: int) -> Tensor:
        x = x.detach()
        out = torch.empty_like(x)
        if out.stride() != x.stride():  # with gaps, or values that several places share
            x = x.contiguous()
            out = torch.empty_like(x)
        numbers, values = (np.float32(step), np.float32(low), np.float32(high)), _in_memory(x)
        ctx.step = step
        ctx.clips = _forward_given(values, *numbers, _in_memory(out)) > 0
        if ctx.clips:
            inside = torch.empty_like(x, dtype=torch.bool)
            _inside_given(values, *numbers, _in_memory(inside))
            ctx.save_for_backward(inside)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        # Through the product and the quotient, as torch would take it: trained integers are the same, bit by bit.
        found = (gradient * ctx.step).div_(ctx.step)
        return (torch.where(ctx.saved_tensors[0], found, 0.0) if ctx.clips else found), None, None, None


def _in_memory(x: Tensor) -> np.ndarray:
    """The values of a tensor without gaps, in the order in which they lie."""
    found: np.ndarray = x.as_strided((x.numel(),), (1,)).numpy()
    return found


class _OnGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, zero: Tensor, top: int) -> Tensor:
        x = x.detach().contiguous()
        numbers = np.float32(step.item()), np.float32(zero.item()), np.float32(top)
        ctx.save_for_backward(x)
        ctx.numbers = numbers
        out = torch.empty_like(x)
        _forward(x.view(-1).numpy(), *numbers, out.view(-1).numpy())
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (x,) = ctx.saved_tensors
        out = torch.empty_like(x)
        (step, zero, top), arriving = ctx.numbers, gradient.contiguous().view(-1).numpy()
        to_step, to_zero = _backward(x.view(-1).numpy(), arriving, step, zero, top, out.view(-1).numpy())
        return out, torch.tensor(to_step), torch.tensor(to_zero), None


def on_grid(x: Tensor, step: Tensor, zero: Tensor, top: int) -> Tensor:
    """``(clamp(rint(x / step) + zero, 0, top) - zero) step``, of float32 of any shape.

    Gradients are those of LSQ+ (Bhalgat et al. 2020): to ``x`` that of the identity where nothing is clipped; to the step, a
    scalar, the difference between code and value in steps, the code alone where it is clipped; to the zero point ``-step`` there.
    """
    found: Tensor = _OnGrid.apply(x, step, zero, top)  # type: ignore[no-untyped-call]  # torch does not type it
    return found


def on_given_grid(x: Tensor, step: float, low: int, high: int) -> Tensor:
    """``rint(clamp(x / step, low, high)) step``, of float32 of any shape; the gradient passes where nothing is clipped.

    Of most tensors nothing is: then nothing is remembered for the gradient.
    """
    found: Tensor = _OnGivenGrid.apply(x, step, low, high)  # type: ignore[no-untyped-call]  # torch does not type it
    return found
