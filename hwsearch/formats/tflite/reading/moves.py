"""Readers of operators that move values: shapes, orders, parts, copies, padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwsearch.formats.reading.builder import Map
from hwsearch.formats.tflite.reading.table import READS, Call, Value
from hwsearch.formats.tflite.reading.walk import Walk
from hwsearch.formats.tflite.writing.form import VALID
from searchspaces.ops.moves.move import Concat, Expand, Flip, Gather, Permute, PixelShuffle, PixelUnshuffle, Reshape, Slice
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead


@READS.register("SHAPE")
def _shape(walk: Walk, call: Call) -> Value:
    return np.array(walk.shape(call.map()), np.int64)


@READS.register("RESHAPE", "SQUEEZE", "EXPAND_DIMS", becomes=(Reshape,))
def _reshape(walk: Walk, call: Call) -> Value:
    value = call.inputs[0]
    shape = list(value.shape) if isinstance(value, np.ndarray) else list(walk.shape(call.map()))
    if call.kind == "SQUEEZE":
        gone = {int(axis) % len(shape) for axis in call.options.get("SqueezeDimsAsNumpy", ())} or {
            axis for axis, side in enumerate(shape) if side == 1
        }
        sizes = [side for axis, side in enumerate(shape) if axis not in gone]
    elif call.kind == "EXPAND_DIMS":
        axis = call.integers(1)[0] % (len(shape) + 1)
        sizes = [*shape[:axis], 1, *shape[axis:]]
    else:
        sizes = call.integers(1, "its sizes") if call.has(1) else list(call.written.shape)
        known = int(np.prod([size for size in sizes if size != -1]))
        sizes = [int(np.prod(shape)) // max(known, 1) if size == -1 else size for size in sizes]
    if isinstance(value, np.ndarray):
        return value.reshape(sizes)
    if np.prod(sizes) != np.prod(shape):
        walk.misfits.append(f"{call.name}: {shape} as {sizes}")
        raise NotRead(f"{shape} as {sizes}")
    return walk.reshaped(call.name, call.map(), sizes)


@READS.register("TRANSPOSE", becomes=(Permute,))
def _transpose(walk: Walk, call: Call) -> Value:
    if isinstance(call.inputs[0], np.ndarray):
        return call.constant(0).transpose(call.integers(1))
    return walk.turned(call.map(), call.integers(1, "its order"))


@READS.register("CONCATENATION", becomes=(Concat,))
def _concat(walk: Walk, call: Call) -> Value:
    if all(isinstance(value, np.ndarray) for value in call.inputs):
        return np.concatenate([call.constant(i) for i in range(len(call.inputs))], int(call.options["Axis"]))
    return walk.concatenated(call.name, [call.map(i) for i in range(len(call.inputs))], int(call.options["Axis"]))


@READS.register("PACK", becomes=(Reshape, Concat))
def _pack(walk: Walk, call: Call) -> Value:
    axis = int(call.options["Axis"])
    if all(isinstance(value, np.ndarray) for value in call.inputs):
        return np.stack([call.constant(i) for i in range(len(call.inputs))], axis)
    parts = []
    for place in range(len(call.inputs)):
        shape = list(walk.shape(call.map(place)))
        at = axis % (len(shape) + 1)
        parts.append(walk.reshaped(f"{call.name}.{place}", call.map(place), [*shape[:at], 1, *shape[at:]]))
    return walk.concatenated(call.name, parts, axis)


@READS.register("UNPACK", becomes=(Slice, Reshape))
def _unpack(walk: Walk, call: Call) -> Any:
    if isinstance(call.inputs[0], np.ndarray):
        axis = int(call.options["Axis"])
        return [part.squeeze(axis) for part in np.split(call.constant(0), call.constant(0).shape[axis], axis)]
    value = call.map()
    shape = list(walk.shape(value))
    axis = int(call.options["Axis"]) % len(shape)
    rest = [*shape[:axis], *shape[axis + 1 :]]
    return [
        walk.reshaped(f"{call.name}.{i}", walk.part(f"{call.name}.{i}.part", value, axis, i, i + 1), rest)
        for i in range(shape[axis])
    ]


@READS.register("SPLIT", "SPLIT_V", becomes=(Slice,))
def _split(walk: Walk, call: Call) -> Any:
    first = call.kind == "SPLIT"
    value, axis = call.map(1 if first else 0), call.integers(0 if first else 2)[0]
    axis %= len(value.axes)
    side, count = walk.shape(value)[axis], len(call.operator.outputs)
    sizes = [side // count] * count if first else call.integers(1)
    stops = np.cumsum(sizes).tolist()
    if stops[-1] != side or min(sizes) < 1:
        raise NotRead(f"{side} places in parts of {sizes}")
    return [
        walk.part(f"{call.name}.{i}", value, axis, stop - size, stop)
        for i, (size, stop) in enumerate(zip(sizes, stops, strict=True))
    ]


@READS.register("SLICE", becomes=(Slice, Pad))
def _slice(walk: Walk, call: Call) -> Value:
    begin, size = call.integers(1), call.integers(2)
    if isinstance(call.inputs[0], np.ndarray):
        return call.constant(0)[tuple(slice(b, None if s == -1 else b + s) for b, s in zip(begin, size, strict=True))]
    value = call.map()
    stored, before = call.stored[0], walk.shape(call.map())
    assert stored is not None
    for axis, (start, count) in enumerate(zip(begin, size, strict=True)):
        whole = count == -1 or (len(stored.shape) == len(before) and start == 0 and count == stored.shape[axis])
        stop = before[axis] if whole else start + count
        value = walk.part(f"{call.name}.{axis}" if axis < len(begin) - 1 else call.name, value, axis, start, stop)
    return value


@READS.register("GATHER", becomes=(Gather, Slice))
def _gather(walk: Walk, call: Call) -> Value:
    index, axis = call.constant(1, "its index"), int(call.options["Axis"])
    if isinstance(call.inputs[0], np.ndarray):
        return np.take(call.constant(0), index.astype(int), axis)
    value = call.map()
    shape = walk.shape(value)
    axis %= len(shape)
    found = walk.gathered(call.name, value, [int(place) for place in index.reshape(-1)], axis)
    return found if index.ndim == 1 else walk.reshaped(call.name, found, (*shape[:axis], *index.shape, *shape[axis + 1 :]))


@READS.register("REVERSE_V2", becomes=(Flip,))
def _reverse(walk: Walk, call: Call) -> Value:
    value = call.map()
    axes = tuple(sorted(value.axes[axis] for axis in call.integers(1)))
    return Map(walk.emit(call.name, Flip(axes), [value.name]), value.axes)


@READS.register("TILE", becomes=(Concat,))
def _tile(walk: Walk, call: Call) -> Value:
    value = call.map()
    for axis, count in enumerate(call.integers(1, "how often")):
        if count > 1:
            value = walk.concatenated(f"{call.name}.{axis}", [value] * count, axis)
    return value


@READS.register("BROADCAST_TO", becomes=(Expand,))
def _broadcast(walk: Walk, call: Call) -> Value:
    value = call.map()
    before, after = walk.shape(value), tuple(call.integers(1, "its sizes"))
    added = len(after) - len(before)
    sizes = tuple(-1 if place >= added and before[place - added] == new else new for place, new in enumerate(after))
    return walk.put(call.name, Expand(sizes), [value])


MIRROR = {0: "reflect"}
"""How MIRROR_PAD numbers its modes; 1 repeats the border, which PyTorch does not."""


LEAST = -1e30
"""What stands below it is there to lose against every value."""


def _is_pooled(walk: Walk, call: Call, amounts: np.ndarray) -> bool:
    """Whether all that reads a padded picture takes the largest value of windows that reach into the picture."""
    padded = call.operator.outputs[0]
    readers = [operator for operator in walk.model.operators if padded in operator.inputs]
    sides = [int(amounts[axis].max()) for axis in (1, 2)] if len(amounts) == 4 else []
    return (
        padded != walk.model.output
        and len(sides) == 2
        and all(
            operator.name == "MAX_POOL_2D"
            and operator.options["Padding"] == VALID
            and sides[0] < operator.options["FilterHeight"]
            and sides[1] < operator.options["FilterWidth"]
            for operator in readers
        )
    )


@READS.register("PAD", "PADV2", "MIRROR_PAD", becomes=(Pad,))
def _pad(walk: Walk, call: Call) -> Value:
    value, amounts = call.map(), call.constant(1, "its amounts").astype(int)
    if amounts.shape != (len(value.axes), 2):
        raise NotRead(f"amounts {list(amounts.shape)} for {len(value.axes)} axes")
    mode: Any = MIRROR.get(int(call.options.get("Mode", 0))) if call.kind == "MIRROR_PAD" else "constant"
    if mode is None:
        raise NotRead("symmetric padding")
    constant = float(call.constant(2).reshape(-1)[0]) if call.kind == "PADV2" else 0.0
    if constant < LEAST:
        if not _is_pooled(walk, call, amounts):
            raise NotRead(f"padding with {constant:g}")
        mode = "replicate"  # the border once more changes no maximum
    if mode != "constant":
        value = walk.ending_in(value, [axis for axis, ends in enumerate(amounts.tolist()) if any(ends)])
    lying = {value.axes[axis]: ends for axis, ends in enumerate(amounts.tolist())}
    sides = [side for axis in reversed(range(len(value.axes))) for side in lying[axis]]
    while len(sides) > 4 and not any(sides[-2:]):
        del sides[-2:]
    if not any(sides):
        return value
    if mode != "constant" and len(sides) > 4:
        raise NotRead(f"{mode} padding of more than two axes")
    return Map(walk.emit(call.name, Pad(tuple(sides), mode, constant), [value.name]), value.axes)


@READS.register("DEPTH_TO_SPACE", becomes=(PixelShuffle, Gather))
def _depth_to_space(walk: Walk, call: Call) -> Value:
    """It takes channels block by block, a pixel shuffle channel by channel."""
    value, factor = walk.first(call.map()), int(call.options["BlockSize"])
    channels = walk.shape(value)[1]
    if not 1 <= factor <= 64 or channels % factor**2:
        raise NotRead(f"{channels} channels in blocks of {factor}")
    order = np.arange(channels).reshape(factor**2, channels // factor**2).T.reshape(-1)
    return walk.last(walk.put(call.name, PixelShuffle(factor), [walk.gathered(f"{call.name}.order", value, order.tolist(), 1)]))


@READS.register("SPACE_TO_DEPTH", becomes=(PixelUnshuffle, Gather))
def _space_to_depth(walk: Walk, call: Call) -> Value:
    value, factor = walk.first(call.map()), int(call.options["BlockSize"])
    made = walk.put(call.name, PixelUnshuffle(factor), [value])
    channels = walk.shape(made)[1]
    order = np.arange(channels).reshape(channels // factor**2, factor**2).T.reshape(-1)
    return walk.last(walk.gathered(f"{call.name}.order", made, order.tolist(), 1))
