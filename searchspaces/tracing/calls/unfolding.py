"""Handlers (see ``aten``) of the operators that cut windows which may overlap out of pictures."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx

from searchspaces.ops.moves.move import Permute, Reshape
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.windows import Windows
from searchspaces.ops.reading import NotRead
from searchspaces.tracing.aten import Value, Walk, arguments, both, handles, shape, tensor_name


@handles("unfold.default", becomes=(Windows,))
def _windows(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    axis = int(a["dimension"]) % len(shape(a["self"]))
    return walk.emit(call, Windows(axis, int(a["size"]), int(a["step"])), (tensor_name(walk, a["self"]),))


@handles("im2col.default", becomes=(Pad, Windows, Permute, Reshape))
def _unfold(walk: Walk, call: fx.Node) -> Value:
    """``F.unfold``: the windows of the rows, then those of the columns, and their places before the windows' own order."""
    a = arguments(call)
    if len(shape(a["self"])) != 4:
        raise NotRead("of what is no batch of pictures")
    kernel, dilation, padding, stride = (both(a[role]) for role in ("kernel_size", "dilation", "padding", "stride"))
    name = windows(walk, call, tensor_name(walk, a["self"]), kernel, stride, padding, dilation)
    return walk.emit(call, Reshape(shape(call)), (name,))


Sides = Sequence[int]
"""One number for rows, one for columns."""


def windows(walk: Walk, call: fx.Node, name: str, kernel: Sides, stride: Sides, padding: Sides, dilation: Sides) -> str:
    """The windows of a picture ``[N, C, H, W]``, padded with zeros: ``[N, C, *kernel, rows, columns]``."""
    rows, columns = padding
    if rows or columns:
        name = walk.emit(call, Pad((columns, columns, rows, rows)), (name,), suffix="padded")
    for axis in (2, 3):
        cut = Windows(axis, kernel[axis - 2], stride[axis - 2], dilation[axis - 2])
        name = walk.emit(call, cut, (name,), suffix="rows" if axis == 2 else "columns")
    return walk.emit(call, Permute((0, 1, 4, 5, 2, 3)), (name,), suffix="order")
