"""OpenVINO on the CPU. It applies scales and biases in another order than rule "f32", and adds residuals without rounding in
between, so its codes are close to the engine's and not equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import openvino
import torch
from torch import Tensor

from hwmodels.errors import FileError
from hwsearch.formats.onnx import state, write
from hwsearch.formats.running.runtime import Tolerance
from hwsearch.formats.writing.exporters import EXPORTERS
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ops.maps.elementwise import Add

DIFFERING = 0.05
DIFFERING_WITH_ADDITIONS = 0.25
BEYOND_ONE = 1e-3
"""Shares of output codes. Random networks of 2 to 8 bits stay below; on FSRCNN with 8 bits 2 of 1000 codes differ, 3 of 100,000
by more than one, since the layers behind a flipped code can enlarge it."""


def tolerance(qgraph: QuantizedGraph) -> Tolerance:
    """How far OpenVINO's codes may lie from the engine's."""
    adds = any(isinstance(node.op, Add) for node in qgraph.graph.nodes)
    reason = "OpenVINO's order of scales, biases and additions explains a few differences, most of them of 1."
    return Tolerance(DIFFERING_WITH_ADDITIONS if adds else DIFFERING, BEYOND_ONE, reason)


class OpenVinoPlan:
    """See ``runtime.Runtime``."""

    peak_bytes: int | None = None
    instructions: Mapping[str, int] | None = None

    def __init__(self, qgraph: QuantizedGraph) -> None:
        self.executed = EXPORTERS["openvino"].promote(qgraph).qgraph
        self.tolerance = tolerance(self.executed)
        self.version = f"OpenVINO {openvino.__version__.split('-')[0]}"
        core = openvino.Core()
        try:
            file = write.to_model(self.executed)
            self._ends = state.ends_of_model(file)
            model = core.read_model(file.SerializeToString())
            options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
            self._compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise FileError(f"OpenVINO cannot execute this plan: {str(error).strip().splitlines()[-1]}") from None

    def run(self, x: Tensor) -> Tensor:
        def frame(inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
            given = self._compiled(dict(inputs))
            return [given[name] for name in self._ends.outputs]

        return state.run(self._ends, x, frame)


def open_plan(qgraph: QuantizedGraph) -> OpenVinoPlan:
    """Make a network ready to run.

    Raises:
        FileError: OpenVINO cannot execute it.
    """
    return OpenVinoPlan(qgraph)
