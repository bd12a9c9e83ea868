"""Readers of operators that move values: shapes, orders, parts, copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from hwsearch.formats.onnx.reading.constants import Constant
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map, tensor
from searchspaces.ops.maps.activation import Sigmoid
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.move import (
    Concat,
    Expand,
    Flip,
    Gather,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Repeat,
    Reshape,
    Slice,
)
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead


@READS.register("Shape", "Size")
def _shape(walk: Walk, call: Call) -> Value:
    """At one size of the picture the shape of a tensor is a list of numbers."""
    shape = walk.shape(call.map())
    if call.kind == "Size":
        return walk.number(np.int64(np.prod(shape)), call.name)
    start, end = call.attrs.get("start", 0), call.attrs.get("end", len(shape))
    return walk.number(np.array(shape[start:end], np.int64), call.name)


@READS.register("Reshape", "Flatten", "Squeeze", "Unsqueeze", becomes=(Reshape,))
def _reshape(walk: Walk, call: Call) -> Value:
    value = call.map()
    shape = list(walk.shape(value))
    match call.kind:
        case "Reshape":
            sizes = _resolved(shape, call.integers("shape", 1), bool(call.attrs.get("allowzero", 0)))
        case "Flatten":
            axis = int(call.attrs.get("axis", 1)) % (len(shape) + 1) if shape else 0
            sizes = [int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))]
        case "Squeeze":
            ones = call.integers("axes", 1, [axis for axis, side in enumerate(shape) if side == 1])
            gone = {axis % len(shape) for axis in ones}
            sizes = [side for axis, side in enumerate(shape) if axis not in gone]
        case _:
            axes = call.integers("axes", 1)
            rank = len(shape) + len(axes)
            new = {axis % rank for axis in axes}
            rest = iter(shape)
            sizes = [1 if axis in new else next(rest) for axis in range(rank)]
    if np.prod(sizes) != np.prod(shape):
        walk.misfits.append(f"{call.label}: {shape} as {sizes}")
        raise NotRead(f"{shape} as {sizes}")
    return walk.reshaped(call.name, value, sizes)


def _resolved(shape: Sequence[int], sizes: Sequence[int], zero_is_zero: bool) -> list[int]:
    """Sizes as numbers: 0 keeps a side, -1 takes what is left over."""
    if sizes is None:
        raise NotRead("its sizes are computed from the picture")
    kept = [shape[i] if size == 0 and not zero_is_zero and i < len(shape) else size for i, size in enumerate(sizes)]
    known = int(np.prod([size for size in kept if size != -1]))
    return [int(np.prod(shape)) // max(known, 1) if size == -1 else size for size in kept]


@READS.register("Transpose", becomes=(Permute,))
def _transpose(walk: Walk, call: Call) -> Value:
    value = call.map()
    rank = len(value.axes)
    order = call.integers("perm", default=list(reversed(range(rank))))
    return walk.turned(value, [axis + rank if -rank <= axis < 0 else axis for axis in order])


@READS.register("Concat", "QLinearConcat", becomes=(Concat, Slice, Affine, Mul, Add))
def _concat(walk: Walk, call: Call) -> Value:
    inputs = call.inputs[2::3] if call.kind.startswith("Q") else call.inputs
    given = [value for value in inputs if not isinstance(value, Constant) or value.real.size]
    beside = next(value for value in given if isinstance(value, Map))
    axis = call.axis(len(beside.axes), 1)
    values = [_constant_part(walk, call, v.real, beside, axis) if isinstance(v, Constant) else v for v in given if v is not None]
    return walk.concatenated(call.name, values, axis)


def _constant_part(walk: Walk, call: Call, values: np.ndarray, beside: Map, axis: int) -> Map:
    """Constants beside a value along an axis: they are added to zero times a part of it."""
    if axis == 0 or values.ndim != len(beside.axes) or (values != values[:1]).any():
        return walk.constant(f"{call.name}.constant", tensor(values), beside)
    first = walk.part(f"{call.name}.beside", beside, axis, 0, 1)
    nothing = walk.scaled(f"{call.name}.nothing", first, 0.0, 0.0)
    return walk.pointwise(f"{call.name}.constant", Add(), [nothing], {"other": tensor(values[:1])})


@READS.register("Split", becomes=(Slice,))
def _split(walk: Walk, call: Call) -> Any:
    value = call.map()
    axis = call.axis(len(value.axes))
    side, count = walk.shape(value)[axis], len(call.outputs)
    sizes = call.integers("split", 1)
    return _parts(walk, call.outputs, value, axis, _even(side, -(-side // count), count) if sizes is None else sizes)


def _even(side: int, each: int, count: int) -> list[int]:
    """So many parts of one size, the last of what is left."""
    return [min(each, side - place * each) for place in range(count)]


def _parts(walk: Walk, names: Sequence[str], value: Map, axis: int, sizes: Sequence[int]) -> list[Map]:
    side, stops = walk.shape(value)[axis], np.cumsum(sizes).tolist()
    if not stops or stops[-1] != side or min(sizes) < 1:
        raise NotRead(f"{side} places in parts of {list(sizes)}")
    return [walk.part(name, value, axis, stop - size, stop) for name, size, stop in zip(names, sizes, stops, strict=False)]


@READS.register("SplitToSequence", becomes=(Slice, Reshape))
def _split_to_sequence(walk: Walk, call: Call) -> Value:
    """Parts of equal or given sizes, or of one place each, which ``SequenceAt`` takes out by their number."""
    value = call.map()
    axis = call.axis(len(value.axes))
    side = walk.shape(value)[axis]
    given = call.numbers(1, "its sizes").astype(int) if call.has(1) else np.asarray(1)
    if not given.ndim and given < 1:
        raise NotRead(f"in parts of {given}")
    sizes = given.tolist() if given.ndim else _even(side, int(given), -(-side // int(given)))
    found = _parts(walk, [f"{call.name}.{place}" for place in range(len(sizes))], value, axis, sizes)
    if not call.has(1) and not call.attrs.get("keepdims", 1):
        sides = [length for place, length in enumerate(walk.shape(value)) if place != axis]
        found = [walk.reshaped(f"{call.name}.{place}", one, sides) for place, one in enumerate(found)]
    walk.sequences[call.name] = found
    return value


@READS.register("SequenceAt", becomes=())
def _sequence_at(walk: Walk, call: Call) -> Value:
    items = walk.sequences.get(call.reads[0])
    place = int(call.numbers(1, "its place").reshape(-1)[0])
    if items is None or not -len(items) <= place < len(items):
        raise NotRead("not of a sequence that a tensor was split into")
    return items[place]


@READS.register("Slice", becomes=(Slice, Flip, Pad))
def _slice(walk: Walk, call: Call) -> Value:
    value = call.map()
    shape = walk.shape(value)
    starts, ends = call.integers("starts", 1), call.integers("ends", 2)
    axes = call.integers("axes", 3, list(range(len(starts))))
    steps = call.integers("steps", 4, [1] * len(starts))
    for i, (start, end, given, step) in enumerate(zip(starts, ends, axes, steps, strict=True)):
        axis = given % len(shape)
        found = slice(start, end, step).indices(shape[axis])
        name = call.name if i == len(starts) - 1 else f"{call.name}.{axis}"
        if step == -1 and found == (shape[axis] - 1, -1, -1):
            value = Map(walk.emit(name, Flip((value.axes[axis],)), [value.name]), value.axes)
            continue
        if step < 0:
            raise NotRead(f"by steps of {step}")
        if found[0] >= found[1]:  # nothing is left, as of a shift by no place that is spelled as two parts
            empty = [0 if place == axis else side for place, side in enumerate(shape)]
            return Constant(call.name, np.zeros(empty, np.float32), onnx.TensorProto.FLOAT)
        value = walk.part(name, value, axis, found[0], max(found[1], found[0]), step)
    return value


@READS.register("Gather", becomes=(Gather, Repeat, Slice, Sigmoid))
def _gather(walk: Walk, call: Call) -> Value:
    if isinstance(call.inputs[0], Constant):
        if not walk.notation:
            raise NotRead("looks values of the picture up in a table")
        return walk.unary(call.name, Sigmoid(), call.map(1))  # a function of codes by its table
    value, index = call.map(), call.numbers(1, "its index")
    axis = call.axis(len(value.axes))
    side = walk.shape(value)[axis]
    places = [int(place) % side for place in index.reshape(-1)]
    shape = walk.shape(value)
    after = (*shape[:axis], *index.shape, *shape[axis + 1 :])
    if len(places) == 1:
        found = walk.part(f"{call.name}.part", value, axis, places[0], places[0] + 1)
    elif (times := _times(places, side)) > 1:
        found = Map(walk.emit(call.name, Repeat(times, value.axes[axis]), [value.name]), value.axes)
    else:
        found = walk.gathered(call.name, value, places, axis)
    return found if index.ndim == 1 else walk.reshaped(call.name, found, after)


@READS.register("GatherElements", becomes=(Gather,))
def _gather_elements(walk: Walk, call: Call) -> Value:
    """The same places for everything beside them."""
    value, index = call.map(), call.numbers(1, "its index")
    shape, axis = walk.shape(value), call.axis(len(value.axes))
    first = np.moveaxis(index, axis, 0).reshape(index.shape[axis], -1)
    if np.delete(index.shape, axis).tolist() != np.delete(shape, axis).tolist() or (first != first[:, :1]).any():
        raise NotRead("every value has a place of its own")
    return walk.gathered(call.name, value, [int(place) % shape[axis] for place in first[:, 0]], axis)


@READS.register("GatherND", becomes=(Gather, Reshape))
def _gather_nd(walk: Walk, call: Call) -> Value:
    """Places along the first axes together."""
    value, index = call.map(), call.numbers(1, "its index").astype(np.int64)
    shape, count = walk.shape(value), index.shape[-1]
    if call.attrs.get("batch_dims", 0) or not count:
        raise NotRead("other places for every picture")
    first = np.array(shape[:count])
    at = np.moveaxis(index, -1, 0) % first.reshape(-1, *[1] * (index.ndim - 1))
    places = np.ravel_multi_index(tuple(at), shape[:count])
    flat = walk.reshaped(f"{call.name}.flat", value, (int(first.prod()), *shape[count:]))
    found = walk.gathered(call.name, flat, [int(place) for place in places.reshape(-1)], 0)
    return walk.reshaped(f"{call.name}.shaped", found, (*index.shape[:-1], *shape[count:]))


def _times(places: Sequence[int], side: int) -> int:
    """How often each place is named, where all are named in order and alike; else 0."""
    times, rest = divmod(len(places), side)
    return times if not rest and list(places) == np.repeat(np.arange(side), times).tolist() else 0


@READS.register("Expand", becomes=(Expand,))
def _expand(walk: Walk, call: Call) -> Value:
    value = call.map()
    sizes = [int(size) for size in call.numbers(1, "its sizes")]
    return expanded(walk, call.name, value, tuple(np.broadcast_shapes(walk.shape(value), tuple(sizes))))


def expanded(walk: Walk, name: str, value: Map, after: Sequence[int]) -> Map:
    """A value broadcast to a shape."""
    before = walk.shape(value)
    if before == tuple(after):
        return value
    added = len(after) - len(before)
    source = (1,) * added + before
    kept = (place >= added and old == new for place, (old, new) in enumerate(zip(source, after, strict=True)))
    sizes = tuple(-1 if keeps else int(new) for keeps, new in zip(kept, after, strict=True))
    return walk.put(name, Expand(sizes), [value])


@READS.register("Tile", becomes=(Concat,))
def _tile(walk: Walk, call: Call) -> Value:
    """Copies one behind the other, along one axis after another."""
    value = call.map()
    for axis, count in enumerate(call.numbers(1, "how often").astype(int).tolist()):
        if count > 1:
            value = walk.concatenated(f"{call.name}.{axis}", [value] * count, axis)
    return value


@READS.register("DepthToSpace", becomes=(PixelShuffle, Gather))
def _depth_to_space(walk: Walk, call: Call) -> Value:
    """A pixel shuffle takes channels channel by channel; the mode DCR block by block, so that they are put in order first."""
    value, factor = call.map(), int(call.attrs["blocksize"])
    if walk.shape(value)[1] % factor**2:
        raise NotRead(f"{walk.shape(value)[1]} channels in blocks of {factor}")
    if call.text("mode", "DCR") == "DCR":
        value = walk.gathered(f"{call.name}.order", value, blocks_first(walk.shape(value)[1], factor), 1)
    return walk.put(call.name, PixelShuffle(factor), [value])


def blocks_first(channels: int, factor: int) -> list[int]:
    """For each channel in the order of a pixel shuffle, where it stands when all channels of a block's first pixel come first."""
    count = channels // factor**2
    found: list[int] = np.arange(channels).reshape(factor**2, count).T.reshape(-1).tolist()
    return found


@READS.register("SpaceToDepth", becomes=(PixelUnshuffle, Gather))
def _space_to_depth(walk: Walk, call: Call) -> Value:
    """All channels of a block's first pixel come first."""
    value, factor = call.map(), int(call.attrs["blocksize"])
    made = walk.put(call.name, PixelUnshuffle(factor), [value])
    channels = walk.shape(made)[1]
    order = np.arange(channels).reshape(channels // factor**2, factor**2).T.reshape(-1)
    return walk.gathered(f"{call.name}.order", made, order.tolist(), 1)
