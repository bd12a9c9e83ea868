"""ONNX Runtime on the CPU: rule "f32", one file for pictures of any size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnxruntime
from torch import Tensor

from hwsearch.formats.onnx import write
from hwsearch.plans import verify
from hwsearch.quant.graph import QuantizedGraph


class OrtPlan:
    """See ``base.Runtime``. ``file`` is the exported network, or where it lies."""

    peak_bytes: int | None = None
    instructions: Mapping[str, int] | None = None

    def __init__(self, qgraph: QuantizedGraph, file: bytes | Path) -> None:
        write.assert_integer(qgraph, file)
        self.executed, self.tolerance = qgraph, verify.tolerance(qgraph)
        self.version = f"onnxruntime {onnxruntime.__version__}"
        self._run = verify.run_onnx(file)

    def run(self, x: Tensor) -> Tensor:
        return self._run(x)


def open_plan(qgraph: QuantizedGraph, file: Path | None = None) -> OrtPlan:
    """Make a network ready to run, from its exported ``file`` if there is one.

    Raises:
        FileError: it cannot be exported, or the file cannot be loaded.
        MismatchError: integer layers would run in floating point.
    """
    return OrtPlan(qgraph, file or write.to_model(qgraph).SerializeToString())
