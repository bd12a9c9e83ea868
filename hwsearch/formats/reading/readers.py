"""Reading model files: which width every layer and tensor has, what the weights take, and the network itself.

Files of others are read as well as our own, and nothing in them is executed (programs of TorchScript are interpreted, when they
have been looked through). A reader is a ``ReaderInfo``: those that come with
the package stand in ``READERS`` of a format's ``offers.py``, those of others are found as exporters are (entry points in
``hwsearch.readers``, plug-ins). How a reader reads one operator is a function of its own, in a table of the format.

Widths are what the file's numbers need, not what somebody declared: a layer whose integers lie in -7..7 has 4 bits, whatever
container holds them; ``stored_as`` tells the container.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwmodels import impostors
from hwmodels.errors import FileError, UsageError
from hwmodels.numbers import FP16, FP32
from hwmodels.parts.elsewhere import given
from hwmodels.parts.registry import Part, Registry, instances
from hwsearch.formats.found import named, offered
from hwsearch.formats.reading.byte_pictures import FLOATING, BytePictures
from hwsearch.formats.reading.foreign import told

if TYPE_CHECKING:
    from hwmodels.workload import Written
    from hwsearch.quant.network.graph import QuantizedGraph
    from searchspaces.ir.graph import Graph
    from searchspaces.ops.reading import OperatorReaders
    from searchspaces.ops.table import OpTable


@dataclass(frozen=True)
class ReaderInfo:
    """A format that is read. ``endings``: of its files, in small letters. ``module``: has ``read(path) -> Inspected``, and
    ``check(inspected, size)``, which raises FileError where the file's runtime computes something else than the graph on a
    picture of ``size``; imported when it is first used. Or the two functions themselves. ``holds``: whether a file with such an
    ending is one, where other files have it, too. ``table``: which operators of such files
    become which canonical ones, or where that is, "MODULE:NAME"; empty: the reader does not say."""

    name: str
    summary: str
    endings: tuple[str, ...]
    module: str = ""
    reads: Callable[[Path], Inspected] | None = None
    checks: Callable[[Inspected, tuple[int, int]], None] | None = None
    table: str | OperatorReaders | OpTable[Any] = ""
    holds: Callable[[Path], bool] | None = None

    def is_one(self, path: Path) -> bool:
        """Whether the reader is for this file."""
        return path.suffix.lower() in self.endings and (self.holds is None or self.holds(path))

    @property
    def operators(self) -> OpTable[Any]:
        """For every canonical operator what of such a file becomes it, or why nothing does."""
        from searchspaces.ops.base import Op
        from searchspaces.ops.reading import OperatorReaders
        from searchspaces.ops.table import OpTable

        found: OperatorReaders | OpTable[Any]
        if not self.table:
            found = OpTable(f"the reader {self.name}")
            found.lacks("the reader does not say which operators it reads", Op)
        elif isinstance(self.table, str):
            found = named(self.table)
        else:
            found = self.table
        return found.table() if isinstance(found, OperatorReaders) else found

    def read(self, path: Path) -> Inspected:
        """Read a file. Raises as ``inspect`` does, and FileError where the function, which may be somebody else's, gives none."""
        read: Callable[[Path], Inspected] = self.reads or import_module(self.module).read
        return given(read(path), Inspected, f"the reader {self.name}", "check_reader")

    def check(self, found: Inspected, size: tuple[int, int]) -> None:
        if self.checks is None and not self.module:
            return  # there is no runtime to ask
        check: Callable[[Inspected, tuple[int, int]], None] = self.checks or import_module(self.module).check
        check(found, size)


def _built_in() -> list[Part[ReaderInfo]]:
    found = []
    found += [Part(info.name, info, file) for info, file in offered("READERS")]
    return found


READERS: Registry[ReaderInfo] = Registry("reader", "hwsearch.readers", _built_in, instances(ReaderInfo, lambda info: info.name))


def endings() -> tuple[str, ...]:
    """Of all files that are read."""
    return tuple(ending for info in READERS.values() for ending in info.endings)


def is_model(path: Path) -> bool:
    """Whether there is a reader for a file."""
    return any(info.is_one(path) for info in READERS.values())


def reader_of(path: Path) -> ReaderInfo:
    """The reader of a file, by its ending.

    Raises:
        UsageError: there is none.
    """
    found = next((info for info in READERS.values() if info.is_one(path)), None)
    if found is None:
        refuse_foreign(path)
        raise UsageError(f"{path}: no reader for files that end in {path.suffix or 'nothing'}", f"Known: {', '.join(endings())}.")
    return found


def refuse_foreign(path: Path) -> None:
    """Raise UsageError where a file is of another tool, by its name; with what to hand in instead."""
    if (foreign := told(path) if path.exists() else None) is not None:
        what, instead = foreign
        raise UsageError(
            f"{path}: {what}, which is not read as a model",
            f"{instead[0].upper()}{instead[1:]}. Files that are read: {', '.join(endings())}.",
        )


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
        value_range: that of the values that go in, such as "0..255", where the file shows it and it is not
            0..1; "0..1:0..255" where what comes out is of another.
        of_bytes: whether the file takes and gives pictures of bytes, which ``graph`` does not round.
        executable: the graph computes in floating point what the file does, without its rounding; else it is for prices alone.
        again: the graph at another size, of a file that takes pictures of any size and has another graph for each.
        written: what the file holds for each layer, where it is what a device is handed; None: another file is made for that.
        integers: the quantized network that a file of ours carries; ``graph`` is its structure, with the real numbers for which
            the integers stand.
        taken: which output of the file ``graph`` computes, where it has several.
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
    value_range: str = ""
    of_bytes: BytePictures = FLOATING
    executable: bool = False
    again: Callable[[tuple[int, int]], Graph] | None = None
    written: Written | None = None
    integers: QuantizedGraph | None = None
    taken: int = 0

    @property
    def quantized(self) -> bool:
        """Whether anything in it is in integers."""
        return any(not layer.stored_as.startswith(("float", "bfloat")) for layer in self.layers) or any(
            bits not in (FP16.bits, FP32.bits) for bits in self.tensor_bits.values()
        )

    @property
    def weight_bytes(self) -> int:
        """Of all layers; weights that several use are one copy."""
        first = {name: users[0] for name, users in self.graph.weight_groups.items()}
        return sum(layer.weight_bytes for layer in self.layers if first.get(layer.name, layer.name) == layer.name)


def inspect(path: Path) -> Inspected:
    """Read a model file.

    Raises:
        UsageError: the ending names no known format.
        FileError: absent, cut short, or not such a file.
    """
    reader = reader_of(path)
    if not path.is_file():
        raise FileError(f"{path}: no such file", "Give the path of a model file, as `hwsearch export` writes it.")
    impostors.check_file(path, "a model")
    return reader.read(path)


def bits_of(integers: np.ndarray) -> int:
    """Bits of two's complement that hold these integers, at least 2; a narrow range such as -7..7 has the 4 of -8..7."""
    lowest, highest = int(integers.min(initial=0)), int(integers.max(initial=0))
    return max(2, 1 + max(highest.bit_length(), (-lowest - 1).bit_length() if lowest < 0 else 0))


def usual_range(low: float, high: float) -> str:
    """The range of values that the codes of an input are for, as ``adapted.value_range`` reads it; empty for 0..1 and others."""
    for text, ends in (("0..255", (0.0, 255.0)), ("-1..1", (-1.0, 1.0))):
        width = ends[1] - ends[0]
        if abs(low - ends[0]) <= 0.02 * width and abs(high - ends[1]) <= 0.02 * width:
            return text
    return ""
