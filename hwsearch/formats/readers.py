"""Reading model files back: which width every layer and tensor has, what the weights take, which plan the file came from.

Files of others are read as well as our own, and nothing in them is executed. A reader is a module with ``read(path) ->
Inspected``; to add a format, write one and name it in ``READERS`` under the ending of its files.

Widths are what the file's numbers need, not what somebody declared: a layer whose integers lie in -7..7 has 4 bits, whatever
container holds them; ``stored_as`` tells the container.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.errors import FileError, UsageError

if TYPE_CHECKING:
    from searchspaces.ir.graph import Graph

READERS = {".onnx": "hwsearch.formats.onnx.read", ".tflite": "hwsearch.formats.tflite.read"}
"""File ending -> module that reads such files."""


@dataclass(frozen=True)
class InspectedLayer:
    """A layer with weights.

    Attributes:
        op: "conv", "depthwise" or "conv_transpose".
        shape: of the weights, as the file has them.
        weight_bits: what the integers need; 16 or 32 for floating point.
        activation_bits: width of the tensor that the layer writes; 32 where nothing quantizes it.
        weight_bytes: what the weights take in the file, without biases and scales.
        stored_as: type of the weights in the file, such as "int4", "uint8" or "float16".
    """

    name: str
    op: str
    shape: tuple[int, ...]
    weight_bits: int
    activation_bits: int
    weight_bytes: int
    stored_as: str


@dataclass(frozen=True, eq=False)
class Inspected:
    """A model file, read.

    Attributes:
        format: such as "onnx"; ``producer`` is the program that wrote the file, as the file says.
        graph: the network in canonical form, its convolutions named as ``layers``; enough to price it. Where the file has a
            transposed convolution, the graph has a convolution of that name and a pixel shuffle.
        tensor_bits: width of every tensor of ``graph``; 32 where nothing quantizes it.
        input_size: (height, width) where the file fixes it.
        provenance: what an exporter wrote down: plan, plan hash, version, ...; empty for files of others.
        remarks: what a reader of the table should know.
    """

    path: Path
    format: str
    producer: str
    file_bytes: int
    layers: tuple[InspectedLayer, ...]
    graph: Graph
    tensor_bits: Mapping[str, int]
    input_size: tuple[int, int] | None = None
    provenance: Mapping[str, str] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def weight_bytes(self) -> int:
        return sum(layer.weight_bytes for layer in self.layers)


def inspect(path: Path) -> Inspected:
    """Read a model file.

    Raises:
        UsageError: the ending names no known format.
        FileError: absent, cut short, or not such a file.
    """
    module = READERS.get(path.suffix.lower())
    if module is None:
        raise UsageError(f"{path}: no reader for files that end in {path.suffix or 'nothing'}", f"Known: {', '.join(READERS)}.")
    if not path.is_file():
        raise FileError(f"{path}: no such file", "Give the path of a model file, as `hwsearch export` writes it.")
    found: Inspected = import_module(module).read(path)
    return found


def bits_of(integers: np.ndarray) -> int:
    """Bits of two's complement that hold these integers, at least 2; a narrow range such as -7..7 has the 4 of -8..7."""
    lowest, highest = int(integers.min(initial=0)), int(integers.max(initial=0))
    return max(2, 1 + max(highest.bit_length(), (-lowest - 1).bit_length() if lowest < 0 else 0))
