"""SLICE, CONCATENATION, RESHAPE and TRANSPOSE: operators that copy integers, whatever the tensors stand for.

Each function appends the constants that its operator takes, and gives what appends the operator itself once the tensor is known
that it writes. Versions are the first that have the type and the number of axes, as TensorFlow Lite's ``op_version.cc`` counts
them: an interpreter that knows no later one can still load the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hwsearch.formats.tflite.writing.file import FlatModel, Options

Copy = Callable[[int], int]
"""Appends an operator that writes a tensor; returns the tensor."""


def sliced(file: FlatModel, name: str, x: int, begin: Sequence[int], size: Sequence[int]) -> Copy:
    """A part of ``x``: ``size`` elements along every axis from ``begin`` on, -1 for all that are left. Its constants are called
    ``name``/begin and ``name``/size."""
    inputs = [x, _integers(file, f"{name}/begin", begin), _integers(file, f"{name}/size", size)]
    version = 5 if _axes(file, x) > 4 else 4 if _wide(file, x) else 2
    return lambda y: file.op("SLICE", inputs, y, Options("SliceOptions"), version)


def concatenated(file: FlatModel, parts: Sequence[int], axis: int) -> Copy:
    """Tensors one behind the other along an axis of the file."""
    options = Options("ConcatenationOptions", {"Axis": axis})
    return lambda y: file.op("CONCATENATION", parts, y, options, 3 if _wide(file, parts[0]) else 2)


def reshaped(file: FlatModel, name: str, x: int, shape: Sequence[int]) -> Copy:
    """The elements of ``x`` in another shape. ``name``: of the constant that holds it."""
    inputs = [x, _integers(file, name, shape)]
    return lambda y: file.op("RESHAPE", inputs, y, Options("ReshapeOptions"))


def transposed(file: FlatModel, name: str, x: int, axes: Sequence[int]) -> Copy:
    """``x`` with its axes in another order. ``name``: of the constant that holds it."""
    inputs, count = [x, _integers(file, name, axes)], _axes(file, x)
    version = 6 if count > 5 else 5 if _wide(file, x) else 4 if count > 4 else 2
    return lambda y: file.op("TRANSPOSE", inputs, y, Options("TransposeOptions"), version)


def _integers(file: FlatModel, name: str, values: Sequence[int]) -> int:
    data = np.array(values, np.int32)
    return file.tensor(name, data.shape, "int32", data=data)


def _wide(file: FlatModel, x: int) -> bool:
    return file.tensors[x].kind == "int16"


def _axes(file: FlatModel, x: int) -> int:
    return len(file.tensors[x].shape)
