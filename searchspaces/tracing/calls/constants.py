"""Constants where a tensor is needed: learned queries in front of a product, tokens behind others, places to sample at."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.move import Reshape, Slice
from searchspaces.tracing.aten import Walk, tensor_name


def as_tensor(walk: Walk, call: fx.Node, values: Tensor, beside: str, suffix: str = "constant") -> str:
    """A tensor of the constant ``values``, which are added to zero times one number of the tensor ``beside``."""
    name = beside
    for axis, side in enumerate(walk.shape(beside)):
        if side > 1:
            name = walk.emit(call, Slice(0, 1, axis), (name,), suffix="beside")
    if len(walk.shape(name)) != values.ndim:
        name = walk.emit(call, Reshape((1,) * values.ndim), (name,), suffix="number")
    name = walk.emit(call, Mul(), (name,), {"other": values.new_zeros(1).float()}, suffix="nothing")
    return walk.emit(call, Add(), (name,), {"other": values.float().contiguous()}, suffix=suffix)


def tensors(walk: Walk, call: fx.Node, *arguments: Any) -> list[str]:
    """The names of arguments, at least one of which is computed; constants among them as tensors, of no fewer axes than it: a
    matrix for each head has no axis of pictures."""
    constants = [walk.value(one) if isinstance(walk.value(one), Tensor) else None for one in arguments]
    names = ["" if constant is not None else tensor_name(walk, one) for one, constant in zip(arguments, constants, strict=True)]
    beside = next(filter(None, names))
    rank = len(walk.shape(beside))
    return [
        name if constant is None else as_tensor(walk, call, constant[(None,) * (rank - constant.ndim)], beside)
        for name, constant in zip(names, constants, strict=True)
    ]
