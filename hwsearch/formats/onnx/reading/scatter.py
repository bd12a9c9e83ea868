"""Readers of what puts values at places: ``ScatterND`` and ``ScatterElements`` with places that the file knows, ``Col2Im``."""

from __future__ import annotations

import numpy as np
import torch

from hwsearch.formats.onnx.reading.constants import Constant
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map, tensor
from searchspaces.ir.transposed import transposed_to_shuffled
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.maps.elementwise import Where
from searchspaces.ops.moves.move import Concat, Gather, PixelShuffle, Reshape
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead

KEPT = -1
"""In place of a number of an update: what was there stays."""


@READS.register("ScatterND", becomes=(Where, Concat, Gather, Reshape))
def _scatter_nd(walk: Walk, call: Call) -> Value:
    at = tuple(np.moveaxis(call.constant(1, "its places").real.astype(np.int64), -1, 0))
    return _written(walk, call, at)


@READS.register("ScatterElements", "Scatter", becomes=(Where, Concat, Gather, Reshape))
def _scatter_elements(walk: Walk, call: Call) -> Value:
    places = call.constant(1, "its places").real.astype(np.int64)
    at = np.indices(places.shape)
    at[call.axis(places.ndim)] = places
    return _written(walk, call, tuple(at))


def _written(walk: Walk, call: Call, at: tuple[np.ndarray, ...]) -> Value:
    """The first input with the third at places, an index array for each axis in front."""
    if call.text("reduction", "none") != "none":
        raise NotRead(f"reduction {call.text('reduction')}")
    before, updates = call.inputs[0], call.inputs[2]
    beside = next((value for value in (before, updates) if isinstance(value, Map)), None)
    if before is None or updates is None or beside is None:
        raise NotRead("an input is left out")
    shape = walk.shape(before) if isinstance(before, Map) else before.real.shape
    count = int(np.prod(walk.shape(updates) if isinstance(updates, Map) else updates.real.shape))
    if not count:
        return before
    source = np.full(shape, KEPT, np.int64)
    source[at] = np.arange(count).reshape(source[at].shape)
    if isinstance(updates, Constant):
        assert isinstance(before, Map)
        found = np.where(source == KEPT, 0, updates.real.reshape(-1)[source])
        return walk.pointwise(call.name, Where(), [before], {"mask": tensor(source == KEPT), "other": tensor(found)})
    if isinstance(before, Constant):
        before = walk.constant(f"{call.name}.before", tensor(before.real), updates)
    return _replaced(walk, call.name, before, updates, source)


def _replaced(walk: Walk, name: str, before: Map, updates: Map, source: np.ndarray) -> Map:
    """``before`` with number ``source`` of the updates wherever that is not ``KEPT``: both behind one another, and of these every
    place; along one axis where whole rows along it are written."""
    count = int(np.prod(walk.shape(updates)))
    for axis, side in enumerate(source.shape):
        rows = np.moveaxis(source, axis, 0).reshape(side, -1)
        written = np.flatnonzero((rows != KEPT).any(axis=1))
        if count != len(written) * rows.shape[1]:
            continue
        sides = (*source.shape[:axis], len(written), *source.shape[axis + 1 :])
        own = np.moveaxis(np.arange(count).reshape(sides), axis, 0).reshape(len(written), -1)
        number = {int(row[0]): place for place, row in enumerate(own)}
        taken = [number.get(int(row[0]), KEPT) for row in rows[written]]
        if KEPT in taken or not np.array_equal(own[taken], rows[written]):
            continue
        places = list(range(side))
        for row, place in zip(written, taken, strict=True):
            places[row] = side + place
        both = walk.concatenated(f"{name}.both", [before, walk.reshaped(f"{name}.updates", updates, sides)], axis)
        return walk.gathered(name, both, places, axis)
    lines = [walk.reshaped(f"{name}.{word}", value, (1, int(np.prod(walk.shape(value))))) for word, value in
             (("before", before), ("updates", updates))]  # fmt: skip
    flat = source.reshape(-1)
    places = np.where(flat == KEPT, np.arange(flat.size), flat.size + flat).tolist()
    found = walk.gathered(f"{name}.line", walk.concatenated(f"{name}.both", lines, 1), places, 1)
    return walk.reshaped(name, found, source.shape)


@READS.register("Col2Im", becomes=(Reshape, PixelShuffle, Conv, Pad))
def _folded(walk: Walk, call: Call) -> Value:
    """Windows ``[N, C kh kw, L]`` that do not overlap are a pixel shuffle; those that do are added up where they do, as a
    transposed convolution does whose kernels are one 1 each."""
    value = call.map()
    size, kernel = (call.integers(word, place) for word, place in (("image_shape", 1), ("block_shape", 2)))
    if len(size) != 2 or len(walk.shape(value)) != 3:
        raise NotRead("of what are no pictures")
    strides, dilations = (call.integers(word, default=[1, 1]) for word in ("strides", "dilations"))
    top, left, bottom, right = call.integers("pads", default=[0, 0, 0, 0])
    if len({*strides}) > 1 or len({*dilations}) > 1:
        raise NotRead("strides or dilations that differ in height and width")
    stride, dilation = strides[0], dilations[0]
    reaches = [dilation * (k - 1) + 1 for k in kernel]
    sides = [side + pads for side, pads in zip(size, (top + bottom, left + right), strict=True)]
    rows, columns = ((side - reach) // stride + 1 for side, reach in zip(sides, reaches, strict=True))
    count, entries, _ = walk.shape(value)
    source = walk.reshaped(f"{call.name}.windows", value, (count, entries, rows, columns))
    inside = kernel[0] * kernel[1]
    one_each = torch.eye(inside).reshape(inside, 1, *kernel)
    missing = [side - (n - 1) * stride - reach for side, reach, n in zip(sides, reaches, (rows, columns), strict=True)]
    extra = (missing[0] + top - bottom, missing[1] + left - right)
    weight, _, pads, cut = transposed_to_shuffled(one_each, None, stride, (top, left), extra, dilation)
    channels = entries // inside
    alone = weight.shape[2:] == (1, 1) and not any(pads)  # a phase reads one window, and every window is one of the picture
    if tuple(kernel) == (stride, stride) and dilation == 1 and alone:
        made = source
    else:
        op = Conv(padding=pads, groups=channels)
        made = walk.put(f"{call.name}.sum", op, [source], {"weight": weight.repeat(channels, 1, 1, 1)})
    if stride > 1:
        made = walk.put(f"{call.name}.shuffle", PixelShuffle(stride), [made])
    return walk.put(f"{call.name}.cut", Pad(cut), [made]) if any(cut) else made
