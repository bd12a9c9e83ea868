"""Pictures that are taken apart, as TensorFlow writes dilated convolutions: every second row and column is a picture of its own.

SPACE_TO_BATCH_ND pads the picture and takes it apart, a convolution without padding reads the parts, BATCH_TO_SPACE_ND puts them
together and cuts. A kernel whose places are as far apart as the pixels of a part computes the same from the whole picture, and is
what is read: padding, the dilated convolution, and what is cut off.
"""

from __future__ import annotations

from hwsearch.formats.reading.builder import Map
from hwsearch.formats.tflite.reading.table import READS, Call, Value
from hwsearch.formats.tflite.reading.walk import TOGETHER, Walk
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead


@READS.register("SPACE_TO_BATCH_ND", becomes=(Pad,))
def _apart(walk: Walk, call: Call) -> Value:
    value = walk.first(call.map())
    block, amounts = call.integers(1, "its block"), call.constant(2, "its amounts").astype(int)
    if len(block) != 2 or min(block) < 1 or amounts.shape != (2, 2) or amounts.min() < 0:
        raise NotRead(f"blocks of {block}")
    for side, before_and_after, step in zip(walk.shape(value)[2:], amounts, block, strict=True):
        if (side + before_and_after.sum()) % step:
            walk.misfits.append(f"{call.name}: {side} pixels in parts of {step}")
            raise NotRead(f"{side} pixels in parts of {step}")
    walk.blocks[call.operator.outputs[0]] = (block[0], block[1])
    return walk.last(_around(walk, call, value, amounts.tolist()))


@READS.register(TOGETHER, becomes=(Pad,))
def _together(walk: Walk, call: Call) -> Value:
    block, crops = call.integers(1, "its block"), call.constant(2, "its amounts").astype(int)
    if walk.blocks.get(call.operator.inputs[0]) != tuple(block) or crops.shape != (2, 2) or crops.min() < 0:
        raise NotRead(f"blocks of {block} of a picture that is not taken apart into as many")
    return walk.last(_around(walk, call, walk.first(call.map()), (-crops).tolist()))


def _around(walk: Walk, call: Call, value: Map, amounts: list[list[int]]) -> Map:
    sides = (*amounts[1], *amounts[0])
    return Map(walk.emit(call.name, Pad(sides), [value.name]), value.axes) if any(sides) else value
