"""Copies of what enters a network, and sums of what lies elsewhere, on a U85 against Vela on the exported file."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from file_networks import normal
from oracle import whole_files
from random_networks import quantize
from torch import Tensor, nn

from hwmodels.device import catalogue
from hwsearch.boards import vela
from hwsearch.formats.tflite import write
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace

TARGET = "ethos-u85-512"

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="needs the extra: vela")


class Skip(nn.Module):
    """What enters is read by a convolution and added to what leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(16, 32, 3, padding=1), nn.Conv2d(32, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(x)))  # type: ignore[no-any-return]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "strided": lambda: nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(32, 8, 3, padding=1)),
    "depthwise": lambda: nn.Sequential(nn.Conv2d(16, 16, 5, padding=2, groups=16), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1)),
    "skip": Skip,
}


def errors(graph: Graph, size: tuple[int, int], bits: int, folder: Path) -> tuple[float, float]:
    """Ours over Vela's, less one: latency and on-chip memory."""
    device = catalogue.load(TARGET)
    file = write.export(quantize(normal(graph), 8, bits), folder / "net.tflite", size=size, flavour="ethos")
    rows, memory = vela.estimate(file, device)
    seconds, onchip = whole_files.ours(device, to_workload(graph, *size), bits)
    return seconds / sum(row.latency_s for row in rows) - 1, onchip / memory - 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_enters(name: str, bits: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    latency, memory = errors(trace(NETWORKS[name]().eval(), 16, name), (40, 132), bits, tmp_path)
    assert latency == pytest.approx(0.0, abs=0.015)
    assert memory == pytest.approx(0.0, abs=0.005)


@pytest.mark.parametrize(("kind", "seed", "bits"), [("depthwise", 1205, 8), ("odd", 1205, 16)])
def test_whole_files(kind: str, seed: int, bits: int, tmp_path: Path) -> None:
    """Three channels that enter are copied; the operands of two sums in a row are read from outside where one does not fit."""
    latency, memory = errors(*whole_files.network(kind, seed), bits, tmp_path)
    assert latency == pytest.approx(0.0, abs=0.01)
    assert memory == pytest.approx(0.0, abs=0.005)
