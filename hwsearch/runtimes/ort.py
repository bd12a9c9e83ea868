"""ONNX Runtime on the CPU: rule "f32", one file for pictures of any size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from hwsearch import validate
from hwsearch.export import onnx
from hwsearch.quant.model import QuantizedGraph


class OrtPlan:
    """See ``base.Runtime``. ``file`` is the exported network, or where it lies."""

    peak_bytes: int | None = None
    instructions: Mapping[str, int] | None = None

    def __init__(self, qgraph: QuantizedGraph, file: bytes | Path) -> None:
        onnx.assert_integer(qgraph, file)
        self.executed, self.tolerance = qgraph, validate.tolerance(qgraph)
        self.version = f"onnxruntime {onnxruntime.__version__}"
        self._session = onnx.session(file)
        self._input = self._session.get_inputs()[0].name

    def run(self, x: Tensor) -> Tensor:
        feed = {self._input: np.ascontiguousarray(x.detach().numpy(), dtype=np.float32)}
        return torch.from_numpy(self._session.run(None, feed)[0])


def open_plan(qgraph: QuantizedGraph, file: Path | None = None) -> OrtPlan:
    """Make a network ready to run, from its exported ``file`` if there is one.

    Raises:
        FileError: it cannot be exported, or the file cannot be loaded.
        MismatchError: integer layers would run in floating point.
    """
    return OrtPlan(qgraph, file or onnx.to_model(qgraph).SerializeToString())
