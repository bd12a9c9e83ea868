"""The quantized network that a file was written from, carried in the file's own metadata, so that it can be read back whole.

A runtime's operators do not tell a network: a rounding is spelled out in ten of them, a function has become a table, a ReLU a
bound of codes. The structure is a few hundred bytes. Weights and biases stand in the file anyway, in the runtime's containers and
orders, and are taken from there (``Place``); scales, slopes and other constants are carried. The whole hashes to what
``storage.digest`` says: a file in which a tool has changed a number or a name is no longer the network that it carries.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwmodels.errors import FileError
from hwsearch.formats.reading.readers import bits_of
from hwsearch.quant.network import storage
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph, same_weights

FACT = "carried_network"
"""Under which name a file's metadata have it."""
MOST_BYTES = 1 << 28
"""Of what is unpacked: a few bytes can ask for more memory than there is."""
TYPES = ("float32", "int8", "int64")


@dataclass(frozen=True)
class Place:
    """Where an array stands in a file.

    Attributes:
        name: of the file's constant; ``minus``: what is taken off its numbers.
        axes: the order in which its axes are those of the array; empty: as they are.
        rows, columns: which place of the array's first and second axis stands at each place of the constant's; empty: its own.
    """

    name: str
    minus: int = 0
    axes: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()

    def taken(self, constant: np.ndarray, kind: str, shape: tuple[int, ...]) -> np.ndarray:
        """The array in a file's constant.

        Raises:
            ValueError, IndexError: it is not there.
        """
        found = constant.transpose(self.axes) if self.axes else constant
        found = (found if not self.minus else found.astype(np.int64) - self.minus).astype(kind).reshape(shape)
        for axis, order in enumerate((self.rows, self.columns)):
            if order:
                found = found.take(np.argsort(order), axis)
        return np.ascontiguousarray(found)


@dataclass(frozen=True, eq=False)
class Carried:
    """A network that a file carries, and where the file has its arrays."""

    network: QuantizedGraph
    places: Mapping[str, Place]

    def constant_of(self, layer: str) -> str:
        """The constant of the file that has the weights of a layer."""
        return self.places[f"weight/{same_weights(self.network, layer)}"].name

    def bits_of(self, layer: str) -> int:
        """What the weights of a layer need, whatever holds them: a format may have had no narrower container."""
        found = self.network.layers[layer]
        return min(found.bits, bits_of(found.weight)) if isinstance(found, LayerIntegers) else found.bits


def identity(order: np.ndarray) -> tuple[int, ...]:
    """An order for ``Place``: nothing where it changes nothing."""
    return () if np.array_equal(order, np.arange(order.size)) else tuple(map(int, order))


def text(qgraph: QuantizedGraph, places: Mapping[str, Place], operators: str = "") -> str:
    """The network as text.

    Args:
        places: array of ``storage.to_document`` -> where the file has it; the others are carried.
        operators: a hash of the file's operators, where the format has one.
    """
    document, arrays = storage.to_document(qgraph)
    listed, carried = [], b""
    for key, array in sorted(arrays.items()):
        entry: dict[str, Any] = {"key": key, "type": array.dtype.name, "shape": list(array.shape)}
        if key in places:
            entry["place"] = {field: value for field, value in asdict(places[key]).items() if value}
        else:
            carried += array.tobytes()
        listed.append(entry)
    head = json.dumps(
        {"document": document, "sha256": storage.digest(qgraph), "arrays": listed, "operators": operators},
        sort_keys=True,
        separators=(",", ":"),
    )
    return base64.b85encode(zlib.compress(head.encode() + b"\0" + carried, 9)).decode()


def read(carried: str, constant: Callable[[str], np.ndarray], operators: str = "") -> Carried | None:
    """The network that ``text`` says; None where the file is no longer what was written.

    Args:
        constant: the numbers of a constant of the file; raises KeyError where it has none of that name.
        operators: as for ``text``.
    """
    try:
        unpacked = zlib.decompressobj().decompress(base64.b85decode(carried), MOST_BYTES)
        head, _, rest = unpacked.partition(b"\0")
        said = json.loads(head)
        if said["operators"] != operators:
            return None
        arrays: dict[str, np.ndarray] = {}
        places: dict[str, Place] = {}
        for entry in said["arrays"]:
            key, kind, shape = str(entry["key"]), str(entry["type"]), tuple(int(side) for side in entry["shape"])
            if kind not in TYPES:
                return None
            if "place" in entry:
                fields: dict[str, Any] = {field: tuple(v) if isinstance(v, list) else v for field, v in entry["place"].items()}
                places[key] = place = Place(**fields)
                arrays[key] = place.taken(constant(place.name), kind, shape)
            else:
                count = math.prod(shape)
                arrays[key] = np.frombuffer(rest, kind, count).reshape(shape)
                rest = rest[count * np.dtype(kind).itemsize :]
        found = storage.from_document(said["document"], {key: array.copy() for key, array in arrays.items()})
        return Carried(found, places) if storage.digest(found) == said["sha256"] else None
    except (FileError, KeyError, ValueError, TypeError, AttributeError, IndexError, RecursionError, zlib.error, binascii.Error):
        return None
