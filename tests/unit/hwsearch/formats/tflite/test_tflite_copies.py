"""Operators that copy integers are written in the first version that has the type and the number of axes of what they read."""

from __future__ import annotations

import pytest
import tflite

from hwsearch.formats.tflite.writing.copies import concatenated, reshaped, sliced, transposed
from hwsearch.formats.tflite.writing.file import FlatModel

VERSIONS = {
    ("int8", 4): {"SLICE": 2, "CONCATENATION": 2, "RESHAPE": 1, "TRANSPOSE": 2},
    ("int16", 4): {"SLICE": 4, "CONCATENATION": 3, "RESHAPE": 1, "TRANSPOSE": 5},
    ("int8", 5): {"SLICE": 5, "CONCATENATION": 2, "RESHAPE": 1, "TRANSPOSE": 4},
    ("int16", 5): {"SLICE": 5, "CONCATENATION": 3, "RESHAPE": 1, "TRANSPOSE": 5},
    ("int8", 6): {"SLICE": 5, "CONCATENATION": 2, "RESHAPE": 1, "TRANSPOSE": 6},
}
"""Type and axes -> the versions of TensorFlow Lite's own table (``op_version.cc``)."""


@pytest.mark.parametrize(("kind", "axes"), VERSIONS)
def test_versions(kind: str, axes: int) -> None:
    file, shape = FlatModel(), (2,) * axes
    x, y = (file.tensor(name, shape, kind, scale=1.0) for name in "xy")
    for copy in (
        sliced(file, "part", x, [0] * axes, [-1] * axes),
        concatenated(file, [x], 0),
        reshaped(file, "sides", x, shape),
        transposed(file, "order", x, range(axes)),
    ):
        assert copy(y) == y
    data = file.serialize([x], [y], "", {})
    model = tflite.Model.GetRootAs(data)
    names = {value: name for name, value in vars(tflite.BuiltinOperator).items() if not name.startswith("_")}
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    assert {names[code.BuiltinCode()]: code.Version() for code in codes} == VERSIONS[kind, axes]
