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

if TYPE_CHECKING:
    from hwsearch.export.promote import Promotion
    from hwsearch.quant.model import QuantizedGraph


@dataclass(frozen=True)
class ExporterInfo:
    """One export format. ``module`` is imported when the exporter is first used; ``holds`` are the fields of ``promote.Holds``
    in which the format differs from one that holds everything. A ``sized`` format fixes the size of the picture; its exporter
    takes ``size``."""

    name: str
    summary: str
    suffix: str
    module: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    holds: Mapping[str, Any] = field(default_factory=dict)
    sized: bool = False

    def promote(self, qgraph: QuantizedGraph) -> Promotion:
        """``qgraph`` as this format can hold it, and what had to change.

        Raises:
            UsageError: it cannot be held at all.
        """
        from hwsearch.export.promote import Holds, promote

        return promote(qgraph, Holds(**self.holds))

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
        promotion = self.promote(qgraph)
        facts = {**(metadata or {}), **({"promoted": promotion.summary} if promotion.changes else {})}
        function: Callable[..., Path] = import_module(self.module).export
        arguments = {**self.arguments, **({"size": size} if self.sized else {})}
        return function(promotion.qgraph, path, metadata=facts, **arguments)


EXPORTERS: dict[str, ExporterInfo] = {
    info.name: info
    for info in (
        ExporterInfo(
            "onnx",
            "ONNX Runtime: integer kernels, weights of up to 4 bits packed, narrow tensors by Clip",
            ".onnx",
            "hwsearch.export.onnx",
            holds={"weight_bits": (2, 4, 8)},
        ),
        ExporterInfo(
            "tflite",
            "LiteRT with XNNPACK: int8 and 16x8 kernels, narrow activations at no cost",
            ".tflite",
            "hwsearch.export.tflite",
            {"flavour": "litert"},
            {"weight_bits": (8,), "half": False},
            sized=True,
        ),
        ExporterInfo(
            "tflite-micro",
            "TensorFlow Lite Micro, CMSIS-NN, Ethos-U: int8 and 16x8 kernels, packed 4-bit weights",
            ".tflite",
            "hwsearch.export.tflite",
            {"flavour": "micro"},
            {"weight_bits": (4, 8), "half": False},
            sized=True,
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
