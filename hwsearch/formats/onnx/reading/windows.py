"""Readers of pooling: over windows of lines, pictures and volumes, and over a whole picture."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Any

from hwsearch.formats.onnx.reading.convolutions import window_padding
from hwsearch.formats.onnx.reading.pictures import padded
from hwsearch.formats.onnx.reading.quantized import saturated
from hwsearch.formats.onnx.reading.reductions import reduced
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import TO_CHANNELS_FIRST, TO_CHANNELS_LAST, Map
from searchspaces.ops.maps.activation import Abs, Activation, Pow, Sqrt
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Maximum
from searchspaces.ops.moves.move import PixelShuffle, PixelUnshuffle, Slice
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import AvgPool, Max, MaxPool, Mean, Sum
from searchspaces.tracing.calls.maps import beyond

Sides = tuple[int, int]


@READS.register("GlobalAveragePool", "GlobalMaxPool", "QLinearGlobalAveragePool", becomes=(Mean, Max))
def _global(walk: Walk, call: Call) -> Value:
    value = call.map()
    if len(value.axes) != 4:
        raise NotRead(f"of {len(value.axes)} axes")
    op = Max() if call.kind == "GlobalMaxPool" else Mean()
    if not call.kind.startswith("Q"):
        return walk.once((call.kind, value), lambda: walk.put(call.name, op, [value]))
    last = bool(call.attrs.get("channels_last", 0))
    made = walk.put(call.name, op, [walk.turned(value, TO_CHANNELS_FIRST) if last else value])
    return saturated(walk, call, walk.turned(made, TO_CHANNELS_LAST) if last else made)


@READS.register("QLinearAveragePool", becomes=(AvgPool, Pad))
def _codes_pooled(walk: Walk, call: Call) -> Value:
    """ONNX Runtime's."""
    last, counted = bool(call.attrs.get("channels_last", 0)), bool(call.attrs.get("count_include_pad", 0))
    value = walk.turned(call.map(), TO_CHANNELS_FIRST) if last else call.map()
    made = _windows(walk, call, value, mean=True, counted=counted)
    return saturated(walk, call, walk.turned(made, TO_CHANNELS_LAST) if last else made)


@READS.register("MaxPool", "AveragePool", becomes=(MaxPool, AvgPool, Pad, Slice, Maximum, PixelUnshuffle, PixelShuffle))
def _pool(walk: Walk, call: Call) -> Map | list[Map]:
    mean, counted = call.kind == "AveragePool", bool(call.attrs.get("count_include_pad", 0))
    made = _windows(walk, call, call.map(), mean=mean, counted=counted)
    return made if mean else [made] * len(call.outputs)


@READS.register("LpPool", becomes=(Abs, Pow, AvgPool, Affine, Sqrt, Pad))
def _lengths(walk: Walk, call: Call) -> Value:
    """The root of the sum of powers in each window: as many times their mean, of which zeros around the picture are a part."""
    power, kernel = int(call.attrs.get("p", 2)), call.integers("kernel_shape")
    value = walk.unary(f"{call.name}.power", _magnitude(power), call.map())
    mean = _windows(walk, call, value, mean=True, counted=True)
    total = walk.scaled(f"{call.name}.sum", mean, float(reduce(int.__mul__, kernel)), 0.0)
    return total if power == 1 else walk.unary(call.name, _root(power), total)


@READS.register("GlobalLpPool", becomes=(Abs, Pow, Sum, Sqrt))
def _global_length(walk: Walk, call: Call) -> Value:
    power, value = int(call.attrs.get("p", 2)), call.map()
    powers = walk.unary(f"{call.name}.power", _magnitude(power), value)
    total = reduced(walk, f"{call.name}.sum", Sum, powers, list(range(2, len(value.axes))), True)
    return total if power == 1 else walk.unary(call.name, _root(power), total)


def _magnitude(power: int) -> Activation:
    """``|x|^power``.

    Raises:
        NotRead: an odd power above the first, of values of both signs.
    """
    if power < 1 or (power > 1 and power % 2):
        raise NotRead(f"a length by the power of {power}")
    return Abs() if power == 1 else Pow(float(power))


def _root(power: int) -> Activation:
    return Sqrt() if power == 2 else Pow(1.0 / power)


def _windows(walk: Walk, call: Call, value: Map, *, mean: bool, counted: bool) -> Map:
    """Means or largest values of windows. ``counted``: zeros around the picture are a part of means."""
    kernel = tuple(call.integers("kernel_shape"))
    if len(value.axes) != len(kernel) + 2:
        raise NotRead(f"windows of {len(kernel)} sides in {len(value.axes)} axes")
    if len(kernel) == 1:
        return _in_lines(walk, call, value, mean=mean, counted=counted)
    if len(kernel) == 3:
        return _in_volumes(walk, call, value, mean=mean, counted=counted)
    if len(kernel) != 2:
        raise NotRead(f"windows of {len(kernel)} sides")
    strides, dilations = (tuple(call.integers(key, default=[1, 1])) for key in ("strides", "dilations"))
    top, left, bottom, right = window_padding(walk, call, value, kernel, strides, dilations)
    if dilations != (1, 1):
        if mean or call.attrs.get("ceil_mode", 0):
            raise NotRead("dilated windows of means, or that the border cuts off")
        return _dilated(walk, call, value, (kernel, strides, dilations), (top, left, bottom, right))
    if call.attrs.get("ceil_mode", 0):
        sides = zip(walk.shape(value)[2:], kernel, strides, (top + bottom, left + right), strict=True)
        down, beside = (beyond(side + both, size, step, 0) for side, size, step, both in sides)
        if (down or beside) and not mean and not any((top, left, bottom, right)):
            value = padded(walk, f"{call.name}.border", value, {2: (0, down), 3: (0, beside)}, "edge")  # changes no maximum
        elif down or beside:
            walk.misfits.append(f"{call.label}: windows that the border cuts off (ceil_mode)")
            raise NotRead("windows that are cut off by the border (ceil_mode)")
    even = (top, left) == (bottom, right)
    if not even or 2 * top > kernel[0] or 2 * left > kernel[1]:
        if mean and not counted:
            raise NotRead("uneven padding")
        # the border once more changes no maximum
        how = "constant" if mean or walk.never_negative(value.name, pictures=False) else "edge"
        value = padded(walk, f"{call.name}.pad", value, {2: (top, bottom), 3: (left, right)}, how)
        top = left = 0
    op = AvgPool(kernel, strides, (top, left), counted) if mean else MaxPool(kernel, strides, (top, left))
    return walk.put(call.name, op, [value])


def _dilated(walk: Walk, call: Call, value: Map, window: tuple[Sides, Sides, Sides], pads: tuple[int, int, int, int]) -> Map:
    """The largest value of windows with gaps: of pictures that are shifted against each other, rows first. Beyond the border lies
    nothing, which is a zero where no value is negative. Else the pixels between which there are gaps are pictures of their own.

    Args:
        window: kernel, strides and dilations, of rows and columns.
    """
    kernel, strides, dilations = window
    top, left, bottom, right = pads
    step = dilations[0]
    if any(pads) and not walk.never_negative(value.name, pictures=False):
        whole = not any(side % step for side in (*walk.shape(value)[2:], *pads))
        if not whole or len(set(dilations)) > 1 or strides != (1, 1) or (top, left) != (bottom, right):
            walk.misfits.append(f"{call.label}: dilated windows beyond the border")
            raise NotRead(
                f"dilated windows beyond the border of values that may be negative: put a ReLU in front, or have steps of 1 and "
                f"sides and a border of multiples of {step}"
            )
        parts = walk.put(f"{call.name}.apart", PixelUnshuffle(step), [value])
        found = walk.put(call.name, MaxPool(kernel, (1, 1), (top // step, left // step)), [parts])
        return walk.put(f"{call.name}.together", PixelShuffle(step), [found])
    value = padded(walk, f"{call.name}.pad", value, {2: (top, bottom), 3: (left, right)})
    for axis, size, stride, gap in zip((2, 3), kernel, strides, dilations, strict=True):
        behind = walk.shape(value)[axis] - (size - 1) * gap
        shifted = [walk.part(f"{call.name}.shifted", value, axis, at * gap, at * gap + behind, stride) for at in range(size)]
        value = reduce(lambda first, second: walk.pointwise(call.name, Maximum(), [first, second]), shifted)
    return value


def _in_lines(walk: Walk, call: Call, value: Map, *, mean: bool, counted: bool) -> Map:
    """Pooling of lines, as that of pictures of one row."""
    shape, attrs = walk.shape(value), dict(call.attrs)
    attrs["kernel_shape"] = [1, *attrs["kernel_shape"]]
    for key in ("strides", "dilations"):
        attrs[key] = [1, *attrs.get(key, [1])]
    before, behind = attrs.pop("pads", [0, 0])
    row = _as(call, {**attrs, "pads": [0, before, 0, behind]})
    rows = walk.reshaped(f"{call.name}.row", value, (*shape[:2], 1, shape[2]))
    made = _windows(walk, row, rows, mean=mean, counted=counted)
    sides = walk.shape(made)
    return walk.reshaped(f"{call.name}.line", made, (*sides[:2], sides[3]))


def _in_volumes(walk: Walk, call: Call, value: Map, *, mean: bool, counted: bool) -> Map:
    """Pooling of volumes: of each plane, and then of what lies behind each other; a window of volumes is a product of both. With
    planes of one channel it is what exporters write for normalization by neighbouring channels."""
    shape, pads = walk.shape(value), call.integers("pads", default=[0] * 6)
    sides = {key: call.integers(key, default=[1] * 3) for key in ("kernel_shape", "strides", "dilations")}
    depth = {key: [found[0], 1] for key, found in sides.items()}
    plane = {key: found[1:] for key, found in sides.items()}
    if plane != {"kernel_shape": [1, 1], "strides": [1, 1], "dilations": [1, 1]} or any((*pads[1:3], *pads[4:])):
        planes = walk.reshaped(f"{call.name}.planes", value, (shape[0], shape[1] * shape[2], *shape[3:]))
        within = _as(call, {**call.attrs, **plane, "pads": [*pads[1:3], *pads[4:]]})
        planes = _windows(walk, within, planes, mean=mean, counted=counted)
        shape = (*shape[:3], *walk.shape(planes)[2:])
        value = walk.reshaped(f"{call.name}.volume", planes, shape)
    columns = walk.reshaped(f"{call.name}.columns", value, (*shape[:3], shape[3] * shape[4]))
    along = _as(call, {**call.attrs, **depth, "pads": [pads[0], 0, pads[3], 0]})
    columns = _windows(walk, along, columns, mean=mean, counted=counted)
    return walk.reshaped(f"{call.name}.behind", columns, (*walk.shape(columns)[:3], *shape[3:]))


def _as(call: Call, attrs: dict[str, Any]) -> Call:
    """The same call with other attributes."""
    return replace(call, parsed=replace(call.parsed, attrs=attrs))
