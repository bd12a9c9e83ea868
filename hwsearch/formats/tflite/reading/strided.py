"""The reader of STRIDED_SLICE: a part along each axis, by steps, with masks of bits that say what each entry of its lists means.

Masks as in the TFLite schema: an ellipsis stands for all axes that no entry names, a new axis is one of length 1, an axis that
shrinks is read at one place and goes; the begin and end masks take the whole side. With ``Offset`` ends count from the place
where parts begin, by their masks, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwsearch.formats.reading.builder import Map
from hwsearch.formats.tflite.reading.table import READS, Call, Value
from hwsearch.formats.tflite.reading.walk import Walk
from searchspaces.ops.moves.move import Flip, Gather, Reshape, Slice
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead


@dataclass(frozen=True)
class Cuts:
    """What is taken along each axis of the value, and the axes of the result: the number of one of the value, None where one is
    added."""

    parts: tuple[slice, ...]
    kept: tuple[int | None, ...]


def _cuts(call: Call, sides: list[int]) -> Cuts:
    begin, end, steps = (call.integers(place) for place in (1, 2, 3))
    masks = {key: int(call.options.get(f"{key}Mask", 0)) for key in ("Begin", "End", "Ellipsis", "NewAxis", "ShrinkAxis")}

    def has(key: str, entry: int) -> bool:
        return bool(masks[key] >> entry & 1)

    named = sum(not has("Ellipsis", entry) and not has("NewAxis", entry) for entry in range(len(begin)))
    parts: list[slice] = []
    kept: list[int | None] = []
    for entry, (start, stop, step) in enumerate(zip(begin, end, steps, strict=True)):
        axis = len(parts)
        if has("Ellipsis", entry):
            left = range(axis, axis + len(sides) - named)
            parts += [slice(None)] * len(left)
            kept += left
        elif has("NewAxis", entry):
            kept.append(None)
        elif has("ShrinkAxis", entry):
            if not -sides[axis] <= start < sides[axis]:
                raise NotRead(f"place {start} of {sides[axis]}")
            at = start % sides[axis]
            parts.append(slice(at, at + 1, 1))
        else:
            first, last = None if has("Begin", entry) else start, None if has("End", entry) else stop
            if last is not None and call.options.get("Offset"):
                last += slice(first, None, step).indices(sides[axis])[0]
                last = last if last >= 0 else -sides[axis] - 1
            # An end in front of the first place, counted from the back, has no number in Python where steps go backwards.
            parts.append(slice(first, None if step < 0 and last is not None and last < -sides[axis] else last, step))
            kept.append(axis)
    kept += range(len(parts), len(sides))
    return Cuts(tuple(parts), tuple(kept))


@READS.register("STRIDED_SLICE", becomes=(Slice, Flip, Gather, Pad, Reshape))
def _strided(walk: Walk, call: Call) -> Value:
    constant = call.inputs[0]
    if isinstance(constant, np.ndarray):
        cuts = _cuts(call, list(constant.shape))
        found = constant[cuts.parts]
        return found.reshape([1 if axis is None else found.shape[axis] for axis in cuts.kept])
    value = call.map()
    sides = list(walk.shape(value))
    cuts = _cuts(call, sides)
    for axis, cut in enumerate(cuts.parts):
        start, stop, step = cut.indices(sides[axis])
        name = f"{call.name}.{axis}"
        if step > 0:
            value = walk.part(name, value, axis, start, stop, step)
        elif (start, stop, step) == (sides[axis] - 1, -1, -1):
            value = Map(walk.emit(name, Flip((value.axes[axis],)), [value.name]), value.axes)
        elif value.axes[axis] == 1:
            value = walk.gathered(name, value, range(start, stop, step), axis)
        else:
            raise NotRead(f"by steps of {step}")
    after = walk.shape(value)
    wanted = [1 if axis is None else after[axis] for axis in cuts.kept]
    return value if cuts.kept == tuple(range(len(sides))) else walk.reshaped(call.name, value, wanted)
