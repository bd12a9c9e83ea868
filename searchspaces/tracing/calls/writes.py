"""Calls that write into tensors: what they wrote is from there on the value of what they wrote to.

A part that is written (``y[:, :16] = conv(y[:, :16])``) makes a new tensor of the whole: what lies before the part, the part, and
what lies behind it. Parts that were taken before a write and are read after it keep their old value, which the comparison of the
graph with the module finds.

A tensor that begins as a constant (``y = torch.zeros_like(x)``) and is filled part by part is a ``Blank`` until every place of it
is written; then it is those parts behind one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, fx

from searchspaces.ops.moves.move import Concat, Gather, Reshape, Slice
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead
from searchspaces.tracing.aten import (
    Value,
    Walk,
    arguments,
    handles,
    loose_name,
    operator_name,
    packet,
    shape,
    slice_start,
    written_name,
)
from searchspaces.tracing.calls.frames import overwritten

SLICES = ("slice.Tensor", "narrow.default", "select.int")
PARTS = ("slice", "select", "narrow", "view", "permute", "transpose", "unsqueeze", "squeeze", "diagonal", "expand")
"""Calls that give a view of another tensor."""


@dataclass(frozen=True)
class Blank:
    """A constant of which some places along one axis have been written: for each place the tensor that was, and where in it.

    Attributes:
        value: what the others are, None: not all the same.
        woven: rows of which some columns have been written (``y[:, :, ::2, 1::2] = x``), by their first one and their distance.
    """

    sides: tuple[int, ...]
    axis: int
    places: tuple[tuple[str, int] | None, ...]
    value: float | None
    woven: Mapping[tuple[int, int], Blank] = field(default_factory=dict)


FULL = {"zeros": 0.0, "ones": 1.0, "empty": 0.0}


@handles(*(f"{name}_like.default" for name in (*FULL, "full")), *(f"new_{name}.default" for name in (*FULL, "full")), becomes=())
def _constant_like(walk: Walk, call: fx.Node) -> Value:
    """One value everywhere, in the shape that was traced."""
    word = packet(call).removeprefix("new_").removesuffix("_like")
    value = FULL[word] if word in FULL else float(arguments(call)["fill_value"])
    return torch.full(shape(call), value, dtype=call.meta["val"].dtype)


class Values(Walk, Protocol):
    """A walk that knows the value of every call."""

    values: dict[fx.Node, Value | Blank]


@handles("copy.default", becomes=())
def _copy(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if isinstance(constant := walk.value(a["src"]), Tensor):
        return constant.expand(shape(call))
    if shape(a["src"]) != shape(call):
        raise NotRead("writes one value to several places")
    return loose_name(walk, a["src"])


def in_place(call: fx.Node) -> bool:
    """Whether a call writes to its first argument."""
    name = written_name(call)
    return name.endswith("_") and not name.endswith("__")


def write(walk: Values, call: fx.Node) -> None:
    """What an operator in place wrote is now the value of what it wrote to, and of what that is a part of.

    Raises:
        NotRead: it wrote to a view that is no slice.
    """
    target: Any = call.args[0]
    before = walk.values.get(target)
    found = walk.values[target] = walk.values[call]
    while _is_part(target) and (isinstance(found, str) or (isinstance(found, Tensor) and not isinstance(before, Tensor))):
        if operator_name(target) not in SLICES:
            raise NotRead("writes into a part of a tensor that is read elsewhere")
        whole: Any = _narrowed(arguments(target)["self"])
        before = walk.values.get(whole)
        if isinstance(found, Tensor):
            found = _overwritten(walk, call, target, before, found)
        elif isinstance(before, str):
            found = _joined(walk, call, target, before, found)
        elif isinstance(before, Tensor | Blank) and (rows := _rows_of_constant(walk, target, whole)) is not None:
            walk.values[_narrowed(arguments(whole)["self"])] = _woven(walk, call, target, whole, rows, found)
            return
        elif isinstance(before, Tensor | Blank) and _is_part(whole) and (value := _unwritten(whole, before)) is not None:
            found = _surrounded(walk, call, target, value, found)
        elif isinstance(before, Tensor | Blank) and not _is_part(whole):
            found = _filled(walk, call, target, before, found)
        else:
            raise NotRead("writes what is computed into a part of a part of a constant")
        walk.values[whole] = found
        target = whole


def _narrowed(part: Any) -> Any:
    """What a part is taken from, beyond slices that leave nothing out (``y[:, :]``, as programs of TorchScript write them)."""
    while _is_part(part) and operator_name(part) == "slice.Tensor" and shape(part) == shape(arguments(part)["self"]):
        part = arguments(part)["self"]
    return part


def untold(walk: Values, call: fx.Node) -> None:
    """What a call wrote that could not be read is unknown from there on, and so is what that is a part of."""
    target: Any = call.args[0]
    found = walk.values[target] = walk.values[call]
    while _is_part(target):
        target = target.args[0]
        walk.values[target] = found


def partly(walk: Values, call: fx.Node) -> Blank | None:
    """The value of a call that takes a part of a ``Blank`` to write there; None of a call that reads none.

    Raises:
        NotRead: the call reads a tensor before all of it is written.
    """
    blanks = {source: found for source in call.all_input_nodes if isinstance(found := walk.values.get(source), Blank)}
    if in_place(call) and operator_name(call) == "copy.default":
        target: Any = call.args[0]
        blanks.pop(target, None)
    if not blanks:
        return None
    if operator_name(call) not in SLICES:
        raise NotRead("reads a tensor before all of it is written")
    return next(iter(blanks.values()))


def _filled(walk: Walk, call: fx.Node, part: fx.Node, before: Tensor | Blank, found: str) -> str | Blank:
    """A constant with ``found`` in the place that ``part`` is of it: a tensor once every place along the axis is written."""
    sides = tuple(before.shape) if isinstance(before, Tensor) else before.sides
    axis, start, step = _where(part, sides)
    if isinstance(before, Tensor):
        before = Blank(sides, axis, (None,) * sides[axis], _alike(before))
    elif before.axis != axis:
        raise NotRead("fills a tensor along several axes")
    found = _as_slice(walk, call, part, axis, sides, found)
    places = list(before.places)
    for place in range(walk.shape(found)[axis]):
        places[start + place * step] = (found, place)
    written = [place for place in places if place is not None]
    if len(written) < len(places):
        return replace(before, places=tuple(places))
    return _gathered(walk, call, written, axis)


def _rows_of_constant(walk: Values, part: fx.Node, rows: fx.Node) -> Tensor | Blank | None:
    """The constant that ``rows`` are a part of, where ``part`` is every other place of them along another axis."""
    if not _is_part(rows) or operator_name(rows) not in SLICES or _is_part(whole := _narrowed(arguments(rows)["self"])):
        return None
    found = walk.values.get(whole)
    if not isinstance(found, Tensor | Blank) or (isinstance(found, Blank) and found.axis != _where(rows, found.sides)[0]):
        return None
    apart = _where(part, shape(rows))[2] != 1 and operator_name(rows) != "select.int"
    return found if apart and _where(part, shape(rows))[0] != _where(rows, shape(whole))[0] else None


def _woven(walk: Walk, call: fx.Node, part: fx.Node, rows: fx.Node, before: Tensor | Blank, found: str) -> str | Blank:
    """A constant with ``found`` in the columns ``part`` of its ``rows``: a tensor once every place is written."""
    sides = tuple(before.shape) if isinstance(before, Tensor) else before.sides
    axis, *place = _where(rows, sides)
    if isinstance(before, Tensor):
        before = Blank(sides, axis, (None,) * sides[axis], _alike(before))
    key, across = (place[0], place[1]), _where(part, shape(rows))[0]
    blank = Blank(shape(rows), across, (None,) * shape(rows)[across], before.value)
    columns = _filled(walk, call, part, before.woven.get(key, blank), found)
    if isinstance(columns, Blank):
        return replace(before, woven={**before.woven, key: columns})
    others = {other: columns for other, columns in before.woven.items() if other != key}
    return _filled(walk, call, rows, replace(before, woven=others), columns)


def _alike(constant: Tensor) -> float | None:
    """The one value that a constant has everywhere."""
    first = constant.flatten()[:1]
    return float(first) if len(first) and bool((constant == first).all()) else None


def _unwritten(part: fx.Node, before: Tensor | Blank) -> float | None:
    """The one value that a part of a constant still has everywhere; None where it was written to, or has several."""
    if isinstance(before, Tensor):
        return _alike(before)
    if operator_name(part) == "select.int":
        return None
    axis, start, step = _where(part, before.sides)
    places = before.places[start : start + shape(part)[axis] * step : step]
    return before.value if axis == before.axis and not any(places) else None


def _surrounded(walk: Walk, call: fx.Node, part: fx.Node, value: float, found: str) -> str:
    """A tensor of one value everywhere with ``found`` in the place that ``part`` is of it: padding with that value.

    Raises:
        NotRead: it is every other place.
    """
    sides = shape(arguments(part)["self"])
    axis, start, step = _where(part, sides)
    found = _as_slice(walk, call, part, axis, sides, found)
    length = walk.shape(found)[axis]
    if step != 1 and length > 1:
        raise NotRead("writes what is computed into every other place of a part of a constant")
    amounts = (0, 0) * (len(sides) - 1 - axis) + (start, sides[axis] - start - length)
    return walk.emit(call, Pad(amounts, "constant", value), (found,), suffix="around")


def _gathered(walk: Walk, call: fx.Node, places: list[tuple[str, int]], axis: int) -> str:
    """Places of several tensors, in this order along an axis."""
    names = list(dict.fromkeys(name for name, _ in places))
    if len(names) > 1 and places == [(name, place) for place in range(len(places) // len(names)) for name in names]:
        return _interleaved(walk, call, names, axis)
    starts, total = {}, 0
    for name in names:
        starts[name], total = total, total + walk.shape(name)[axis]
    found = names[0] if len(names) == 1 else walk.emit(call, Concat(axis), tuple(names), suffix="written")
    order = tuple(starts[name] + place for name, place in places)
    return found if order == tuple(range(total)) else walk.emit(call, Gather(order, axis), (found,), suffix="order")


def _interleaved(walk: Walk, call: fx.Node, names: list[str], axis: int) -> str:
    """The first places of tensors of the same sides, then their second ones, and so on: an axis more, and without it again."""
    sides = walk.shape(names[0])
    deeper = Reshape((*sides[: axis + 1], 1, *sides[axis + 1 :]))
    pieces = tuple(walk.emit(call, deeper, (name,), suffix="apart") for name in names)
    found = walk.emit(call, Concat(axis + 1), pieces, suffix="written")
    return walk.emit(call, Reshape((*sides[:axis], sides[axis] * len(names), *sides[axis + 1 :])), (found,), suffix="order")


def _where(part: fx.Node, sides: tuple[int, ...]) -> tuple[int, int, int]:
    """Axis, first place and step of a part of a tensor of these sides."""
    a = arguments(part)
    axis = int(a["dim"]) % len(sides)
    if operator_name(part) == "select.int":
        return axis, int(a["index"]) % sides[axis], 1
    return axis, slice_start(a["start"], sides[axis]), int(a.get("step", 1))


def _as_slice(walk: Walk, call: fx.Node, part: fx.Node, axis: int, sides: tuple[int, ...], found: str) -> str:
    """What is written to ``part``, with the axis that a ``select`` takes away."""
    if operator_name(part) != "select.int":
        return found
    return walk.emit(call, Reshape((*sides[:axis], 1, *sides[axis + 1 :])), (found,), suffix="part")


def _joined(walk: Walk, call: fx.Node, part: fx.Node, whole: str, found: str) -> str:
    """The tensor ``whole`` with ``found`` in the place that ``part`` is of it."""
    sides = walk.shape(whole)
    if sides != shape(arguments(part)["self"]):
        raise NotRead("writes into what could not be read")
    axis, start, step = _where(part, sides)
    found = _as_slice(walk, call, part, axis, sides, found)
    if step != 1:
        places = [(whole, place) for place in range(sides[axis])]
        for place in range(walk.shape(found)[axis]):
            places[start + place * step] = (found, place)
        return _gathered(walk, call, places, axis)
    stop = start + walk.shape(found)[axis]
    pieces = [found]
    if start > 0:
        pieces.insert(0, walk.emit(call, Slice(0, start, axis), (whole,), suffix="before"))
    if stop < sides[axis]:
        pieces.append(walk.emit(call, Slice(stop, sides[axis], axis), (whole,), suffix="behind"))
    return found if len(pieces) == 1 else walk.emit(call, Concat(axis), tuple(pieces), suffix="written")


def _overwritten(walk: Walk, call: fx.Node, part: fx.Node, before: Any, found: Tensor) -> str | Tensor:
    """The tensor ``before`` with constants in the place that ``part`` is of it, or those where it is all of it."""
    if not isinstance(before, str):
        raise NotRead("writes constants into a tensor before all of it is written")
    sides = walk.shape(before)
    if sides != shape(arguments(part)["self"]):
        raise NotRead("writes into what could not be read")
    axis, start, step = _where(part, sides)
    found = found.unsqueeze(axis) if operator_name(part) == "select.int" else found
    if step != 1:
        raise NotRead("writes constants into every other place of a tensor that is computed")
    return found if found.shape[axis] == sides[axis] else overwritten(walk, call, before, (axis, start, found.shape[axis]), found)


def _is_part(call: fx.Node) -> bool:
    return call.op == "call_function" and operator_name(call).split(".")[0] in PARTS
