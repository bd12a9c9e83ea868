"""Transposes as the prices of processors have them, beside the graph that ONNX Runtime runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from hwmodels.classes.onnxruntime_transposes import executed, steps
from hwsearch.formats.onnx.float_network import to_float_model
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace

SIDE = 24


class Cut(nn.Module):
    """A picture cut into windows and put together again, with a dense layer for what is between."""

    def __init__(self, channels: int, rows: int, columns: int, direct: bool = False, heads: int = 1) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 3, 3, padding=1)
        self.dense, self.rows, self.columns, self.direct, self.heads = nn.Linear(channels, channels), rows, columns, direct, heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.head(x)
        _, channels, height, width = y.shape
        a, b = height // self.rows, width // self.columns
        if self.direct:
            y = y.reshape(1, channels, a, self.rows, b, self.columns).permute(0, 2, 4, 3, 5, 1)
        else:
            y = y.permute(0, 2, 3, 1).reshape(1, a, self.rows, b, self.columns, channels).permute(0, 1, 3, 2, 4, 5)
        y = self.dense(y.reshape(a * b, self.rows * self.columns, channels))
        split = y.reshape(a * b, self.rows * self.columns, self.heads, channels // self.heads).transpose(1, 2)
        y = (split @ (split.transpose(-2, -1) @ split)).transpose(1, 2)
        y = y.reshape(1, a, b, self.rows, self.columns, channels).permute(0, 5, 1, 3, 2, 4)
        found: torch.Tensor = self.tail(y.reshape(1, channels, height, width))
        return found


NETWORKS: dict[str, nn.Module] = {
    "from planes to windows": Cut(12, 8, 8),
    "stripes": Cut(12, 4, 12),
    "windows at once": Cut(12, 8, 8, direct=True),
    "windows as high as the picture": Cut(12, SIDE, 4),
    "heads": Cut(12, 8, 8, heads=3),
}


def theirs(graph: Graph, folder: Path) -> int:
    """Steps of all transposes that ONNX Runtime executes for a picture of ``SIDE``, by the sizes that its profile tells."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "run.onnx")
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(to_float_model(graph).SerializeToString(), options)
    session.run(None, {"input": np.zeros((1, 3, SIDE, SIDE), np.float32)})
    ran = onnx.load(folder / "run.onnx").graph.node
    axes = {node.name: tuple(node.attribute[0].ints) for node in ran if node.op_type == "Transpose"}
    told = [e for e in json.loads(Path(session.end_profiling()).read_text()) if e.get("args", {}).get("op_name") == "Transpose"]
    found = [(event["name"].removesuffix("_kernel_time"), event["args"]["input_type_shape"][0]["float"]) for event in told]
    assert {name for name, _ in found} == axes.keys()
    return sum(steps((tuple(shape), axes[name])) for name, shape in found)


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_are_those_of_onnx_runtime(name: str, tmp_path: Path) -> None:
    graph = trace(NETWORKS[name].eval(), 3, "cut", scale=1, size=(SIDE, SIDE))
    ours = [found for found in executed(to_workload(graph, SIDE, SIDE)) if found is not None]
    assert sum(map(steps, ours)) == theirs(graph, tmp_path) > 0


def test_steps_by_hand() -> None:
    assert steps(((2, 3, 4), (0, 1, 2))) == 0
    assert steps(((1, 30, 1, 7), (1, 2, 0, 3))) == 0  # axes of one value change their places, and no value does
    assert steps(((5, 6), (1, 0))) == 0  # a matrix
    assert steps(((2, 5, 6), (0, 2, 1))) == 0
    assert steps(((2, 5, 3, 8), (0, 2, 1, 3))) == 2 * 2 * 5 * 3  # runs of eight values
    assert steps(((2, 5, 3, 8), (3, 1, 2, 0))) == 2 * 5 * 3 * 8  # single values
