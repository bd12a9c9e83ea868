"""Handlers (see ``aten``) of arithmetic, element by element."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Div, Maximum, Minimum, Mul, Sub
from searchspaces.ops.reductions.norm import UnitNorm
from searchspaces.tracing.aten import Value, Walk, arguments, handles, loose_name, packet, shape, tensor_name
from searchspaces.tracing.calls.lengths import unit_length
from searchspaces.tracing.calls.masks import hidden, infinite


def affine(walk: Walk, call: fx.Node, source: Any, scale: Any, shift: Any, suffix: str = "") -> Value:
    """``scale * x + shift`` with numbers or constants. One value per channel is an ``Affine``, which layers can take up; any
    other constant an operand of its own."""
    rank = len(shape(source))
    name = loose_name(walk, source)
    axis = walk.axis(name)
    vector = axis == 1 and walk.shape(name) == (*shape(source), 1, 1)
    channels = walk.shape(name)[axis] if axis is not None else 0
    found = [torch.as_tensor(given, dtype=torch.float64) for given in (scale, shift)]
    rows = [_per_channel(constant, rank, -1 if vector or axis is None else axis, channels) for constant in found]
    if axis is not None and rows[0] is not None and rows[1] is not None:
        weights = {"scale": rows[0].float().clone(), "shift": rows[1].float().clone()}
        return walk.emit(call, Affine(axis), (name,), weights, suffix=suffix)
    name = tensor_name(walk, source)
    if bool((found[0] != 1).any()):
        name = walk.emit(call, Mul(), (name,), {"other": as_operand(found[0])}, suffix=suffix)
    if bool((found[1] != 0).any()):
        name = walk.emit(call, Add(), (name,), {"other": as_operand(found[1])}, suffix=suffix)
    return name


def as_operand(value: Tensor) -> Tensor:
    """A constant operand: single precision, at least one axis."""
    return value.float().reshape(1) if value.ndim == 0 else value.float()


def _per_channel(constant: Tensor, rank: int, axis: int, channels: int) -> Tensor | None:
    """A constant as one value for each channel, ``[C]``; None where it is more than that."""
    if constant.numel() == 1:
        return constant.reshape(1).expand(channels)
    sides = [1] * rank
    if constant.ndim > rank or not -rank <= axis < rank:
        return None
    sides[axis] = channels
    padded = constant.reshape((1,) * (rank - constant.ndim) + tuple(constant.shape))
    return constant.reshape(channels) if list(padded.shape) == sides else None


def _negated(walk: Walk, call: fx.Node, source: Any, factor: float) -> str:
    return str(affine(walk, call, source, factor, 0.0, suffix="scaled"))


@handles(
    "add.Tensor", "sub.Tensor", "rsub.Scalar", "rsub.Tensor", "add.Scalar", "sub.Scalar", becomes=(Add, Sub, Mul, Affine, Maximum)
)
def _add(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    left, right = a["self"], a["other"]
    sign_left, sign_right = 1.0, float(a.get("alpha", 1))
    if packet(call) == "sub":
        sign_right = -sign_right
    elif packet(call) == "rsub":
        left, right, sign_left, sign_right = right, left, sign_right, -1.0
    x, y = walk.value(left), walk.value(right)
    if isinstance(x, str) and isinstance(y, str):
        if call.meta["val"].dtype == torch.bool:  # the sum of two conditions is that either holds
            return walk.emit(call, Maximum(), (tensor_name(walk, left), tensor_name(walk, right)))
        if _is_loose(walk, left, x) and _is_loose(walk, right, y) and sign_right == 1 and shape(left) == shape(right):
            return walk.emit(call, Add(), (x, y))
        if sign_right == 1:
            return walk.emit(call, Add(), (tensor_name(walk, left), tensor_name(walk, right)))
        if sign_right == -1 and (shape(left) != shape(right) or walk.axis(y) is None):
            return walk.emit(call, Sub(), (tensor_name(walk, left), tensor_name(walk, right)))
        negated = _negated(walk, call, right, sign_right)
        return walk.emit(call, Add(), (tensor_name(walk, left), negated))
    if isinstance(x, str):
        return _grown(walk, call, left, 1.0, _times(y, sign_right))
    return _grown(walk, call, right, sign_right, _times(x, sign_left))


def _times(constant: Any, factor: float) -> Any:
    return constant * factor


def _is_loose(walk: Walk, argument: Any, name: str) -> bool:
    """Whether a vector is carried as a picture of one pixel."""
    return isinstance(argument, fx.Node) and walk.shape(name) == (*shape(argument), 1, 1)


def _grown(walk: Walk, call: fx.Node, source: Any, scale: Any, shift: Any) -> Value:
    """An affine whose constants may have more axes or longer ones than the tensor has."""
    places = infinite(call, shift) if isinstance(shift, Tensor) else None
    if places is not None:
        inner = _grown(walk, call, source, scale, shift.masked_fill(places, 0.0))
        return hidden(walk, call, str(inner), places)
    scale, shift = narrowed(scale, shape(source)), narrowed(shift, shape(source))
    sides = [tuple(c.shape) for c in (scale, shift) if isinstance(c, Tensor)]
    if torch.broadcast_shapes(shape(source), *sides) == shape(source):
        return affine(walk, call, source, scale, shift)
    name = tensor_name(walk, source)
    if isinstance(scale, Tensor) or scale != 1:
        name = walk.emit(call, Mul(), (name,), {"other": as_operand(torch.as_tensor(scale))})
    if isinstance(shift, Tensor) or shift != 0:
        name = walk.emit(call, Add(), (name,), {"other": as_operand(torch.as_tensor(shift))})
    return name


def narrowed(constant: Any, sides: tuple[int, ...]) -> Any:
    """A constant with one place along axes where all are alike, such as ``ones_like``: it is one for pictures of any size."""
    if not isinstance(constant, Tensor) or constant.numel() < 2 or torch.broadcast_shapes(constant.shape, sides) != sides:
        return constant
    for axis in range(constant.ndim):
        first = constant.narrow(axis, 0, 1)
        if constant.shape[axis] > 1 and bool((constant == first).all()):
            constant = first
    return constant.contiguous()


@handles("mul.Tensor", "mul.Scalar", becomes=(Mul, Affine, Add))
def _mul(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    left, right = a["self"], a["other"]
    x, y = walk.value(left), walk.value(right)
    if isinstance(x, str) and isinstance(y, str):
        first, second = tensor_name(walk, left), tensor_name(walk, right)
        larger = torch.Size(shape(right)).numel() > torch.Size(shape(left)).numel()
        return walk.emit(call, Mul(), (second, first) if larger else (first, second))
    if isinstance(x, str):
        return _grown(walk, call, left, y, 0.0)
    return _grown(walk, call, right, x, 0.0)


@handles("div.Tensor", "div.Scalar", "true_divide.Tensor", becomes=(Div, UnitNorm, Affine, Mul))
def _div(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    x, y = walk.value(a["self"]), walk.value(a["other"])
    if isinstance(x, str) and isinstance(y, str):
        if (unit := unit_length(walk, x, y)) is not None:
            return walk.emit(call, unit, (x,))
        return walk.emit(call, Div(), (tensor_name(walk, a["self"]), tensor_name(walk, a["other"])))
    if isinstance(x, str):
        inverse = 1.0 / torch.as_tensor(y, dtype=torch.float64)
        return _grown(walk, call, a["self"], inverse, 0.0)
    other = {"other": as_operand(torch.as_tensor(x))}
    return walk.emit(call, Div(constant_first=True), (tensor_name(walk, a["other"]),), other)


@handles("neg.default", becomes=(Affine, Mul))
def _neg(walk: Walk, call: fx.Node) -> Value:
    return affine(walk, call, call.args[0], -1.0, 0.0)


@handles(
    *("minimum.default", "fmin.default", "min.other", "maximum.default", "fmax.default", "max.other"), becomes=(Minimum, Maximum)
)
def _extreme(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    op = Minimum() if "min" in packet(call) else Maximum()
    x, y = walk.value(a["self"]), walk.value(a["other"])
    if isinstance(x, str) and isinstance(y, str):
        return walk.emit(call, op, (tensor_name(walk, a["self"]), tensor_name(walk, a["other"])))
    source, constant = (a["self"], y) if isinstance(x, str) else (a["other"], x)
    return walk.emit(call, op, (tensor_name(walk, source),), {"other": as_operand(constant)})


@handles("clamp.Tensor", "clamp_min.Tensor", "clamp_max.Tensor", becomes=(Minimum, Maximum))
def _clamp_between(walk: Walk, call: fx.Node) -> Value:
    """Limits that are tensors: the larger of one, the smaller of the other."""
    a = arguments(call)
    name = tensor_name(walk, a["self"])
    for limit, op in ((a.get("min"), Maximum()), (a.get("max"), Minimum())):
        if limit is None:
            continue
        found = walk.value(limit)
        if isinstance(found, Tensor):
            name = walk.emit(call, op, (name,), {"other": as_operand(found)})
        else:
            name = walk.emit(call, op, (name, tensor_name(walk, limit)))
    return name
