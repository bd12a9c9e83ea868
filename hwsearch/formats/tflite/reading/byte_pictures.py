"""Conversions of pictures from and to bytes at the ends of a TFLite file."""

from __future__ import annotations

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
    if converts is None or converts.name != "CAST" or not _is_byte(model, model.output):
        return BytePictures(taken, given=False), ()
    before = writers.get(converts.inputs[0])
    while before is not None and before.name in BOUNDS:
        before = writers.get(before.inputs[0])
    rounds = (before,) if before is not None and before.name in ROUNDS else ()
    return BytePictures(taken, given=True), (converts, *rounds)


def _is_byte(model: StoredModel, index: int) -> bool:
    tensor = model.tensors[index]
    return tensor.kind == "uint8" and grid_of(tensor) is None
