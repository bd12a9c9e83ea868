"""Operators that move values about, pad and resize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from searchspaces.ir.graph import Node
from searchspaces.ops.moves import move as mv
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.moves.windows import Windows

if TYPE_CHECKING:
    from hwsearch.formats.onnx.writer import Writer

from hwsearch.formats.onnx.operators.table import WRITES


@WRITES.register(mv.Concat)
def _concat(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.Concat)
    return writer.op("Concat", xs, name, axis=node.op.axis)


@WRITES.register(mv.Slice)
def _slice(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    op = node.op
    assert isinstance(op, mv.Slice)
    bounds = [writer.extents([end]) for end in (op.start, op.stop)]
    steps = [writer.const([op.step], np.int64)] if op.step != 1 else []
    return writer.op("Slice", [xs[0], *bounds, writer.const([op.axis], np.int64), *steps], name)


@WRITES.register(mv.Repeat)
def _repeat(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    op = node.op
    assert isinstance(op, mv.Repeat)
    places = np.repeat(np.arange(writer.fixed_side(node.inputs[0], op.axis)), op.times)
    return writer.op("Gather", [xs[0], writer.const(places, np.int64)], name, axis=op.axis)


@WRITES.register(mv.Gather)
def _gather(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.Gather)
    return writer.op("Gather", [xs[0], writer.const(node.op.indices, np.int64)], name, axis=node.op.axis)


@WRITES.register(Windows)
def _windows(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    """The places of every window; where the picture's size decides how many there are, the first place of all windows, then the
    second, and so on, one behind the other."""
    op, rank = node.op, len(writer.shapes[node.inputs[0]])
    assert isinstance(op, Windows)
    axis, (now, other) = op.axis % rank, writer.both_shapes(node.inputs[0])
    if now[axis] == other[axis]:
        cut = writer.op("Gather", [xs[0], writer.const(op.places(now[axis]), np.int64)], axis=axis)
        return writer.op("Transpose", [cut], name, perm=[*range(axis + 1), *range(axis + 2, rank + 1), axis + 1])
    starts = [place * op.dilation for place in range(op.size)]
    parts = [_part(writer, xs[0], axis, start, start - op.reach + 1 or _END, op.step) for start in starts]
    last = writer.const([rank], np.int64)
    return writer.op("Concat", [writer.op("Unsqueeze", [part, last]) for part in parts], name, axis=rank)


@WRITES.register(mv.PixelShuffle)
def _pixel_shuffle(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.PixelShuffle)
    return writer.op("DepthToSpace", [xs[0]], name, blocksize=int(node.op.factor), mode="CRD")


@WRITES.register(mv.PixelUnshuffle)
def _pixel_unshuffle(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    """SpaceToDepth has all channels of a block's first pixel first; a pixel unshuffle all pixels of a channel."""
    assert isinstance(node.op, mv.PixelUnshuffle)
    factor, channels = node.op.factor, writer.shapes[node.inputs[0]][1]
    apart = writer.op("SpaceToDepth", [xs[0]], blocksize=factor)
    places = np.arange(channels * factor**2).reshape(factor**2, channels).T.reshape(-1)
    return writer.op("Gather", [apart, writer.const(places, np.int64)], name, axis=1)


@WRITES.register(mv.Reshape)
def _reshape(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.Reshape)
    return writer.op("Reshape", [xs[0], writer.extents(node.op.sizes)], name)


@WRITES.register(mv.Expand)
def _expand(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.Expand)
    return writer.op("Expand", [xs[0], writer.extents([1 if side == -1 else side for side in node.op.sizes])], name)


@WRITES.register(mv.Permute)
def _permute(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.Permute)
    return writer.op("Transpose", [xs[0]], name, perm=list(node.op.axes))


def _part(writer: Writer, x: str, axis: int, start: int, stop: int, step: int = 1) -> str:
    return writer.op("Slice", [x, *(writer.const([value], np.int64) for value in (start, stop, axis, step))])


_END = 2**31 - 1


@WRITES.register(mv.Roll)
def _roll(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    """What leaves at one end stands in front of the rest."""
    assert isinstance(node.op, mv.Roll)
    x = xs[0]
    for shift, axis in zip(node.op.shifts, node.op.axes, strict=True):
        if shift:
            x = writer.op("Concat", [_part(writer, x, axis, -shift, _END), _part(writer, x, axis, 0, -shift)], axis=axis)
    return writer.op("Identity", [x], name)


@WRITES.register(mv.Flip)
def _flip(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.Flip)
    x = xs[0]
    for axis in node.op.axes:
        x = _part(writer, x, axis, -1, -_END, -1)
    return writer.op("Identity", [x], name)


@WRITES.register(Pad)
def _pad(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, Pad)
    return padded(writer, node, xs[0], writer.const(node.op.value), name)


def padded(writer: Writer, node: Node, x: str, value: str, name: str = "") -> str:
    """A pad with the constant ``value`` of the type of ``x``."""
    op = node.op
    assert isinstance(op, Pad)
    rank, sides = len(writer.shapes[node.inputs[0]]), op.padding
    none: Sequence[int | str] = [0] * (rank - len(sides) // 2)
    amounts = [*none, *sides[::2][::-1], *none, *sides[1::2][::-1]]
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}[op.mode]
    return writer.op("Pad", [x, writer.extents(amounts), value], name, mode=mode)


@WRITES.register(Resize)
def _resize(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    op = node.op
    assert isinstance(op, Resize)
    if op.size is not None:
        count, channels = writer.shapes[node.inputs[0]][:2]
        how = ["", "", writer.extents([count, channels, *op.size])]
    else:
        assert op.factor is not None
        how = ["", writer.const([1.0, 1.0, float(op.factor), float(op.factor)])]
    if op.mode == "nearest":
        attrs: dict[str, Any] = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        return writer.op("Resize", [xs[0], *how], name, mode="nearest", **attrs)
    if op.mode == "nearest-exact":
        attrs = {"nearest_mode": "round_prefer_ceil", "coordinate_transformation_mode": "half_pixel"}
        return writer.op("Resize", [xs[0], *how], name, mode="nearest", **attrs)
    attrs = {"mode": {"bilinear": "linear", "bicubic": "cubic"}[op.mode], "cubic_coeff_a": -0.75}
    if op.antialias:  # at the borders PyTorch's kernel is of what lies inside
        attrs |= {"antialias": 1, "cubic_coeff_a": -0.5, "exclude_outside": 1}
    where = "align_corners" if op.align_corners else "half_pixel"
    return writer.op("Resize", [xs[0], *how], name, coordinate_transformation_mode=where, **attrs)


# Many values to one
