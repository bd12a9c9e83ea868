"""Small ONNX files, and how far what is read of them is from ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from hwsearch.formats.reading.readers import inspect
from searchspaces.ir.graph import execute

CHANNELS = 4
SIZES = ((24, 32), (36, 20), (16, 44))


def written(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
    sides: tuple[Any, ...] = ("n", CHANNELS, "h", "w"),
    output: str = "y",
) -> Path:
    """A file from input "x" to ``output``."""
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, sides),
        helper.make_tensor_value_info(output, TensorProto.FLOAT, None),
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(model, path)
    return path


def difference(path: Path, sizes: tuple[tuple[int, int], ...] = SIZES) -> float:
    """Largest difference from ONNX Runtime over the largest value, over all sizes that the graph is for."""
    found = inspect(path)
    assert found.graph.uncounted == ()
    assert found.executable
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for height, width in (found.graph.size,) if found.graph.size else sizes:
        x = torch.rand(1, found.graph.channels, height, width, generator=torch.Generator().manual_seed(height)) - 0.25
        theirs = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
        ours = execute(found.graph, x).numpy()
        assert ours.shape == theirs.shape
        worst = max(worst, float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-6)))
    return worst


def node(kind: str, *inputs: str, out: str = "y", **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(kind, ["x", *inputs], [out], **attrs)


def array(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers, float32, the same for the same shape and seed."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
