"""What ONNX Runtime makes of networks in single precision, as the prices of processors have it, beside the graph that it runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from hwmodels.classes.onnxruntime_float import executed
from hwmodels.workload import Workload
from hwsearch.formats.onnx import write
from hwsearch.formats.onnx.float_network import to_float_model
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.networks import registry
from searchspaces.tracing.trace import trace

NETWORKS: dict[str, tuple[int, dict[str, Any]]] = {
    "fsrcnn": (2, {"activation": "prelu"}),
    "abpn": (3, {}),
    "ecbsr": (2, {}),
    "espcn": (2, {}),
    "edsr": (2, {"n_feats": 16, "n_blocks": 2}),
    "imdn": (4, {"n_blocks": 2}),
    "carn_m": (4, {}),
    "lapsrn": (2, {"depth": 2}),
    "rfdn": (4, {}),
    "srvgg": (4, {"depth": 3}),
}
LANES = {"AVX512": 16, "AVX2": 8}
"""Channels of a block, by what PyTorch calls the processor."""


def traced(name: str) -> Graph:
    scale, arguments = NETWORKS[name]
    spec = registry.spec(name)
    channels = spec.channels or int({**spec.arguments, **arguments}["channels"])
    return trace(registry.build(name, scale, **arguments), channels, name)


def run_as(graph: Graph, folder: Path) -> Counter[str]:
    """How many operators of each kind the graph has that ONNX Runtime runs."""
    write.session(to_float_model(graph).SerializeToString(), threads=1, optimized=folder / "run.onnx")
    return Counter(node.op_type for node in onnx.load(folder / "run.onnx").graph.node)


def ours(workload: Workload) -> tuple[int, int]:
    """Tensors that are converted, and additions that are operators of their own."""
    found = executed(workload, LANES[torch.backends.cpu.get_cpu_capability()])
    own = [layer for layer, fused in zip(workload.layers, found.fused, strict=True) if layer.maps("add") and not fused]
    return sum(map(len, found.converted)), len(own)


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() not in LANES, reason="a processor whose blocks are not known")
@pytest.mark.parametrize("name", NETWORKS)
def test_conversions_and_additions_are_those_of_onnx_runtime(name: str, tmp_path: Path) -> None:
    graph = traced(name)
    kinds = run_as(graph, tmp_path)
    theirs = kinds["ReorderInput"] + kinds["ReorderOutput"], kinds["Add"] + kinds["Sum"]
    assert ours(to_workload(graph, 24, 32)) == theirs


class Around(nn.Module):
    """Something between two convolutions of whole blocks."""

    def __init__(self, *middle: nn.Module, twice: bool = False) -> None:
        super().__init__()
        self.head, self.middle, self.twice = nn.Conv2d(3, 32, 3, padding=1), nn.Sequential(*middle), twice
        self.tail = nn.Conv2d(4 * 32, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.middle(self.head(x))
        y = y + y if self.twice else y
        found: torch.Tensor = self.tail(torch.cat([y] * (4 * 32 // y.shape[1]), 1))
        return found


AROUND = {
    "groups of a quarter of a block": Around(nn.Conv2d(32, 128, 3, padding=1, groups=8)),
    "groups of half a block": Around(nn.Conv2d(32, 128, 3, padding=1, groups=4)),
    "every channel four times": Around(nn.Conv2d(32, 128, 3, padding=1, groups=32)),
    "every channel by itself, fewer than a block": Around(nn.Conv2d(32, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)),
    "groups of blocks": Around(nn.Conv2d(32, 128, 3, padding=1, groups=2)),
    "largest of a window": Around(nn.MaxPool2d(3, 1, 1)),
    "mean of every second window": Around(nn.AvgPool2d(2)),
    "a tensor added to itself": Around(twice=True),
}


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() not in LANES, reason="a processor whose blocks are not known")
@pytest.mark.parametrize("name", AROUND)
def test_layers_that_take_blocks_and_that_do_not(name: str, tmp_path: Path) -> None:
    graph = trace(AROUND[name].eval(), 3, "around")
    kinds = run_as(graph, tmp_path)
    assert ours(to_workload(graph, 24, 32)) == (kinds["ReorderInput"] + kinds["ReorderOutput"], kinds["Add"] + kinds["Sum"])


class Scaled(nn.Module):
    """Products of two tensors: one with a factor behind it, one with a factor in front, and a factor that another reads, too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.flatten(2)
        behind = rows @ rows.transpose(1, 2) * 0.5
        front = behind.tanh() @ (rows * 0.25)
        twice = front.tanh() * 3.0
        found: torch.Tensor = x + (twice @ twice.transpose(1, 2) @ rows + twice).reshape(x.shape)
        return found


def test_factors_of_products_cost_nothing(tmp_path: Path) -> None:
    graph = trace(Scaled().eval(), 3, "scaled", scale=1, size=(8, 12))
    workload = to_workload(graph, 8, 12)
    fused = [layer.name for layer, done in zip(workload.layers, executed(workload, 16).fused, strict=True) if done]
    factors = [layer.name for layer in workload.layers if layer.maps("mul")]
    assert len(factors) - len(fused) == run_as(graph, tmp_path)["Mul"] == 1


def test_by_hand() -> None:
    """Sixteen channels stay in blocks through an addition; a pixel shuffle wants planes, and so does the end."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.body = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
            self.tail = nn.Conv2d(4, 3, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.head(x)
            found: torch.Tensor = self.tail(nn.functional.pixel_shuffle(self.body(y) + y, 2))
            return found

    workload = to_workload(trace(Network().eval(), 3, "hand"), 8, 8)
    rows = {layer.name: i for i, layer in enumerate(workload.layers)}
    found = executed(workload, 16)
    shuffle = next(i for i, layer in enumerate(workload.layers) if layer.moves("shuffle"))
    assert [name for name, row in rows.items() if found.fused[row]] == ["add"]
    assert [row for row, tensors in enumerate(found.converted) if tensors] == [shuffle, rows["tail"]]
    assert found.converted[rows["tail"]] == (workload.layers[rows["tail"]].output,)
