"""Conversions of pictures from and to bytes at the ends of a TFLite file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwsearch.formats.reading.byte_pictures import BytePictures
from hwsearch.formats.tflite.integers.convolution import grid_of
from hwsearch.formats.tflite.tables import StoredModel, StoredOperator

BOUNDS = ("MINIMUM", "MAXIMUM", "RELU", "RELU6", "RELU_0_TO_1", "RESHAPE")
"""What may lie between the rounding of a picture and its conversion."""
ROUNDS = ("ROUND", "FLOOR")


def find(model: StoredModel) -> tuple[BytePictures, tuple[StoredOperator, ...]]:
    """Whether a file takes and gives bytes without a scale, and the operators that round and convert what it gives."""
    readers = [operator for operator in model.operators if model.input in operator.inputs]
    taken = _is_byte(model, model.input) and all(operator.name == "CAST" for operator in readers)
    writers = {index: operator for operator in model.operators for index in operator.outputs}
    converts = writers.get(model.output)
    if converts is None or converts.name != "CAST" or not converts.inputs or not _is_byte(model, model.output):
        return BytePictures(taken, given=False), ()
    passed, before = [converts], _before(converts, writers)
    if before is not None and before.name in ROUNDS:
        passed.append(before)
        before = _before(before, writers) if before.name == "FLOOR" else None
    if before is not None and before.name == "ADD" and _is_half(model, before.inputs[1]):
        passed.append(before)  # so that cutting off rounds
    return BytePictures(taken, given=True), tuple(passed)


def _before(operator: StoredOperator, writers: Mapping[int, StoredOperator]) -> StoredOperator | None:
    """What writes the first input of an operator, before bounds; None where nothing does, or they go round in a circle."""
    seen: set[int] = set()
    place = operator.inputs[0]
    while (before := writers.get(place)) is not None and before.name in BOUNDS:
        if place in seen or not before.inputs:
            return None
        seen.add(place)
        place = before.inputs[0]
    return before


def _is_half(model: StoredModel, index: int) -> bool:
    data = model.tensors[index].data
    return data is not None and np.array_equal(np.asarray(data).reshape(-1), [0.5])


def _is_byte(model: StoredModel, index: int) -> bool:
    tensor = model.tensors[index]
    return tensor.kind == "uint8" and grid_of(tensor) is None
