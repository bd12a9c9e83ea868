"""Readers of operators of pictures: padding, resizing, pooling, samples of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwsearch.formats.onnx.reading.constants import Constant
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map, tensor
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.grid_sample import GridSample
from searchspaces.ops.moves.move import Concat, Reshape, Slice
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead


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
