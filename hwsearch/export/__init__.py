"""Handing plans to the runtimes that ship them; one file a format.

An exporter is a function ``export(qgraph, path, *, metadata, ...) -> Path`` in a file of its own. To add one, write the file and
name it in ``EXPORTERS``; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hwmodels.errors import UsageError, closest


@dataclass(frozen=True)
class ExporterInfo:
    """One export format. ``module`` is imported when the exporter is first used."""

    name: str
    summary: str
    suffix: str
    module: str
    arguments: tuple[tuple[str, Any], ...] = ()
    sized: bool = False
    """The format fixes the size of the picture; ``export`` then takes ``size``, (height, width)."""
    folder: bool = False
    """What is written is a folder."""

    def __call__(
        self,
        qgraph: Any,
        path: str | Path,
        *,
        metadata: dict[str, Any] | None = None,
        size: tuple[int, int] | None = None,
    ) -> Path:
        """Write ``qgraph`` (a ``QuantizedGraph``) to ``path``, for pictures of ``size`` (height, width) where the format
        fixes it."""
        function: Callable[..., Path] = import_module(self.module).export
        sizes = {"size": size} if self.sized else {}
        return function(qgraph, path, metadata=metadata, **sizes, **dict(self.arguments))


EXPORTERS: dict[str, ExporterInfo] = {
    info.name: info
    for info in (
        ExporterInfo(
            "onnx",
            "ONNX Runtime: integer kernels, packed 4-bit weights, narrow activations by Clip",
            ".onnx",
            "hwsearch.export.onnx",
            (("flavour", "ort"),),
        ),
        ExporterInfo(
            "tflite",
            "LiteRT with XNNPACK: int8 and 16x8 kernels, narrow activations at no cost",
            ".tflite",
            "hwsearch.export.tflite",
            (("flavour", "litert"),),
            sized=True,
        ),
        ExporterInfo(
            "tflite-micro",
            "TensorFlow Lite Micro, CMSIS-NN, Ethos-U: int8 and 16x8 kernels, packed 4-bit weights",
            ".tflite",
            "hwsearch.export.tflite",
            (("flavour", "micro"),),
            sized=True,
        ),
        ExporterInfo(
            "c",
            "C99 for microcontrollers: a folder of source, weights packed to their widths, a static arena, no allocation",
            "",
            "hwsearch.export.c",
            sized=True,
            folder=True,
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
