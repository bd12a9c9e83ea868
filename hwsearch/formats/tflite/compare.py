"""A TFLite file as it was read beside LiteRT on the same file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import FileError
from hwsearch.formats.reading.agreement import agree, same_codes
from hwsearch.formats.reading.readers import Inspected
from hwsearch.formats.running import runtimes
from hwsearch.formats.tflite import litert
from hwsearch.formats.tflite.reading.door import Door, door, is_last
from hwsearch.formats.tflite.tables import load as load_tables
from searchspaces.ir.shapes import shapes


def check(found: Inspected, size: tuple[int, int]) -> None:
    """Compare what was read with LiteRT; of a file of ours, the codes of our engine.

    Raises:
        FileError: they differ, or LiteRT does not load the file.
        UsageError: it is not installed.
    """
    runtimes.runtime("litert").check_installed(
        "a TFLite file is compared with LiteRT before it is used", "`hwsearch inspect` reads and prices the file without it."
    )
    if found.integers is not None:
        same_codes(found, found.input_size or size, litert.of_file(found.integers, found.path.read_bytes()))
        return
    made = litert.interpreter(found.path.read_bytes())
    given, taken = made.get_input_details()[0], made.get_output_details()[found.taken]
    way_in = door(load_tables(found.path))
    size = _size_taken(found, made, way_in, size)

    def run(x: Tensor) -> Tensor:
        integers = _codes((x.permute(0, 2, 3, 1) if way_in.last else x).numpy(), given)
        made.set_tensor(given["index"], integers)
        made.invoke()
        output = np.asarray(made.get_tensor(taken["index"]))
        scale, zero = taken["quantization"]
        real = (output.astype(np.float32) - zero) * scale if scale else output.astype(np.float32)
        return torch.from_numpy(real.transpose(0, 3, 1, 2).copy() if real.ndim == 4 and is_last(real.shape, way_in) else real)

    agree(found, size, run, "LiteRT", half=given["dtype"] == np.float16)


def _size_taken(found: Inspected, made: Any, way_in: Door, size: tuple[int, int]) -> tuple[int, int]:
    """The size of pictures that LiteRT is made ready for: ``size``, or the file's own where that gives a picture of another size
    than what was read, since the size that a file resizes to is a number in it.

    Raises:
        FileError: it takes neither.
    """
    given, own = made.get_input_details()[0], found.input_size or size
    for height, width in dict.fromkeys((size, own)):
        made.resize_tensor_input(given["index"], way_in.shape(height, width))
        try:
            made.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            said = f"{height}x{width} pixels (height x width): {error}"
            continue
        read = shapes(found.graph, height, width)[found.graph.output.name]
        given_back = [int(side) for side in made.get_output_details()[found.taken]["shape"]]
        sides = given_back[1:3] if len(given_back) == 4 and is_last(given_back, way_in) else given_back[2:]
        if (height, width) == own or sides == [*read[2:]]:
            return height, width
    raise FileError(f"{found.path}: LiteRT does not take pictures of {said}")


def _codes(array: np.ndarray, given: Mapping[str, Any]) -> np.ndarray:
    """A picture in the type of an input, by its scale where it has one."""
    kind, (scale, zero) = np.dtype(given["dtype"]), given["quantization"]
    if kind.kind == "f":
        return np.ascontiguousarray(array, kind)
    limits = np.iinfo(kind)
    found: np.ndarray = np.clip(np.rint(array / (scale or 1) + zero), limits.min, limits.max).astype(kind)
    return found
