"""Where the picture goes into a TFLite file, and where it comes out.

TensorFlow's converters write channels last. Converters of PyTorch keep the module's own order at both ends: channels first,
turned behind the input and in front of the output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hwmodels.errors import FileError
from hwsearch.formats.reading.builder import TO_CHANNELS_FIRST, TO_CHANNELS_LAST, USUAL_CHANNELS
from hwsearch.formats.tflite.tables import StoredModel

MOST_CHANNELS = 4096


@dataclass(frozen=True)
class Door:
    """The input of a file: its ``channels``, whether they stand ``last``, the ``size`` of its pictures (height, width) or None
    where it takes any."""

    channels: int
    last: bool
    size: tuple[int, int] | None

    def shape(self, height: int, width: int) -> list[int]:
        """The shape of the input for one picture."""
        return [1, height, width, self.channels] if self.last else [1, self.channels, height, width]


def door(model: StoredModel) -> Door:
    """The input of a file.

    Raises:
        FileError: it has not the shape of a picture.
    """
    shape = model.tensors[model.input].shape
    if len(shape) != 4 or 0 in shape:
        raise FileError(
            f"the input has the shape {list(shape)}, not that of a picture [1, height, width, channels]",
            "Convert the network again, with pictures of four axes: batch, height, width and channels (or channels in front).",
        )
    last = not _channels_first(model, shape)
    channels, sides = (shape[3], shape[1:3]) if last else (shape[1], shape[2:4])
    if channels > MOST_CHANNELS:
        raise FileError(f"the input has the shape {list(shape)}, which would be a picture of {channels} channels")
    return Door(channels, last, (sides[0], sides[1]) if min(sides) > 1 else None)


def _channels_first(model: StoredModel, shape: Sequence[int]) -> bool:
    """By how the file turns its input; where it does not, by which side is one of channels of a picture."""
    turns = set()
    for operator in model.operators:
        if operator.name == "TRANSPOSE" and len(operator.inputs) == 2 and operator.inputs[0] == model.input:
            order = model.tensors[operator.inputs[1]].data
            turns.add(None if order is None else tuple(int(axis) for axis in order.reshape(-1)))
    if TO_CHANNELS_LAST in turns or TO_CHANNELS_FIRST in turns:
        return TO_CHANNELS_FIRST not in turns
    return shape[1] in USUAL_CHANNELS and shape[3] not in USUAL_CHANNELS and shape[2] > 1


def is_last(shape: Sequence[int], given: Door) -> bool:
    """Whether a picture that comes out has its channels last: as the input has, or where those of the input stand first and only
    the last axis has as many."""
    return given.last or (shape[1] != given.channels == shape[3])


def picture(model: StoredModel, given: Door) -> int:
    """Which output is the picture: of those with as many channels as go in the largest, the first where no shape tells."""
    found, largest = 0, 1
    for place, index in enumerate(model.outputs):
        shape = model.tensors[index].shape
        if len(shape) != 4:
            continue
        last = is_last(shape, given)
        area = math.prod(shape[1:3] if last else shape[2:4])
        if shape[3 if last else 1] == given.channels and area > largest:
            found, largest = place, area
    return found
