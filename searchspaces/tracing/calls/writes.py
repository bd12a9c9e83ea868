"""Calls that write into tensors: what they wrote is from there on the value of what they wrote to.

A part that is written (``y[:, :16] = conv(y[:, :16])``) makes a new tensor of the whole: what lies before the part, the part, and
what lies behind it. Parts that were taken before a write and are read after it keep their old value, which the comparison of the
graph with the module finds.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, fx

from searchspaces.ops.moves.move import Concat, Reshape, Slice
from searchspaces.ops.reading import NotRead
from searchspaces.tracing.aten import Value, Walk, arguments, handles, loose_name, operator_name, shape, slice_start, written_name

SLICES = ("slice.Tensor", "narrow.default", "select.int")
PARTS = ("slice", "select", "narrow", "view", "permute", "transpose", "unsqueeze", "squeeze", "diagonal", "expand")
"""Calls that give a view of another tensor."""


class Values(Walk, Protocol):
    """A walk that knows the value of every call."""

    values: dict[fx.Node, Value]


@handles("copy.default", becomes=())
def _copy(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if isinstance(walk.value(a["src"]), Tensor):
        raise NotRead("writes constants into a tensor that is computed")
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
    found = walk.values[target] = walk.values[call]
    while _is_part(target) and isinstance(found, str):
        if operator_name(target) not in SLICES:
            raise NotRead("writes into a part of a tensor that is read elsewhere")
        whole: Any = arguments(target)["self"]
        if not isinstance(walk.values.get(whole), str):
            raise NotRead("writes what is computed into a part of a constant")
        found = walk.values[whole] = _joined(walk, call, target, str(walk.values[whole]), found)
        target = whole


def _joined(walk: Walk, call: fx.Node, part: fx.Node, whole: str, found: str) -> str:
    """The tensor ``whole`` with ``found`` in the place that ``part`` is of it."""
    a, sides = arguments(part), walk.shape(whole)
    axis = int(a["dim"]) % len(sides)
    if operator_name(part) == "select.int":
        start = int(a["index"]) % sides[axis]
        found = walk.emit(call, Reshape((*sides[:axis], 1, *sides[axis + 1 :])), (found,), suffix="part")
    else:
        start = slice_start(a["start"], sides[axis])
        if int(a.get("step", 1)) != 1:
            raise NotRead("writes into every other place of a tensor")
    stop = start + walk.shape(found)[axis]
    pieces = [found]
    if start > 0:
        pieces.insert(0, walk.emit(call, Slice(0, start, axis), (whole,), suffix="before"))
    if stop < sides[axis]:
        pieces.append(walk.emit(call, Slice(stop, sides[axis], axis), (whole,), suffix="behind"))
    return found if len(pieces) == 1 else walk.emit(call, Concat(axis), tuple(pieces), suffix="written")


def _is_part(call: fx.Node) -> bool:
    return call.op == "call_function" and operator_name(call).split(".")[0] in PARTS
