"""The price of a network against Vela's estimate of the whole file that the exporter writes for it (estimates, not silicon)."""

from __future__ import annotations

import csv
import importlib.util
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from file_networks import KINDS, draw, normal
from oracle import whole_files
from random_networks import quantize
from scipy.stats import spearmanr
from torch import Tensor, nn

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.workload import Workload
from hwsearch.boards import vela
from hwsearch.formats.reading import pricing, readers
from hwsearch.formats.tflite import write
from hwsearch.formats.writing import exporters
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace

MEDIAN = {"ethos-u55-128": 0.05, "ethos-u65-512": 0.05, "ethos-u85-512": 0.15}
SEEDS = range(2)

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="needs the extra: vela")


def ours_s(target: str, workload: Workload, bits: int) -> float:
    """Seconds of the array for a network as shipped, without the device's fixed costs."""
    return whole_files.ours(catalogue.load(target), workload, bits)[0]


def test_whole_files(tmp_path: Path) -> None:
    """Residual, dense, odd-channel, depthwise, strided, transposed and concatenating networks at 8 and 16 bits: the median error
    of the whole and the order of the networks."""
    found = defaultdict(list)
    for kind in KINDS:
        for seed in SEEDS:
            graph, size = whole_files.network(kind, seed)
            workload = to_workload(graph, *size)
            for bits in (8, 16):
                file = write.export(
                    quantize(graph, 8, bits), tmp_path / f"{kind} {seed} {bits}.tflite", size=size, flavour="ethos"
                )
                for target in MEDIAN:
                    theirs = sum(row.latency_s for row in vela.compile_file(file, catalogue.load(target)))
                    found[target, bits].append((ours_s(target, workload, bits), theirs))
    for (target, bits), pairs in found.items():
        errors = np.abs([ours / theirs - 1 for ours, theirs in pairs])
        order = spearmanr(*zip(*pairs, strict=True)).statistic
        print(
            f"\n{target} W8A{bits}: {len(pairs)} networks, median {np.median(errors):.1%}, 9 of 10 within "
            f"{np.quantile(errors, 0.9):.1%}, rank correlation {order:.3f}"
        )
        assert np.median(errors) <= MEDIAN[target], (target, bits)
        assert order >= 0.95, (target, bits)


class Shuffled(nn.Module):
    """Two convolutions, then pixels of blocks made of channels, or channels made of them, and a convolution of what comes out."""

    def __init__(self, factor: int, channels: int, *, back: bool) -> None:
        super().__init__()
        inner = channels if back else channels * factor**2
        self.head, self.body = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, inner, 3, padding=1)
        self.move = nn.PixelUnshuffle(factor) if back else nn.PixelShuffle(factor)
        self.tail = nn.Conv2d(channels * factor**2 if back else channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.move(self.body(torch.relu(self.head(x)))))  # type: ignore[no-any-return]


@pytest.mark.parametrize("target", sorted(MEDIAN))
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("factor", "channels", "size", "back"),
    [
        (2, 32, (64, 64), False),
        (3, 12, (33, 47), False),
        (4, 3, (96, 96), False),
        (2, 3, (260, 256), False),
        (2, 8, (36, 52), True),
    ],
)
def test_pixel_shuffles(
    factor: int, channels: int, size: tuple[int, int], back: bool, bits: int, target: str, tmp_path: Path
) -> None:
    """They stay on the array, at any size, and the whole file takes what the price says."""
    network, device = Shuffled(factor, channels, back=back).eval(), catalogue.load(target)
    graph = trace(network, 3, "shuffled", Fraction(1, factor) if back else factor)
    file = write.export(quantize(graph, 8, bits, size=(16, 24)), tmp_path / "net.tflite", size=size, flavour="ethos")
    (table,) = vela._compiled(file, device, "per-layer")
    assert {row["Target"] for row in csv.DictReader(table.splitlines())} == {"NPU"}
    rows, workload = vela.parse(table, vela._clock_hz(device)), to_workload(graph, *size)
    error = ours_s(target, workload, bits) / sum(row.latency_s for row in rows) - 1
    print(f"\n{factor} {channels} {size} W8A{bits} {target}: {error:+.2%}")
    assert abs(error) <= 0.03


def test_a_file_of_others(tmp_path: Path) -> None:
    """DEPTH_TO_SPACE is left to the processor beside the array, and priced there."""
    graph = trace(Shuffled(2, 8, back=False).eval(), 3, "shuffled", 2)
    found = readers.inspect(write.export(quantize(graph), tmp_path / "net.tflite", size=(36, 52)))
    price, both = vela.of_file(found, "ethos-u55-128")
    assert both.beside_s > 0
    assert both.ours_s == pytest.approx(both.vela_s, rel=0.03)
    ours = readers.inspect(write.export(quantize(graph), tmp_path / "ours.tflite", size=(36, 52), flavour="ethos"))
    faster, both = vela.of_file(ours, "ethos-u55-128")
    assert both.beside_s == 0
    assert both.ours_s == pytest.approx(both.vela_s, rel=0.03)
    assert faster.latency_s < price.latency_s


@pytest.mark.parametrize("seed", [43, 44])
def test_parts_of_several_formats(seed: int, tmp_path: Path) -> None:
    """A concatenation of bricks with rows of channels that a pixel shuffle left in external memory: each is read as it lies."""
    graph, rng = draw("hourglass", seed), np.random.default_rng(seed)
    height, width = (4 * int(side) for side in rng.integers(8, 40, 2))
    file = write.export(quantize(graph, 8, 8), tmp_path / "hourglass.tflite", size=(height, width), flavour="ethos")
    for target in MEDIAN:
        theirs = sum(row.latency_s for row in vela.compile_file(file, catalogue.load(target)))
        error = ours_s(target, to_workload(graph, height, width), 8) / theirs - 1
        print(f"\n{target} hourglass {seed}: {error:+.1%}")
        assert abs(error) <= 0.12


def test_files_of_mixed_widths(tmp_path: Path) -> None:
    """Every second tensor at 16 bits: what QUANTIZE costs where operands of an addition are narrower than its result."""
    errors = []
    for kind in KINDS:
        graph = draw(kind, 7)
        leaders = list(dict.fromkeys(graph.quantizer_groups().values()))
        quantized = quantize(graph, 8, {name: 16 if i % 2 else 8 for i, name in enumerate(leaders)})
        file = write.export(quantized, tmp_path / f"{kind}.tflite", size=(40, 56), flavour="ethos")
        device = catalogue.load("ethos-u55-128")
        theirs = sum(row.latency_s for row in vela.compile_file(file, device))
        bits = {node.name: quantized.formats[node.name].bits for node in graph.nodes}
        price = pricing.of_widths(graph, {node.name: 8 for node in graph.convs}, bits, device, (40, 56))
        workload = exporters.shipped(to_workload(graph, 40, 56), device)
        layers = [
            layer.latency_s
            for row, layer in enumerate(price.layers)
            if not vela.runs_beside(workload, device, row, layer.output_bits)
        ]
        errors.append(abs(sum(layers) / theirs - 1))
        print(f"{kind}: {sum(layers) / theirs - 1:+.1%}")
    assert np.median(errors) <= 0.05
    assert max(errors) <= 0.10


def relative(kind: str, seed: int, bits: int, target: str, folder: Path) -> tuple[float, float]:
    """Ours over Vela's, less one, for a file with normally distributed weights: time of the array, and on-chip memory."""
    graph, rng = draw(kind, seed), np.random.default_rng(seed)
    height, width = (4 * int(side) for side in rng.integers(8, 40, 2))
    file = write.export(quantize(normal(graph), 8, bits), folder / "net.tflite", size=(height, width), flavour="ethos")
    device, workload = catalogue.load(target), to_workload(graph, height, width)
    rows, theirs = vela.estimate(file, device)
    ours = cost.onchip_bytes(device, exporters.shipped(workload, device), bits)
    assert ours is not None
    return ours_s(target, workload, bits) / sum(row.latency_s for row in rows) - 1, ours / theirs - 1


@pytest.mark.parametrize(
    ("kind", "seed", "bits", "target"),
    [
        pytest.param("strided", 700, 16, "ethos-u85-512", id="repeated pixels of 16 bits"),
        pytest.param("strided", 700, 8, "ethos-u85-512", id="repeated pixels"),
        pytest.param("hourglass", 701, 16, "ethos-u55-128", id="what a shuffle wrote is copied into a concatenation"),
        pytest.param("dense", 701, 16, "ethos-u55-128", id="bounds in a concatenation are fused"),
        pytest.param("depthwise", 704, 8, "ethos-u85-512", id="a sum takes the output unit as long again"),
        pytest.param("depthwise", 703, 16, "ethos-u85-512", id="a sum's operand streams in beside the convolution's input"),
        pytest.param("residual", 701, 16, "ethos-u85-512", id="two sums stream by one channel"),
        pytest.param("depthwise", 701, 16, "ethos-u85-512", id="what a bound writes does not count where it competes for room"),
        pytest.param("depthwise", 606, 8, "ethos-u85-512", id="a bound where the codes begin is no operation"),
        pytest.param("dense", 905, 8, "ethos-u85-512", id="what a sum writes does not count where it competes for room"),
        pytest.param("dense", 901, 8, "ethos-u85-512", id="a bound writes the whole of a concatenation"),
        pytest.param("odd", 917, 16, "ethos-u65-512", id="sums of few channels lie in bricks between sums"),
        pytest.param("odd", 917, 8, "ethos-u65-512", id="a sum in bricks overwrites no operand in rows"),
        pytest.param("slopes", 913, 16, "ethos-u65-512", id="what a cascade ends in leaves the chip"),
        pytest.param("summed", 2, 8, "ethos-u85-512", id="a bound behind a sum writes the whole of a concatenation"),
        pytest.param("odd", 701, 8, "ethos-u65-512", id="what the last slice takes as it was estimated"),
        pytest.param("odd", 704, 8, "ethos-u65-512", id="what a cascade ends in leaves the chip"),
        pytest.param("transposed", 703, 8, "ethos-u65-512", id="biases come from the copy, too"),
        pytest.param("plain", 703, 16, "ethos-u85-512", id="an input stays on the chip instead of weights"),
        pytest.param("odd", 1603, 16, "ethos-u85-256", id="what lies between two sums is nowhere"),
        pytest.param("strided", 1600, 16, "ethos-u85-1024", id="every slice fetches whole micro-blocks of biases"),
    ],
)
def test_one_cause_each(kind: str, seed: int, bits: int, target: str, tmp_path: Path) -> None:
    """Files that were off by 5 to 53 % for one reason each."""
    latency, memory = relative(kind, seed, bits, target, tmp_path)
    print(f"\n{kind} {seed} W8A{bits} {target}: latency {latency:+.2%}, on-chip memory {memory:+.2%}")
    assert abs(latency) <= 0.01
    assert abs(memory) <= 0.005
