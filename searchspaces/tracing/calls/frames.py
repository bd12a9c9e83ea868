"""Constants that are written over the border of a tensor, or over some of its channels: padding with these numbers.

Networks whose branches of 1x1 and 3x3 convolutions become one layer write the bias of the first into the zeros around its output
(``y = F.pad(y, (1, 1, 1, 1)); y[:, :, :1] = bias``, and so on for the other three sides): ECBSR in training, FMEN as it ships.
``ir.framed`` makes that convolution one with padding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, fx

from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.moves.move import Concat, Slice
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead
from searchspaces.tracing.aten import Walk

Amounts = tuple[int, ...]
NONE: Amounts = (0, 0, 0, 0)


class Frame(NamedTuple):
    """``inner`` with zeros around it, and around those ``written`` rows and columns of one number per channel."""

    inner: str
    zeros: Amounts
    written: Amounts
    values: Tensor | None


def overwritten(walk: Walk, call: fx.Node, whole: str, place: tuple[int, int, int], values: Tensor) -> str:
    """The tensor ``whole`` with ``values`` at a place of it: axis, first place, and how many.

    Raises:
        NotRead: values that differ along other axes than the channels, or along those that are written.
    """
    sides = walk.shape(whole)
    axis, start, count = place
    behind = sides[axis] - start - count
    if start and behind:  # what lies in front ends with it
        front = overwritten(walk, call, walk.emit(call, Slice(0, start + count, axis), (whole,), suffix="before"), place, values)
        rest = walk.emit(call, Slice(start + count, sides[axis], axis), (whole,), suffix="behind")
        return walk.emit(call, Concat(axis), (front, rest), suffix="written")
    numbers = _by_channel(values, sides, axis)
    side = 2 * (len(sides) - 1 - axis) + (start > 0)
    amounts = tuple(count if number == side else 0 for number in range(max(4, side + 1 + (side + 1) % 2)))
    if axis == 1 or len(sides) != 4:
        if not bool((numbers == numbers[0]).all()):
            raise NotRead("writes constants that differ from place to place into a tensor that is computed")
        kept = walk.emit(call, Pad(tuple(-amount for amount in amounts)), (whole,), suffix="kept")
        return walk.emit(call, Pad(amounts, "constant", float(numbers[0])), (kept,), suffix="around")
    frame = _frame(walk, whole)
    alike = frame.values is None or bool((frame.values == numbers).all())
    if alike and frame.zeros[side] == count:
        written, zeros = _with(frame.written, side, count), _with(frame.zeros, side, 0)
        return _framed(walk, call, Frame(frame.inner, zeros, written, numbers))
    kept = walk.emit(call, Pad(tuple(-amount for amount in amounts)), (whole,), suffix="kept")
    return _framed(walk, call, Frame(kept, NONE, amounts, numbers))


def _with(amounts: Amounts, side: int, count: int) -> Amounts:
    return tuple(count if number == side else amount for number, amount in enumerate(amounts))


def _by_channel(values: Tensor, sides: tuple[int, ...], axis: int) -> Tensor:
    """One number for each channel of a picture, or along the axis that is written."""
    of = 1 if len(sides) == 4 else axis
    rows = values.movedim(of, 0).flatten(1)
    if bool((rows != rows[:, :1]).any()):
        raise NotRead("writes constants that differ from place to place into a tensor that is computed")
    return rows[:, 0].float()


def _framed(walk: Walk, call: fx.Node, frame: Frame) -> str:
    name, values = frame.inner, frame.values
    assert values is not None
    if any(frame.zeros):
        name = walk.emit(call, Pad(frame.zeros), (name,), suffix="zeros")
    if bool((values == values[0]).all()):
        return walk.emit(call, Pad(frame.written, "constant", float(values[0])), (name,), suffix="frame")
    one = torch.ones_like(values)
    name = walk.emit(call, Affine(), (name,), {"scale": one, "shift": -values}, suffix="less")
    name = walk.emit(call, Pad(frame.written), (name,), suffix="around")
    return walk.emit(call, Affine(), (name,), {"scale": one, "shift": values}, suffix="frame")


def _frame(walk: Walk, name: str) -> Frame:
    """What a tensor is made of, if it has a frame."""
    inner, written, values = name, NONE, None
    outer = walk.node(name)
    if isinstance(outer.op, Affine) and isinstance(walk.node(outer.inputs[0]).op, Pad):
        around = walk.node(outer.inputs[0])
        less = walk.node(around.inputs[0])
        if isinstance(less.op, Affine) and torch.equal(less.weights["shift"], -outer.weights["shift"]) and _zero(around.op):
            inner, written, values = less.inputs[0], _amounts(around.op), outer.weights["shift"]
    elif isinstance(outer.op, Pad) and outer.op.mode == "constant" and outer.op.value and len(outer.op.padding) == 4:
        inner, written = outer.inputs[0], _amounts(outer.op)
        values = torch.full((walk.shape(name)[1],), outer.op.value)
    zeros = walk.node(inner)
    if _zero(zeros.op):
        return Frame(zeros.inputs[0], _amounts(zeros.op), written, values)
    return Frame(inner, NONE, written, values)


def _zero(op: object) -> bool:
    return isinstance(op, Pad) and op.mode == "constant" and not op.value and len(op.padding) == 4 and min(op.amounts) >= 0


def _amounts(op: object) -> Amounts:
    assert isinstance(op, Pad)
    return op.amounts
