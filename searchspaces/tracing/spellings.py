"""What ATen operators are composed of that PyTorch takes for whole, or takes apart in a way that only its own kernels can run.

Each is written in operators of PyTorch, and ``composition`` puts it in the place of the call. Whatever depends on constants alone
becomes one, as in any program. ``NotImplemented``: this call is not such a composition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LONGEST = 1024
"""Places that a running total is summed over by a matrix, which has the square of that in numbers."""
STRAIGHT = 15.0
"""Where a softplus is its argument within single precision: exp(-15) is 3e-7."""


def _distances(one: Tensor, other: Tensor, p: float, mode: int | None = None) -> Any:
    """Of every row ``[..., P, M]`` to every other ``[..., R, M]``."""
    apart = one.unsqueeze(-2) - other.unsqueeze(-3)
    if p == 2:
        return apart.square().sum(-1).sqrt()
    if p == 1:
        return apart.abs().sum(-1)
    return apart.abs().amax(-1) if p == float("inf") else NotImplemented


def _running_total(x: Tensor, dim: int, *, dtype: Any = None) -> Any:
    """A product with a matrix of ones on and above its diagonal."""
    if x.ndim == 0 or x.shape[dim] > LONGEST or dtype not in (None, x.dtype):
        return NotImplemented
    side = x.shape[dim]
    return (x.movedim(dim, -1) @ torch.ones(side, side).triu()).movedim(-1, dim)


def _filled(x: Tensor, dim: int, index: Tensor, value: Any) -> Any:
    side = x.shape[dim]
    chosen = (torch.arange(side).unsqueeze(1) == index.reshape(1, -1) % side).any(1)
    sides = [1] * x.ndim
    sides[dim] = side
    chosen = chosen.view(sides)
    return torch.where(chosen, value, x) if isinstance(value, Tensor) else x.masked_fill(chosen, value)


def _softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Any:
    if threshold >= STRAIGHT:
        return NotImplemented
    return torch.where(x * beta > threshold, x, F.softplus(x, beta, 20.0))


def _divided(x: Tensor, other: Any, *, rounding_mode: str | None = None) -> Any:
    return {None: torch.positive, "floor": torch.floor, "trunc": torch.trunc}[rounding_mode](x / other)


def _floor_divided(x: Tensor, other: Any) -> Any:
    return torch.floor(x / other)


def _strided(x: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Any:
    """A view by distances in memory as one by axes: each axis of ``size`` goes along one of ``x``; two go along the same where
    the one behind stays within a window, and the other tells which."""
    if storage_offset:
        return NotImplemented
    if _in_order(x.shape, x.stride()) and _in_order(size, stride) and _count(size) == x.numel():
        return x.reshape(list(size))
    steps = {step: axis for axis, (step, side) in enumerate(zip(x.stride(), x.shape, strict=True)) if side > 1}
    along: dict[int, list[tuple[int, int, int]]] = {}
    for place, (side, step) in enumerate(zip(size, stride, strict=True)):
        fitting = [
            (own, axis) for own, axis in steps.items() if own and step % own == 0 and (step // own) * (side - 1) < x.shape[axis]
        ]
        if side == 1:
            continue
        if not fitting:
            return NotImplemented
        own, axis = max(fitting)
        along.setdefault(axis, []).append((place, side, step // own))
    found, places = x, list[int]()
    for axis in range(x.ndim):
        read = along.get(axis, [])
        windows = sorted(read, key=lambda entry: -entry[2])
        if len(windows) > 2 or (len(windows) == 2 and windows[1][2] != 1):
            return NotImplemented
        if len(windows) == 2:
            (first, count, step), (second, reach, _) = windows
            if (count - 1) * step + reach > x.shape[axis]:
                return NotImplemented
            found = found.narrow(axis, 0, (count - 1) * step + reach).unfold(axis, reach, step)
            places += [first]
            along[axis] = [(second, reach, 1)]
        elif windows:
            place, side, step = windows[0]
            found = found.narrow(axis, 0, (side - 1) * step + 1)
            found = found if step == 1 else found[(*[slice(None)] * axis, slice(None, None, step))]
            places.append(place)
            along[axis] = []
        else:
            found = found.narrow(axis, 0, 1)
            places.append(-1)
            along[axis] = []
    places += [along[axis][0][0] for axis in range(x.ndim) if along[axis]]
    kept = [axis for axis, place in enumerate(places) if place >= 0]
    order = sorted(kept, key=lambda axis: places[axis])
    alone = [axis for axis in range(found.ndim) if axis not in kept]
    return found.permute([*alone, *order]).reshape(list(size))


def _count(size: Sequence[int]) -> int:
    found = 1
    for side in size:
        found *= side
    return found


def _in_order(size: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether distances are those of values one behind the other."""
    wanted = 1
    for side, step in zip(reversed(size), reversed(stride), strict=True):
        if side > 1 and step != wanted:
            return False
        wanted *= side
    return True


_aten = torch.ops.aten
SPELLINGS: Mapping[Any, Callable[..., Any]] = {
    _aten._cdist_forward.default: _distances,
    _aten.cumsum.default: _running_total,
    _aten.index_fill.int_Scalar: _filled,
    _aten.index_fill.int_Tensor: _filled,
    _aten.softplus.default: _softplus,
    _aten.as_strided.default: _strided,
    _aten.floor_divide.default: _floor_divided,
    _aten.div.Tensor_mode: _divided,
    _aten.div.Scalar_mode: _divided,
}
"""Operator -> what it is composed of."""
WRITTEN: Mapping[Any, Any] = {
    _aten.cumsum_.default: _aten.cumsum.default,
    _aten.index_fill_.int_Scalar: _aten.index_fill.int_Scalar,
    _aten.index_fill_.int_Tensor: _aten.index_fill.int_Tensor,
}
"""Operator that writes into its first tensor -> the one that gives what it writes."""


def spelled(target: Any) -> Any:
    """The operator of ``SPELLINGS`` for a call's target; None where there is none."""
    found = WRITTEN.get(target, target)
    return found if found in SPELLINGS else None
