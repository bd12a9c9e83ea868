"""What Vela leaves to the processor beside the array, of files that we export: the price says the same of every one.

Left: operators that no Ethos-U has, and those that it has at other sizes, widths or on other arrays alone.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from random_networks import quantize
from torch import Tensor, nn

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.numbers import Precision
from hwsearch.boards import vela
from hwsearch.formats.tflite import write
from hwsearch.formats.writing import exporters
from searchspaces.ir.graph import Graph, Node
from searchspaces.ir.lower import to_workload
from searchspaces.ops.base import Op
from searchspaces.ops.input import Input
from searchspaces.ops.moves.move import Permute, Reshape
from searchspaces.ops.moves.resize import Resize
from searchspaces.tracing.trace import trace

TARGETS = ("ethos-u55-128", "ethos-u85-256")
CHANNELS = 8

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="needs the extra: vela")


class Between(nn.Module):
    """An operator between two convolutions of eight channels."""

    def __init__(self, operator: Callable[[Tensor], Tensor] | nn.Module) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, 3, 1)
        self.operator = operator

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.operator(self.head(x)))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Every pixel compared with every other."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2)
        return torch.matmul(rows, torch.softmax(torch.matmul(rows.transpose(1, 2), rows), -1)).reshape(x.shape)


def tokens(x: Tensor) -> Tensor:
    """A softmax over the channels of every pixel."""
    return torch.softmax(x.flatten(2).transpose(1, 2), -1).transpose(1, 2).reshape(x.shape)


def convolution(stride: int, kernel: int, groups: int = 1) -> nn.Module:
    return nn.Conv2d(CHANNELS, CHANNELS, kernel, stride, groups=groups)


def left(graph: Graph, size: tuple[int, int], bits: int, target: str, folder: Path) -> tuple[list[str], list[str]]:
    """Operators of the file that the compiler leaves, and layers that the price says run elsewhere."""
    device = catalogue.load(target)
    file = write.export(quantize(graph, 8, bits, size=SMALL), folder / "net.tflite", size=size, flavour="ethos")
    (table,) = vela._compiled(file, device, "per-layer")
    theirs = [row["Original Operator"] for row in csv.DictReader(table.splitlines()) if row["Target"] != "NPU"]
    workload = exporters.shipped(to_workload(graph, *size), device)
    priced = cost.uniform_table(device, workload, Precision.parse(f"W8A{bits}"))
    return theirs, [layer.name for layer, each in zip(workload.layers, priced.runs_on, strict=True) if each[0][0]]


def moves(*ops: Op) -> Graph:
    """Operators one after the other on a picture of eight channels."""
    nodes = [Node("x", Input(CHANNELS))]
    for number, op in enumerate(ops):
        nodes.append(Node(f"y{number}", op, (nodes[-1].name,)))
    return Graph("moves", tuple(nodes))


def bilinear(height: str, width: str, *, corners: bool = False) -> Resize:
    return Resize("bilinear", size=(height, width), align_corners=corners)


SMALL = (16, 24)
WINDOWS, ORDER = Reshape((1, 8, "h // 8", 8, "w // 8", 8)), Permute((0, 2, 4, 3, 5, 1))
CASES: dict[str, tuple[Callable[[Tensor], Tensor] | nn.Module, tuple[int, int]]] = {
    **{f"nearest {n}": (lambda x, n=n: F.interpolate(x, scale_factor=n), SMALL) for n in (2, 3, 4, 5, 8)},
    **{f"bilinear {n}": (lambda x, n=n: F.interpolate(x, scale_factor=n, mode="bilinear"), SMALL) for n in (2, 3, 4, 8)},
    "shuffle": (lambda x: torch.cat([F.pixel_shuffle(x, 2)] * 4, 1), SMALL),
    "shuffle of 65,536 pixels": (lambda x: torch.cat([F.pixel_shuffle(x, 2)] * 4, 1), (256, 256)),
    "shuffle of more": (lambda x: torch.cat([F.pixel_shuffle(x, 2)] * 4, 1), (256, 260)),
    "gelu": (F.gelu, SMALL),
    "silu": (F.silu, SMALL),
    "tanh": (torch.tanh, SMALL),
    "leaky": (lambda x: F.leaky_relu(x + torch.relu(x), 0.1), SMALL),
    "reversed": (lambda x: x.flip((3,)), SMALL),
    "rolled": (lambda x: x.roll((2, -1), (2, 3)), SMALL),
    "mirrored border": (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), SMALL),
    "repeated border": (lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"), SMALL),
    "largest": (nn.MaxPool2d(5, 4), SMALL),
    "mean": (lambda x: x * x.mean((2, 3), keepdim=True), (12, 4096)),
    "mean along a longer axis": (lambda x: x * x.mean((2, 3), keepdim=True), (12, 4100)),
    "attention": (Attention(), SMALL),
    "softmax": (tokens, (200, 200)),
    "softmax of more rows": (tokens, (256, 260)),
    "stride 3": (convolution(3, 5), (20, 32)),
    "stride 4": (convolution(4, 4), (20, 32)),
    "depthwise, stride 3": (convolution(3, 5, CHANNELS), (20, 32)),
    "depthwise, stride 4": (convolution(4, 4, CHANNELS), (20, 32)),
}


WIDE = (*("nearest 2", "bilinear 2", "shuffle of 65,536 pixels", "shuffle of more", "gelu", "silu", "tanh", "attention", "mean"),)
"""What runs at 16 bits, too."""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("case", "bits"), [*((case, 8) for case in CASES), *((case, 16) for case in WIDE)])
def test_what_is_left_is_named(case: str, bits: int, target: str, tmp_path: Path) -> None:
    operator, size = CASES[case]
    theirs, ours = left(trace(Between(operator).eval(), 3, "net"), size, bits, target, tmp_path)
    print(f"\n{case} A{bits} {target}: {theirs} {ours}")
    assert bool(theirs) == bool(ours)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("ops", "size"),
    [
        pytest.param((WINDOWS, ORDER), (64, 64), id="windows"),
        pytest.param((WINDOWS, ORDER), (256, 256), id="more windows"),
        pytest.param((bilinear("2 * h - 1", "2 * w - 1", corners=True),), SMALL, id="twice between corners"),
        pytest.param((bilinear("4 * h - 3", "4 * w - 3", corners=True),), SMALL, id="4 times between corners"),
        pytest.param((bilinear("3 * h - 2", "3 * w - 2", corners=True),), SMALL, id="3 times between corners"),
        pytest.param((bilinear("2 * h", "2 * w", corners=True),), SMALL, id="other corners"),
        pytest.param((bilinear("h // 2", "w // 2"),), SMALL, id="half"),
        pytest.param((bilinear("2 * h", "4 * w"),), SMALL, id="twice and 4 times"),
        pytest.param((bilinear("2 * h", "w"),), SMALL, id="twice and once"),
    ],
)
def test_moves_that_are_left_are_named(ops: tuple[Op, ...], size: tuple[int, int], target: str, tmp_path: Path) -> None:
    theirs, ours = left(moves(*ops), size, 8, target, tmp_path)
    print(f"\n{target}: {theirs} {ours}")
    assert bool(theirs) == bool(ours)
