"""Conversions of pictures from and to bytes at the ends of a TFLite file."""

from __future__ import annotations

from collections import Counter

import numpy as np

from hwsearch.formats.reading.byte_pictures import BytePictures, Wiring, conversions
from hwsearch.formats.tflite.integers.convolution import grid_of
from hwsearch.formats.tflite.tables import StoredModel, StoredOperator

KINDS = {
    "CAST": "converts", "ROUND": "rounds", "FLOOR": "cuts", "RESHAPE": "moves", "TRANSPOSE": "moves",
    **dict.fromkeys(("MINIMUM", "MAXIMUM", "RELU", "RELU6", "RELU_0_TO_1"), "bounds"),
}  # fmt: skip
"""Operators as ``Wiring`` knows them."""


def find(model: StoredModel) -> tuple[BytePictures, tuple[tuple[StoredOperator, int], ...]]:
    """Whether a file takes and gives bytes without a scale, and the operators that round and convert what it gives, each with the
    tensor that stands for what it writes."""
    readers = [operator for operator in model.operators if model.input in operator.inputs]
    taken = _is_byte(model, model.input) and all(operator.name == "CAST" for operator in readers)
    if not _is_byte(model, model.output):
        return BytePictures(taken, given=False), ()

    def is_half(index: int) -> bool:
        data = model.tensors[index].data
        return data is not None and np.array_equal(np.asarray(data).reshape(-1), [0.5])

    writers = {index: operator for operator in model.operators for index in operator.outputs}
    reads = Counter(index for operator in model.operators for index in operator.inputs)
    reads[model.output] += 1
    found = conversions(Wiring(writers, reads, _kind, lambda operator: operator.inputs, is_half), model.output)
    return BytePictures(taken, given=bool(found)), tuple(found)


def _kind(operator: StoredOperator) -> str:
    if operator.name == "ADD":
        return "" if operator.options.get("FusedActivationFunction", 0) else "adds"
    return KINDS.get(operator.name, "")


def _is_byte(model: StoredModel, index: int) -> bool:
    tensor = model.tensors[index]
    return tensor.kind == "uint8" and grid_of(tensor) is None
