"""Softmaxes, products of two tensors and enlargements on Ethos-U against Vela's estimate of a file that holds them, which is no
silicon."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from oracle.vela import Uniform
from random_networks import quantize
from torch import Tensor, nn

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.numbers import Int
from hwsearch.boards import vela
from hwsearch.formats.tflite import write
from hwsearch.formats.writing import exporters
from hwsearch.quant.ranges.given import share_format
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace

SIZE = (16, 16)

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="needs the extra: vela")


class Attention(nn.Module):
    """Two convolutions whose pixels are compared with each other, or a softmax over the channels of one."""

    def __init__(self, channels: int, kind: str) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.other = nn.Conv2d(channels, channels, 3, padding=1)
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        rows = self.head(x).flatten(2).transpose(1, 2)
        if self.kind == "softmax":
            return torch.softmax(rows, -1)
        return torch.matmul(rows, self.other(self.head(x)).flatten(2))


def both(kind: str, channels: int, target: str, folder: Path, size: tuple[int, int] = SIZE) -> tuple[float, float]:
    """Seconds of the layer: ours, and the compiler's for all its operations for it."""
    graph, device = trace(Attention(channels, kind).eval(), 3, kind), catalogue.load(target)
    quantized = quantize(graph, 8, 8)
    if kind == "softmax":
        name = next(node.name for node in graph.nodes if node.name == kind)
        quantized.formats[name] = share_format(Int(8), symmetric=False)  # type: ignore[index]
    file, workload = write.export(quantized, folder / "net.tflite", size=size, flavour="ethos"), to_workload(graph, *size)
    rows = vela.compile_file(file, device)
    of_softmax = [row for row in rows if "softmax" in row.name or row.name.endswith("_transpose")]
    # Operands are turned for a product.
    of_matmul = [row for row in rows if row.op == "MatMul" or row.name.endswith("/Transpose")]
    theirs = sum(row.latency_s for row in (of_softmax if kind == "softmax" else of_matmul))
    table = cost.lower(device, exporters.shipped(workload, device), Uniform(workload, 8))
    row = [layer.name for layer in workload.layers].index(kind)
    return float((table.latency_s - table.overhead_s)[row, 0, 0, 0]), theirs


@pytest.mark.parametrize(
    ("target", "low", "high"),
    [
        ("ethos-u55-32", -0.25, 0.02),  # the last addition in single values is not modelled there
        ("ethos-u55-128", -0.45, 0.02),
        ("ethos-u65-256", -0.10, 0.10),
        ("ethos-u85-128", -0.10, 0.10),
        ("ethos-u85-512", -0.30, 0.30),
    ],
)
@pytest.mark.parametrize("channels", [32, 64])
def test_softmax(target: str, low: float, high: float, channels: int, tmp_path: Path) -> None:
    ours, theirs = both("softmax", channels, target, tmp_path)
    print(f"{target} {channels}: {ours / theirs - 1:+.1%}")
    assert low <= ours / theirs - 1 <= high


@pytest.mark.parametrize(
    "target", ["ethos-u55-32", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512", "ethos-u85-512"]
)
@pytest.mark.parametrize(("channels", "size"), [(16, (16, 16)), (64, (16, 16)), (24, (12, 12)), (32, (8, 8))])
def test_product_of_two_tensors(target: str, channels: int, size: tuple[int, int], tmp_path: Path) -> None:
    ours, theirs = both("matmul", channels, target, tmp_path, size)
    print(f"{target} {channels} {size}: {ours / theirs - 1:+.1%}")
    assert abs(ours / theirs - 1) <= (0.2 if "u85" in target and size == (8, 8) else 0.05)


class Enlarged(nn.Module):
    """A convolution, its picture enlarged, and another."""

    def __init__(self, mode: str, times: int, channels: int) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 3, 1)
        self.mode, self.times = mode, times

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(F.interpolate(self.head(x), scale_factor=self.times, mode=self.mode))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("mode", "times", "target", "within"),
    [
        ("bilinear", 2, "ethos-u55-128", 0.10),
        ("bilinear", 2, "ethos-u65-256", 0.10),
        ("bilinear", 2, "ethos-u85-256", 0.02),
        ("bilinear", 4, "ethos-u85-256", 0.02),
        ("nearest", 4, "ethos-u55-128", 0.02),
        ("nearest", 3, "ethos-u85-256", 0.02),
    ],
)
@pytest.mark.parametrize(("channels", "bits"), [(8, 8), (16, 8), (8, 16)])
def test_an_enlargement(mode: str, times: int, target: str, within: float, channels: int, bits: int, tmp_path: Path) -> None:
    """Between two convolutions, a QUANTIZE in front of an interpolation included."""
    size, device = (48, 64), catalogue.load(target)
    graph = trace(Enlarged(mode, times, channels).eval(), 3, "net")
    file = write.export(quantize(graph, 8, bits), tmp_path / "net.tflite", size=size, flavour="ethos")
    theirs = sum(row.latency_s for row in vela.compile_file(file, device) if not row.name.startswith(("head", "tail")))
    workload = exporters.shipped(to_workload(graph, *size), device)
    table = cost.lower(device, workload, Uniform(workload, bits))
    ours = float((table.latency_s - table.overhead_s)[1, 0, 0, 0])
    print(f"{mode} {times} {target} {channels} A{bits}: {ours / theirs - 1:+.1%}")
    assert abs(ours / theirs - 1) <= within
