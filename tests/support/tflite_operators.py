"""One operator as a TFLite file, and what LiteRT and TensorFlow Lite Micro make of it: the oracle of the integer operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hwmodels.errors import FileError
from hwsearch.formats.tflite import litert, tflm
from hwsearch.formats.tflite.writing.file import FlatModel, Options
from hwsearch.quant.engine.operators.agreement import Runtime
from hwsearch.quant.engine.operators.grid import Grid

RUNTIMES: tuple[Runtime, ...] = ("litert reference", "litert", "tflm")


@dataclass(frozen=True)
class Operator:
    """An operator by its name in the schema, with the shapes and grids of what it reads and writes.

    ``constants`` are further inputs of int32 numbers (axes of a reduction).
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    grids: tuple[Grid, ...]
    output_shape: tuple[int, ...]
    output: Grid
    options: tuple[str, tuple[tuple[str, int | bool | float], ...]] | None = None
    constants: tuple[tuple[int, ...], ...] = ()
    version: int = 1

    def file(self) -> bytes:
        """The operator alone in a file."""
        model = FlatModel()
        inputs = [
            model.tensor(f"x{i}", shape, grid.kind, scale=grid.scale, zero_point=grid.zero_point)
            for i, (shape, grid) in enumerate(zip(self.shapes, self.grids, strict=True))
        ]
        fixed = [
            model.tensor(f"c{i}", (len(values),), "int32", data=np.array(values, np.int32))
            for i, values in enumerate(self.constants)
        ]
        y = model.tensor("y", self.output_shape, self.output.kind, scale=self.output.scale, zero_point=self.output.zero_point)
        options = None if self.options is None else Options(self.options[0], dict(self.options[1]))
        model.op(self.name, inputs + fixed, y, options, self.version)
        return model.serialize(inputs, [y], "one operator", {})


@lru_cache(maxsize=64)
def _litert(operator: Operator, reference: bool) -> litert.Interpreter:
    return litert.interpreter(operator.file(), reference=reference)


def run(operator: Operator, inputs: Sequence[np.ndarray], runtime: Runtime) -> np.ndarray | None:
    """Codes that a runtime gives, None where it has no kernel for the operator.

    Raises:
        RuntimeError: the kernel refuses these numbers.
    """
    arrays = [np.ascontiguousarray(x, grid.dtype) for x, grid in zip(inputs, operator.grids, strict=True)]
    try:
        if runtime == "tflm":
            micro = tflm.interpreter(operator.file())
            for index, array in enumerate(arrays):
                micro.set_input(array, index)
            micro.invoke()
            return np.array(micro.get_output(0))
        made = _litert(operator, runtime == "litert reference")
    except FileError:
        return None
    for detail, array in zip(made.get_input_details(), arrays, strict=True):
        made.set_tensor(detail["index"], array)
    made.invoke()
    return np.array(made.get_tensor(made.get_output_details()[0]["index"]))
