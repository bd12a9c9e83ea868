"""Readers of operators of pictures: padding, resizing, pooling, samples of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hwsearch.formats.onnx.reading.constants import Constant
from hwsearch.formats.onnx.reading.convolutions import window_padding
from hwsearch.formats.onnx.reading.quantized import saturated
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map, tensor
from hwsearch.formats.reading.resizing import from_corners
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.grid_sample import GridSample
from searchspaces.ops.moves.move import Concat, Reshape, Slice
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Mode, Resize
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import AvgPool, Max, MaxPool, Mean
from searchspaces.tracing.calls.maps import beyond


@READS.register("Pad", becomes=(Pad, Slice, Concat))
def _pad(walk: Walk, call: Call) -> Value:
    value = call.map()
    rank = len(value.axes)
    pads = call.integers("pads", 1)
    if pads is None:
        raise NotRead("its amounts are computed from the picture")
    axes = [axis % rank for axis in call.integers("axes", 3, list(range(rank)))]
    half = len(pads) // 2
    around = {axis: (pads[i], pads[half + i]) for i, axis in enumerate(axes)}
    constant = float(call.numbers(2).reshape(-1)[0]) if call.has(2) else float(call.attrs.get("value", 0.0))
    return padded(walk, call.name, value, around, call.text("mode", "constant"), 0.0 if walk.notation else constant)


MODES: Mapping[str, Any] = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


def padded(
    walk: Walk, name: str, value: Map, around: Mapping[int, tuple[int, int]], mode: str = "constant", constant: float = 0.0
) -> Map:
    """A value with so many places before and behind its axes."""
    if mode == "wrap":
        return _wrapped(walk, name, value, around)
    if mode not in MODES:
        raise NotRead(f"{mode} padding")
    if mode != "constant":
        value = walk.ending_in(value, [axis for axis, ends in around.items() if any(ends)])
    lying = {value.axes[axis]: ends for axis, ends in around.items()}
    sides = [side for axis in reversed(range(len(value.axes))) for side in lying.get(axis, (0, 0))]
    while len(sides) > 4 and not any(sides[-2:]):
        del sides[-2:]
    if not any(sides):
        return value
    if mode != "constant" and len(sides) > 4:
        raise NotRead(f"{mode} padding of more than two axes")
    return Map(walk.emit(name, Pad(tuple(sides), MODES[mode], constant), [value.name]), value.axes)


def _wrapped(walk: Walk, name: str, value: Map, around: Mapping[int, tuple[int, int]]) -> Map:
    """Padding with what lies at the other end of an axis."""
    for axis, (before, after) in around.items():
        side = walk.shape(value)[axis]
        if min(before, after) < 0:
            raise NotRead("wrap padding that cuts off")
        pieces = [value]
        if before:
            pieces.insert(0, walk.part(f"{name}.end", value, axis, side - before, side))
        if after:
            pieces.append(walk.part(f"{name}.beginning", value, axis, 0, after))
        value = walk.concatenated(name, pieces, axis) if len(pieces) > 1 else value
    return value


@READS.register("Resize", "Upsample", becomes=(Resize,))
def _resize(walk: Walk, call: Call) -> Value:
    value = call.map()
    shape = walk.shape(value)
    factors, after = _target(call, shape)
    changed = [axis for axis in range(len(shape)) if after[axis] != shape[axis]]
    if len(shape) != 4 or len(changed) > 2:
        raise NotRead(f"{list(shape)} to {list(after)}")
    value = walk.ending_in(value, changed)
    axes = (value.axes.index(2), value.axes.index(3))
    before, wanted = [shape[axis] for axis in axes], [after[axis] for axis in axes]
    scales = None if factors is None else [factors[axis] for axis in axes]
    whole = all(new % old == 0 for new, old in zip(wanted, before, strict=True)) and len(
        {new // old for new, old in zip(wanted, before, strict=True)}
    )
    if _from_corner(call) and all(new % old == 0 for new, old in zip(wanted, before, strict=True)):
        made = from_corners(walk, call.name, walk.whole(value.name), (wanted[0], wanted[1]))
        return Map(made.name, value.axes)
    how = _how(call, whole == 1, all(new >= old for new, old in zip(wanted, before, strict=True)))
    if whole == 1:
        op = Resize(factor=wanted[0] // before[0], **how)
    elif scales is not None and scales[0] == scales[1]:
        op = Resize(factor=float(scales[0]), **how)
    elif scales is not None and any(int(s * f) != s * f for s, f in zip(before, scales, strict=True)):
        raise NotRead("by a fractional factor that differs between height and width")
    else:
        op = Resize(size=(wanted[0], wanted[1]), **how)
    if op == Resize(how["mode"], 1) and not how["antialias"]:
        return value
    return Map(walk.emit(call.name, op, [value.name]), value.axes)


def _from_corner(call: Call) -> bool:
    """Whether pixels are interpolated as TensorFlow 1 did, and as Upsample does."""
    old = call.kind == "Upsample" or call.opset < 11
    where = "asymmetric" if old else call.text("coordinate_transformation_mode", "half_pixel")
    return call.text("mode", "nearest") == "linear" and where == "asymmetric" and not call.attrs.get("antialias", 0)


def _target(call: Call, shape: tuple[int, ...]) -> tuple[list[float] | None, list[int]]:
    """Factors, if the file has them, and the sides that come out."""
    if call.kind == "Upsample" or call.opset < 11:
        factors = call.attrs["scales"] if "scales" in call.attrs else call.numbers(1, "its factors").reshape(-1).tolist()
    elif call.has(3) and call.numbers(3).size:
        sizes = call.numbers(3, "its sizes").astype(int).reshape(-1).tolist()
        if call.text("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise NotRead("to a size that keeps the aspect ratio")
        return None, _over_axes(call, sizes, shape)
    else:
        factors = call.numbers(2, "its factors").reshape(-1).tolist()
    factors = _over_axes(call, [float(factor) for factor in factors], (1.0,) * len(shape))
    return factors, [int(side * factor) for side, factor in zip(shape, factors, strict=True)]


def _over_axes(call: Call, given: list[Any], others: tuple[Any, ...]) -> list[Any]:
    axes = call.integers("axes", default=list(range(len(others))))
    found = list(others)
    if len(axes) != len(given):
        raise NotRead(f"{given} for {len(others)} axes")
    for axis, item in zip(axes, given, strict=True):
        found[axis] = item
    return found


def _how(call: Call, whole: bool, enlarges: bool) -> dict[str, Any]:
    """Mode, corners and antialiasing, where PyTorch has them."""
    kind = call.text("mode", "nearest")
    old = call.kind == "Upsample" or call.opset < 11
    where = "asymmetric" if old else call.text("coordinate_transformation_mode", "half_pixel")
    antialias = bool(call.attrs.get("antialias", 0))
    if where == "half_pixel_symmetric" and whole:
        where = "half_pixel"  # they differ where the sizes are no factors
    if kind == "nearest":
        rounding = "floor" if old else call.text("nearest_mode", "round_prefer_floor")
        exact = where in ("half_pixel", "pytorch_half_pixel") and rounding.startswith("round")
        if (where, rounding) == ("asymmetric", "floor") or (where == "tf_half_pixel_for_nn" and whole):
            mode: Mode = "nearest"
        elif exact and whole and enlarges:
            mode = "nearest"
        elif exact and rounding == "round_prefer_ceil":
            mode = "nearest-exact"
        else:
            raise NotRead(f"nearest, {where}, {rounding}: PyTorch has no such resize")
        return {"mode": mode, "align_corners": False, "antialias": False}
    modes: Mapping[str, Mode] = {"linear": "bilinear", "cubic": "bicubic"}
    if kind not in modes or where not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        raise NotRead(f"{kind}, {where}: PyTorch has no such resize")
    curve = float(call.attrs.get("cubic_coeff_a", -0.75))
    if kind == "cubic" and abs(curve - (-0.5 if antialias else -0.75)) > 1e-6:
        raise NotRead(f"cubic with the coefficient {curve:g}: PyTorch has no such resize")
    if bool(call.attrs.get("exclude_outside", 0)) != antialias and (kind == "cubic" or (antialias and not enlarges)):
        raise NotRead(f"{kind} {'with' if antialias else 'without'} what lies outside: PyTorch has no such resize")
    return {"mode": modes[kind], "align_corners": where == "align_corners", "antialias": antialias}


@READS.register("GlobalAveragePool", "GlobalMaxPool", "QLinearGlobalAveragePool", becomes=(Mean, Max))
def _global(walk: Walk, call: Call) -> Value:
    value = call.map()
    if len(value.axes) != 4:
        raise NotRead(f"of {len(value.axes)} axes")
    op = Max() if call.kind == "GlobalMaxPool" else Mean()
    made = walk.once((call.kind, value), lambda: walk.put(call.name, op, [value]))
    return saturated(walk, call, made) if call.kind.startswith("Q") else made


@READS.register("MaxPool", "AveragePool", becomes=(MaxPool, AvgPool, Pad))
def _pool(walk: Walk, call: Call) -> Map | list[Map]:
    value = call.map()
    kernel = tuple(call.integers("kernel_shape"))
    if len(kernel) == 1 and len(value.axes) == 3:
        return _pooled_line(walk, call, value)
    if len(kernel) != 2 or len(value.axes) != 4:
        raise NotRead(f"windows of {len(kernel)} sides")
    strides, dilations = (tuple(call.integers(key, default=[1, 1])) for key in ("strides", "dilations"))
    if dilations != (1, 1):
        raise NotRead("dilated windows")
    top, left, bottom, right = window_padding(walk, call, value, kernel, strides, dilations)
    if call.attrs.get("ceil_mode", 0):
        sides = zip(walk.shape(value)[2:], kernel, strides, (top + bottom, left + right), strict=True)
        down, beside = (beyond(side + both, size, step, 0) for side, size, step, both in sides)
        if (down or beside) and call.kind == "MaxPool" and not any((top, left, bottom, right)):
            value = padded(walk, f"{call.name}.border", value, {2: (0, down), 3: (0, beside)}, "edge")  # changes no maximum
        elif down or beside:
            walk.misfits.append(f"{call.label}: windows that the border cuts off (ceil_mode)")
            raise NotRead("windows that are cut off by the border (ceil_mode)")
    mean, counted = call.kind == "AveragePool", bool(call.attrs.get("count_include_pad", 0))
    even = (top, left) == (bottom, right)
    if not even or 2 * top > kernel[0] or 2 * left > kernel[1]:
        if mean and not counted:
            raise NotRead("uneven padding")
        # the border once more changes no maximum
        how = "constant" if mean or walk.never_negative(value.name, pictures=False) else "edge"
        value = padded(walk, f"{call.name}.pad", value, {2: (top, bottom), 3: (left, right)}, how)
        top = left = 0
    if mean:
        return walk.put(call.name, AvgPool(kernel, strides, (top, left), counted), [value])
    return [walk.put(call.name, MaxPool(kernel, strides, (top, left)), [value])] * len(call.outputs)


def _pooled_line(walk: Walk, call: Call, value: Map) -> Map | list[Map]:
    """Pooling of lines, as that of pictures of one row."""
    shape, attrs = walk.shape(value), dict(call.attrs)
    attrs["kernel_shape"] = [1, *attrs["kernel_shape"]]
    for key in ("strides", "dilations"):
        attrs[key] = [1, *attrs.get(key, [1])]
    before, behind = attrs.pop("pads", [0, 0])
    row = replace(
        call,
        parsed=replace(call.parsed, attrs={**attrs, "pads": [0, before, 0, behind]}),
        inputs=(walk.reshaped(f"{call.name}.row", value, (*shape[:2], 1, shape[2])), *call.inputs[1:]),
    )
    made = _pool(walk, row)
    first = made[0] if isinstance(made, list) else made
    sides = walk.shape(first)
    return walk.reshaped(f"{call.name}.line", first, (*sides[:2], sides[3]))


@READS.register("GridSample", becomes=(GridSample, Slice, Reshape, Affine, Mul, Add))
def _grid_sample(walk: Walk, call: Call) -> Value:
    names = {"bilinear": "bilinear", "linear": "bilinear", "nearest": "nearest", "bicubic": "bicubic", "cubic": "bicubic"}
    mode: Any = names.get(call.text("mode", "linear"))
    around: Any = call.text("padding_mode", "zeros")
    if mode is None:
        raise NotRead(f"mode {call.text('mode')}")
    op = GridSample(mode, around, bool(call.attrs.get("align_corners", 0)))
    picture, places = call.inputs[:2]
    if isinstance(places, Constant) and isinstance(picture, Map):
        places = walk.constant(f"{call.name}.places", tensor(places.real), picture)
    elif isinstance(picture, Constant) and isinstance(places, Map):
        picture = walk.constant(f"{call.name}.picture", tensor(picture.real), places)
    if not isinstance(picture, Map) or not isinstance(places, Map):
        raise NotRead("an input is left out")
    return walk.put(call.name, op, [picture, places])
