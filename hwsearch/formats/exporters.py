"""Handing plans to the runtimes that ship them; one file a format.

An exporter is a function ``export(qgraph, path, *, metadata, ...) -> Path`` in a file of its own. To add one, write the file and
name it in ``EXPORTERS`` together with what the format can hold; nothing else changes. What it cannot hold is promoted before the
exporter sees it (``promote``), and the export says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwmodels.errors import UsageError, closest
from hwsearch.formats.capability import Holds

if TYPE_CHECKING:
    from hwsearch.formats.promote import Promotion
    from hwsearch.quant.graph import QuantizedGraph
    from searchspaces.ir.graph import Graph
    from searchspaces.ops.table import OpTable


@dataclass(frozen=True)
class ExporterInfo:
    """One export format. ``module`` is imported when the exporter is first used."""

    name: str
    summary: str
    suffix: str
    module: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    holds: Holds = field(default_factory=Holds)
    table: str = ""
    """Where the table of operators is that the format has: "MODULE:NAME"."""
    sized: bool = False
    """The format fixes the size of the picture; ``export`` then takes ``size``, (height, width)."""
    folder: bool = False
    """What is written is a folder."""

    @property
    def operators(self) -> OpTable[Any]:
        """What the format has for each operator, or why not."""
        module, _, name = self.table.partition(":")
        found: OpTable[Any] = getattr(import_module(module), name)
        return found

    def refuse(self, graph: Graph) -> None:
        """Raise ``UsageError`` where the format has no way to write an operator of the network, whatever its widths."""
        missing = self.operators.missing(node.op for node in graph.nodes)
        if missing:
            raise UsageError(
                f"{graph.name or 'this network'} cannot be exported to {self.name}:\n"
                + "\n".join(f"  - {line}" for line in missing),
                "`hwsearch networks --operations` tells which formats have an operator.",
            )

    def promote(self, qgraph: QuantizedGraph) -> Promotion:
        """``qgraph`` as this format can hold it, and what had to change.

        Raises:
            UsageError: it cannot be held at all.
        """
        from hwsearch.formats.promote import promote

        return promote(qgraph, self.holds)

    def __call__(
        self,
        qgraph: QuantizedGraph,
        path: str | Path,
        *,
        metadata: Mapping[str, Any] | None = None,
        size: tuple[int, int] | None = None,
    ) -> Path:
        """Write ``qgraph`` to ``path``, promoted where it must be; the file's metadata say what was.

        Args:
            size: (height, width) of the picture that goes in, for formats that fix it.
        """
        self.refuse(qgraph.graph)
        promotion = self.promote(qgraph)
        facts = {**(metadata or {}), **({"promoted": promotion.summary} if promotion.changes else {})}
        function: Callable[..., Path] = import_module(self.module).export
        arguments = {**self.arguments, **({"size": size} if self.sized else {})}
        return function(promotion.qgraph, path, metadata=facts, **arguments)


ONNX_CODES, ONNX_REAL = "hwsearch.formats.onnx.codes:CODES", "hwsearch.formats.onnx.operators:WRITES"
TFLITE, C = "hwsearch.formats.tflite.nodes:WRITES", "hwsearch.formats.c.calls:LOWERS"
TABLE = "hwsearch.formats.sidecar.table:ROWS"
SYMMETRIC_INT8 = Holds(weight_bits=(8,), tensor_bits=(8,), zero_points=False)
AIMET = Holds(weight_bits=(4, 8), tensor_bits=(8, 16))

EXPORTERS: dict[str, ExporterInfo] = {
    info.name: info
    for info in (
        ExporterInfo(
            "onnx",
            "ONNX Runtime: integer kernels, code for code; weights of 2 to 4 bits packed, narrow tensors by Clip",
            ".onnx",
            "hwsearch.formats.onnx.write",
            holds=Holds(weight_bits=(2, 4, 8)),
            table=ONNX_CODES,
        ),
        ExporterInfo(
            "tflite",
            "LiteRT with XNNPACK: int8 and 16x8 kernels, narrow activations at no cost",
            ".tflite",
            "hwsearch.formats.tflite.write",
            {"flavour": "litert"},
            Holds(weight_bits=(8,), half=False),
            sized=True,
            table=TFLITE,
        ),
        ExporterInfo(
            "tflite-micro",
            "TensorFlow Lite Micro, CMSIS-NN, Ethos-U: int8 and 16x8 kernels, packed 4-bit weights",
            ".tflite",
            "hwsearch.formats.tflite.write",
            {"flavour": "micro"},
            Holds(weight_bits=(4, 8), half=False),
            sized=True,
            table=TFLITE,
        ),
        ExporterInfo(
            "openvino",
            "OpenVINO: the same file without 2-bit weights, which it does not read",
            ".openvino.onnx",
            "hwsearch.formats.onnx.write",
            holds=Holds(weight_bits=(4, 8)),
            table=ONNX_CODES,
        ),
        ExporterInfo(
            "tensorrt",
            "TensorRT: ONNX with symmetric int8 quantizers, scales per output channel, biases in floating point",
            ".tensorrt.onnx",
            "hwsearch.formats.onnx.tensorrt",
            holds=SYMMETRIC_INT8,
            table=ONNX_REAL,
        ),
        ExporterInfo(
            "qonnx",
            "QONNX: Quant nodes of any width, for FINN, hls4ml and Brevitas",
            ".qonnx.onnx",
            "hwsearch.formats.onnx.qonnx",
            table=ONNX_REAL,
        ),
        ExporterInfo(
            "float",
            "ONNX in single precision with the plan's weights, for the tools that read aimet, coreml or ncnn files beside it",
            ".float.onnx",
            "hwsearch.formats.onnx.float_network",
            table=ONNX_REAL,
        ),
        ExporterInfo(
            "aimet",
            "AIMET and QNN: encodings 2.0.0 for the tensors of the float file",
            ".encodings",
            "hwsearch.formats.sidecar.aimet",
            {"version": "2.0.0"},
            AIMET,
            table=ONNX_REAL,
        ),
        ExporterInfo(
            "aimet-1.0",
            "AIMET and QNN: the same as encodings 1.0.0, for older versions",
            ".encodings",
            "hwsearch.formats.sidecar.aimet",
            {"version": "1.0.0"},
            AIMET,
            table=ONNX_REAL,
        ),
        ExporterInfo(
            "coreml",
            "Core ML: configuration for coremltools, weights of 4 and 8 bits per layer",
            ".coreml.yaml",
            "hwsearch.formats.sidecar.coreml",
            holds=Holds(weight_bits=(4, 8), stretched=True),
            table=ONNX_REAL,
        ),
        ExporterInfo(
            "ncnn",
            "ncnn: int8 calibration table for the layers of the float file",
            ".ncnn.table",
            "hwsearch.formats.sidecar.ncnn",
            holds=SYMMETRIC_INT8,
            table=ONNX_REAL,
        ),
        ExporterInfo(
            "json",
            "Table of layers and tensors: widths, scales, zero points",
            ".table.json",
            "hwsearch.formats.sidecar.table",
            table=TABLE,
        ),
        ExporterInfo(
            "csv",
            "The same table as one line a layer, for a spreadsheet",
            ".csv",
            "hwsearch.formats.sidecar.table_csv",
            table=TABLE,
        ),
        ExporterInfo(
            "c",
            "C99 for microcontrollers: a folder of source, weights packed to their widths, a static arena, no allocation",
            "",
            "hwsearch.formats.c.write",
            holds=Holds(half=False),
            sized=True,
            folder=True,
            table=C,
        ),
    )
}


def exporter(name: str) -> ExporterInfo:
    """The exporter called ``name``.

    Raises:
        UsageError: there is none; the message has the closest names.
    """
    if name not in EXPORTERS:
        raise UsageError(f"no exporter {name!r}", closest(name, EXPORTERS))
    return EXPORTERS[name]
