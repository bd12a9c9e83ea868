"""TFLite files that LiteRT and TensorFlow Lite Micro execute in integers, code for code as the engine does.

Four flavours. "litert" keeps all weights in int8 containers, which XNNPACK runs fastest, under the rule "xnnpack"; "ethos" is the
same with pixel shuffles in operators that stay on an Ethos-U (``operators.blocks``). "micro" packs weights of at most 4 bits as
int4 where kernels take them, under the rule "gemmlowp" of TFLite Micro, CMSIS-NN and LiteRT's reference kernels; "reference" is
for the latter alone, whose operators of tokens take some multipliers in another precision than TFLite Micro's. A weight of 3
bits in an int8 or int4 container is the same integer: the function is the plan's, only bytes are lost.

Input and output are codes (int8, or int16 for 16 bits) with the plan's scale. Shapes are fixed by the format; interpreters that
can resize their input take other sizes (LiteRT can unless the plan shuffles 16-bit pixels; TFLite Micro cannot).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwmodels.errors import FileError, UsageError, closest
from hwsearch.documents.files import write_bytes
from hwsearch.documents.versions import __version__
from hwsearch.formats import carried
from hwsearch.formats.tflite.operators import ETHOS_WRITES, LITERT_WRITES, MICRO_WRITES, WRITES
from hwsearch.formats.tflite.writing.form import form
from hwsearch.formats.tflite.writing.writer import Writer
from hwsearch.formats.writing.check import check
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ops.maps.activation import LeakyRelu, PRelu

RULES = {"litert": "xnnpack", "ethos": "xnnpack", "micro": "gemmlowp", "reference": "reference"}
"""Flavour -> requantization rule of the runtime it is for."""
TABLES = {"litert": LITERT_WRITES, "ethos": ETHOS_WRITES, "micro": MICRO_WRITES}
"""Flavour -> its operators, where some are missing, or others."""
WHOLE_BYTES = ("litert", "ethos")
"""Flavours that keep all weights in int8 containers."""
CARRIES = ("litert", "ethos", "reference")
"""Flavours whose files carry the network (``formats.carried``). On a microcontroller the whole file lies in flash."""
FLAVOUR = "flavour"
"""Where the file tells its own."""
DEFAULT_SIZE = (48, 64)
METADATA = "hwsearch"
"""Name of the file's metadata entry: a JSON object of texts, the plan's provenance and the notes."""


def _writer(qgraph: QuantizedGraph, flavour: str, size: tuple[int, int]) -> Writer:
    check(qgraph)
    if qgraph.float_layers or any(fmt.is_float for fmt in qgraph.formats.values()):
        raise FileError(
            "this plan runs layers or tensors in half precision, a TFLite file of integers cannot hold them",
            "Choose a target whose 16 bits are int16, or export it as ONNX.",
        )
    writer = Writer(form(qgraph, RULES[flavour]), *size, packed=flavour not in WHOLE_BYTES)
    for node in writer.qgraph.graph.nodes:
        writer.write(node, TABLES.get(flavour, WRITES))
    return writer


def _notes(writer: Writer) -> list[str]:
    """What a person should know about the file: what is stored wider than it could be, and what costs more."""
    said = [f"Weights of layer {name} are stored in 8 bits: {why}." for name, why in writer.promoted.items()]
    sloped = [node.name for node in writer.qgraph.graph.convs if isinstance(node.activation, PRelu | LeakyRelu)]
    if sloped:
        said.append("PReLU and LeakyReLU take a second convolution each: " + ", ".join(sloped) + ".")
    return said


def to_bytes(
    qgraph: QuantizedGraph,
    metadata: Mapping[str, Any] | None = None,
    *,
    flavour: str = "litert",
    size: tuple[int, int] | None = None,
) -> bytes:
    """The network as the bytes of a TFLite file.

    Args:
        metadata: provenance to store (plan hash, network, target, ...).
        size: (height, width) of the picture that goes in.
    Raises:
        UsageError: unknown flavour.
        FileError: values that make no correct file, half precision, or an operation that TFLite does not compute as the plan
        does.
    """
    if flavour not in RULES:
        raise UsageError(f"no TFLite flavour {flavour!r}", closest(flavour, RULES))
    writer = _writer(qgraph, flavour, size or DEFAULT_SIZE)
    graph = writer.qgraph.graph
    facts = {"hwsearch_version": __version__, "requantization": RULES[flavour], FLAVOUR: flavour, **(metadata or {})}
    if flavour in CARRIES:
        facts[carried.FACT] = carried.text(replace(qgraph, rule=RULES[flavour]), writer.places)
    if said := _notes(writer):
        facts["notes"] = " ".join(said)
    return writer.file.serialize(
        [writer.codes[node.name] for node in graph.sources],
        [writer.result(graph.output.name), *(writer.codes[graph.remembered[node.name].name] for node in graph.states)],
        f"{graph.name or 'network'}, written by hwsearch {__version__}",
        {METADATA: json.dumps({key: str(value) for key, value in facts.items()})},
    )


def export(
    qgraph: QuantizedGraph,
    path: str | Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    flavour: str = "litert",
    size: tuple[int, int] | None = None,
) -> Path:
    """Write the network to ``path``, whole or not at all; arguments and errors as for ``to_bytes``.

    Raises:
        FileError: ``path`` cannot be written.
    """
    data = to_bytes(qgraph, metadata, flavour=flavour, size=size)
    return write_bytes(Path(path), data)
