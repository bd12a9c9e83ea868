"""Readers of operators that resize and pool pictures, of sums and means over axes, softmax and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwsearch.formats.reading.builder import Map
from hwsearch.formats.reading.resizing import from_corners
from hwsearch.formats.tflite.reading.layers import same_padding, strides_of
from hwsearch.formats.tflite.reading.table import READS, Call, Value
from hwsearch.formats.tflite.reading.walk import Walk
from searchspaces.ops.maps.activation import Log, Pow, Sqrt
from searchspaces.ops.maps.elementwise import Div
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Mode, Resize
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import AvgPool, Max, MaxPool, Mean, Min, Reduction, Sum
from searchspaces.ops.reductions.softmax import Softmax


@READS.register("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR", becomes=(Resize, Pad))
def _resize(walk: Walk, call: Call) -> Value:
    """By the factor between the file's own shapes, where that is whole; its sizes are numbers of one picture."""
    value, stored = walk.first(call.map()), call.stored[0]
    assert stored is not None
    corners, half = bool(call.options["AlignCorners"]), bool(call.options["HalfPixelCenters"])
    before, after = stored.shape[1:3], call.written.shape[1:3]
    sides = walk.shape(value)[2:]
    sizes = call.integers(1, "its size")
    if before != sides:  # the file is read at another size than its own
        factors = [new // old if old and new % old == 0 else 0 for old, new in zip(before, after, strict=True)]
        if 0 in factors:
            raise NotRead(f"from {list(before)} to {list(after)}")
        sizes = [side * factor for side, factor in zip(sides, factors, strict=True)]
    whole = all(new % old == 0 for old, new in zip(sides, sizes, strict=True)) and len(
        {new // old for old, new in zip(sides, sizes, strict=True)}
    )
    bilinear = call.kind == "RESIZE_BILINEAR"
    if bilinear and not half and not corners:
        return walk.last(from_corners(walk, call.name, value, (sizes[0], sizes[1])))
    mode: Mode = "bilinear" if bilinear else "nearest-exact" if half and whole != 1 else "nearest"
    if corners and not bilinear:
        raise NotRead("the nearest pixel between corners that lie on each other")
    if whole == 1:
        op = Resize(mode, factor=sizes[0] // sides[0], align_corners=corners)
    else:
        op = Resize(mode, size=(sizes[0], sizes[1]), align_corners=corners)
    return walk.last(value if op == Resize(mode, 1) else walk.put(call.name, op, [value]))


@READS.register("MAX_POOL_2D", "AVERAGE_POOL_2D", becomes=(MaxPool, AvgPool, Pad))
def _pool(walk: Walk, call: Call) -> Value:
    value, strides = walk.first(call.map()), strides_of(call)
    kernel = (int(call.options["FilterHeight"]), int(call.options["FilterWidth"]))
    left, right, top, bottom = same_padding(walk, call, value, kernel, strides, (1, 1))
    mean = call.kind == "AVERAGE_POOL_2D"
    if (left, top) != (right, bottom) or 2 * top > kernel[0] or 2 * left > kernel[1]:
        if mean:
            raise NotRead("uneven padding")
        zeros = walk.never_negative(value.name, pictures=False)  # else the border once more, which changes no maximum
        how: Any = "constant" if zeros else "replicate"
        value = walk.put(f"{call.name}.pad", Pad((left, right, top, bottom), how), [value])
        left = top = 0
    op = AvgPool(kernel, strides, (top, left), False) if mean else MaxPool(kernel, strides, (top, left))
    return walk.last(walk.put(call.name, op, [value]))


REDUCTIONS: Mapping[str, type[Reduction]] = {"MEAN": Mean, "SUM": Sum, "REDUCE_MAX": Max, "REDUCE_MIN": Min}


def reduced(walk: Walk, name: str, op: type[Reduction], value: Map, axes: Sequence[int], keeps: bool) -> Map:
    """A statistic over axes of a value, which stay with one place or go."""
    over = sorted({axis % len(value.axes) for axis in axes})
    lying = tuple(sorted(value.axes[axis] for axis in over))
    made = Map(walk.emit(name, op(lying, True), [value.name]), value.axes)
    if keeps:
        return made
    return walk.reshaped(f"{name}.squeezed", made, [side for axis, side in enumerate(walk.shape(value)) if axis not in over])


@READS.register(*REDUCTIONS, becomes=(Mean, Sum, Max, Min))
def _reduce(walk: Walk, call: Call) -> Value:
    axes = call.integers(1, "its axes")
    return reduced(walk, call.name, REDUCTIONS[call.kind], call.map(), axes, bool(call.options.get("KeepDims", False)))


@READS.register("SOFTMAX", "LOG_SOFTMAX", becomes=(Softmax, Log))
def _softmax(walk: Walk, call: Call) -> Value:
    value = call.map()
    if float(call.options.get("Beta", 1.0)) != 1:
        raise NotRead(f"with a beta of {call.options['Beta']}")
    lying = value.axes[-1]
    op = Softmax(-1 if lying == len(value.axes) - 1 else lying)
    made = Map(walk.emit(call.name, op, [value.name]), value.axes)
    return walk.unary(f"{call.name}.log", Log(), made) if call.kind == "LOG_SOFTMAX" else made


@READS.register("L2_NORMALIZATION", becomes=(Pow, Sum, Sqrt, Div))
def _length(walk: Walk, call: Call) -> Value:
    value = call.map()
    squares = walk.unary(f"{call.name}.square", Pow(2.0), value)
    total = reduced(walk, f"{call.name}.sum", Sum, squares, [-1], True)
    return walk.pointwise(call.name, Div(), [value, walk.unary(f"{call.name}.length", Sqrt(), total)])
