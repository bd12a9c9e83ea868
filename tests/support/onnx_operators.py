"""One integer operator as an ONNX model, and what ONNX Runtime makes of it: the oracle of its integer operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from hwsearch.quant.engine.operators.grid import Grid

MICROSOFT = "com.microsoft"
KINDS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}


def run(
    name: str,
    inputs: Sequence[tuple[np.ndarray, Grid]],
    output: Grid,
    *,
    domain: str = MICROSOFT,
    between: Sequence[np.ndarray] = (),
    attributes: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Codes that ONNX Runtime gives for an operator whose inputs are ``x, x_scale, x_zero`` each, then ``between``, then
    ``y_scale, y_zero``.

    Raises:
        onnxruntime's own exceptions: it has no such kernel.
    """
    names: list[str] = []
    fixed = []

    def constant(label: str, value: np.ndarray) -> None:
        names.append(label)
        fixed.append(numpy_helper.from_array(value, label))

    ports = []
    for index, (codes, grid) in enumerate(inputs):
        names.append(f"x{index}")
        ports.append(helper.make_tensor_value_info(f"x{index}", KINDS[grid.kind], codes.shape))
        constant(f"s{index}", np.array(grid.step))
        constant(f"z{index}", np.array(grid.zero_point, grid.dtype))
    for index, value in enumerate(between):
        constant(f"c{index}", value)
    constant("s", np.array(output.step))
    constant("z", np.array(output.zero_point, output.dtype))
    node = helper.make_node(name, names, ["y"], domain=domain, **(attributes or {}))
    result = helper.make_tensor_value_info("y", KINDS[output.kind], None)
    graph = helper.make_graph([node], "one operator", ports, [result], fixed)
    sets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=9)
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {f"x{index}": codes for index, (codes, _) in enumerate(inputs)})[0])
