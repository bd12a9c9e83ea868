"""Exported networks on emulated microcontrollers: codes equal to our engine's, instructions counted exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from attention_block import shifted
from oracle import c_steps, instructions
from random_networks import float_graph, picture, quantize
from torch import nn

from hwmodels.device import catalogue
from hwmodels.errors import FileError, UsageError
from hwsearch.formats.c import emulator, qemu, write
from hwsearch.formats.running.windows import windows
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace

MIXED = {"weights": (8, 4, 3, 6, 2, 5, 7), "tensors": (8, 6, 8, 16, 4, 8)}
TILE = (12, 10)

LOOPS = """
static void loop(uint32_t rounds) {
    __asm__ volatile("1: subs %0, #1\\n bne 1b" : "+r"(rounds) : : "cc");
}
void loops_run(const void *input, void *output) {
    HWS_STEP(0)
    loop(1000);
    HWS_STEP(1)
    loop(2000);
    HWS_STEP(2)
    *(uint8_t *)output = *(const uint8_t *)input;
}
"""


@pytest.fixture(params=list(emulator.BOARDS))
def board(request: pytest.FixtureRequest) -> emulator.Board:
    missing = emulator.missing_tools()
    if missing:
        pytest.skip(f"NOT RUN: no {' and no '.join(missing)}; nothing was executed on a microcontroller. {emulator.INSTALL}")
    return emulator.BOARDS[request.param]


def mixed(graph: Graph) -> QuantizedGraph:
    weights = {node.name: MIXED["weights"][i % 7] for i, node in enumerate(graph.convs)}
    groups = sorted(set(graph.quantizer_groups().values()))
    return quantize(graph, weights, {name: MIXED["tensors"][i % 6] for i, name in enumerate(groups)})


def convolution() -> QuantizedGraph:
    """3x3, 16 to 16 channels, ReLU."""
    torch.manual_seed(0)
    return quantize(trace(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()).eval(), 16, "one"), 8, 8)


class Steps(nn.Module):
    """A product of matrices, windows, extremes, differences, slopes and bounds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = nn.functional.avg_pool2d(x, 3, 1, 1) - nn.functional.max_pool2d(x, 3, 1, 1)
        bent = torch.maximum(nn.functional.leaky_relu(pooled, 0.3), torch.minimum(x - 0.7, x.flip(2)))
        return (bent.clamp(-0.4, 0.4) @ x.transpose(2, 3)) @ x


def codes_of_engine(q: QuantizedGraph, codes: np.ndarray) -> np.ndarray:
    x = q.formats[q.graph.input.name].decode(torch.from_numpy(codes).float())
    return integer.run_codes(replace(q, rule=write.RULE), x)[q.graph.output.name].numpy()


@pytest.mark.parametrize("name", ["fsrcnn-relu", "fsrcnn-prelu", "abpn", "ecbsr", "edsr"])
def test_codes_are_those_of_the_engine(name: str, board: emulator.Board, tmp_path: Path) -> None:
    graph = float_graph(name)
    q = mixed(graph)
    codes = q.formats[graph.input.name].encode(picture(graph, *TILE, seed=1)).numpy().astype(np.int64)
    found, counts = qemu.CompiledNetwork(q, board, tmp_path, TILE).run(codes)
    assert np.array_equal(found, codes_of_engine(q, codes))
    assert (counts > 0).all()


def test_attention_on_the_boards(board: emulator.Board, tmp_path: Path) -> None:
    """Products of tensors by the vector instructions of each core, floating point by its unit; a step of every kind is priced."""
    size = (24, 24)
    q = quantize(shifted(size[0]), 8, 8, size=size)
    codes = np.random.default_rng(0).integers(0, 256, (1, 3, *size))
    network = qemu.CompiledNetwork(q, board, tmp_path, size)
    found, counts = network.run(codes)
    assert np.array_equal(found, codes_of_engine(q, codes))
    target = catalogue.load(instructions.DEVICES[board.core])
    assert instructions.of_layers(target, to_workload(q.graph, *size)) == pytest.approx(counts.sum(), rel=0.1)


def depthwise(channels: int, kernel: int, stride: int, dilation: int, slope: bool) -> QuantizedGraph:
    """A depthwise convolution between two that make its channels and take them."""
    torch.manual_seed(channels)
    middle = nn.Conv2d(channels, channels, kernel, stride, dilation * (kernel // 2), dilation, groups=channels)
    bend = nn.PReLU(channels, 0.3) if slope else nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, channels, 1), middle, bend, nn.Conv2d(channels, 3, 1)).eval()
    return quantize(trace(network, 3, "depthwise"), {"0": 8, "1": 5, "3": 8}, 8)


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "dilation", "slope"),
    [(1, 3, 1, 1, False), (3, 3, 1, 1, True), (4, 5, 1, 1, False), (7, 3, 1, 2, True), (10, 3, 2, 1, False), (16, 1, 1, 1, True)],
)
def test_depthwise_layers_on_the_boards(
    channels: int, kernel: int, stride: int, dilation: int, slope: bool, board: emulator.Board, tmp_path: Path
) -> None:
    """Channels are summed four side by side, whatever their number; all of a small picture's pixels see its border."""
    size = (6, 8)
    q = depthwise(channels, kernel, stride, dilation, slope)
    codes = np.random.default_rng(0).integers(0, 256, (1, 3, *size))
    found, counts = qemu.CompiledNetwork(q, board, tmp_path, size).run(codes)
    assert np.array_equal(found, codes_of_engine(q, codes))
    assert (counts > 0).all()


@pytest.mark.parametrize(("channels", "kernel"), [(12, 3), (30, 5), (9, 3)])
def test_depthwise_layers_are_priced_as_they_are_counted(
    channels: int, kernel: int, board: emulator.Board, tmp_path: Path
) -> None:
    size = (20, 18)
    q = depthwise(channels, kernel, 1, 1, slope=False)
    codes = np.random.default_rng(0).integers(0, 256, (1, 3, *size))
    _, counts = qemu.CompiledNetwork(q, board, tmp_path, size).run(codes)
    target = catalogue.load(instructions.DEVICES[board.core])
    assert instructions.of_layers(target, to_workload(q.graph, *size)) == pytest.approx(counts.sum(), rel=0.1)


@pytest.mark.parametrize("bits", [8, 16])
def test_steps_of_every_kind_on_the_boards(bits: int, board: emulator.Board, tmp_path: Path) -> None:
    """Functions, windows and products in one network, by the instructions of each core."""
    size = (10, 9)
    q = quantize(trace(Steps().eval(), 3, "steps", size=size), 8, bits, size=size)
    source = q.formats[q.graph.input.name]
    codes = np.random.default_rng(0).integers(source.qmin, source.qmax + 1, (1, 3, *size))
    found, _ = qemu.CompiledNetwork(q, board, tmp_path, size).run(codes)
    assert np.array_equal(found, codes_of_engine(q, codes))


@pytest.mark.parametrize("label", ["bicubic x3, 3 channels", "mean of 24 channels", "max of 3x3, 6 channels", "softmax of 48"])
def test_a_step_is_priced_as_it_is_counted(label: str, board: emulator.Board) -> None:
    """Of sizes that no constant was fitted to, within 15 %."""
    target = catalogue.load(instructions.DEVICES[board.core])
    steps = [step for step in c_steps.CHECKED if step.label == label]
    assert steps
    for step in steps:
        assert step.predicted(target) == pytest.approx(step.counted(board), rel=0.15), step.bits


def test_a_picture_that_every_pixel_sees_is_run_whole(board: emulator.Board) -> None:
    q = quantize(shifted(), 8, 8, size=(8, 8))
    plan = qemu.open_plan(q, board.core)
    x = picture(q.graph, 8, 8, seed=3)
    assert torch.equal(plan.run(x), integer.run(plan.executed, x))
    assert plan.tolerance.differing == 0


def test_a_loop_counts_two_instructions_a_round(board: emulator.Board, tmp_path: Path) -> None:
    source = tmp_path / "loops.c"
    source.write_text(LOOPS)
    firmware = emulator.compile_firmware([source], "loops_run", board, tmp_path, (1, 1, 3))
    output, counts = emulator.execute(firmware, b"ab")
    assert output == b"ab"
    assert counts[0].tolist() == counts[1].tolist()
    (_, first, second) = counts[0]
    assert second - first == 2 * 1000
    # Around the loop: the number of rounds into a register, the step into another, perhaps a jump back from the call.
    assert 2 * 1000 <= first <= 2 * 1000 + 8


def test_instructions_per_mac(board: emulator.Board, tmp_path: Path) -> None:
    """What the kernels promise for 3x3, 16 to 16 channels: 3 with SMLAD, 1 with Helium; without them the codes are the same."""
    q = convolution()
    macs = 16 * 16 * 9 * 256
    codes = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 16))
    found, counts = qemu.CompiledNetwork(q, board, tmp_path, (16, 16)).run(codes)
    assert np.array_equal(found, codes_of_engine(q, codes))
    assert counts.sum() / macs <= (1.0 if board.core == "cortex-m55" else 3.0)
    if board.core != "cortex-m55":
        plain = tmp_path / "plain"
        plain.mkdir()
        fallback, more = qemu.CompiledNetwork(q, board, plain, (16, 16), ("-U__ARM_FEATURE_SIMD32",)).run(codes)
        assert np.array_equal(found, fallback)
        assert more.sum() > counts.sum()


def test_instructions_are_those_that_the_model_was_fed(board: emulator.Board) -> None:
    """A plan of random widths, counted again: as recorded, unless another compiler or emulator makes it; and as predicted."""
    case = next(case for case in instructions.cases() if case.label == "ecbsr, random 0")
    counted = instructions.count(case, board)
    table = json.loads(instructions.TABLE.read_text(encoding="utf-8"))
    recorded = next(core for core in table["cores"] if core["core"] == board.core)["networks"][instructions.cases().index(case)]
    made_with = f"arm-none-eabi-gcc {emulator.compiler_version()}, {emulator.OPTIMIZATION}, {emulator.emulator_version()}"
    assert counted == pytest.approx(recorded, rel=1e-9 if made_with == table["made_with"] else 0.1)
    target = catalogue.load(instructions.DEVICES[board.core])
    assert instructions.predicted(target, case) == pytest.approx(counted, rel=0.1)


def test_a_picture_in_windows_is_the_picture_as_a_whole(board: emulator.Board) -> None:
    q = mixed(float_graph("fsrcnn-relu"))
    x = picture(q.graph, 53, 71, seed=5)
    plan = qemu.open_plan(q, board.core)
    assert torch.equal(plan.run(x), integer.run(plan.executed, x))
    once = sum(plan.instructions.values())
    plan.run(x)
    assert sum(plan.instructions.values()) == 2 * once > 0
    assert plan.peak_bytes == write.lower(q, 48, 48).arena_bytes


def test_what_does_not_fit_says_so(board: emulator.Board, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="smaller tile"):
        qemu.CompiledNetwork(convolution(), board, tmp_path, (900, 900))


def test_an_unknown_core_is_told() -> None:
    with pytest.raises(UsageError, match="cortex-m4"):
        qemu.open_plan(convolution(), "cortex-m3x")


def test_missing_tools_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="apt-get install"):
        qemu.open_plan(convolution())


@pytest.mark.parametrize(("length", "side", "halo", "step"), [(48, 48, 8, 1), (100, 48, 8, 1), (97, 20, 9, 1), (96, 32, 7, 4)])
def test_windows_cover_every_pixel_once_with_its_halo(length: int, side: int, halo: int, step: int) -> None:
    found = windows(length, side, halo, step)
    kept = np.concatenate([np.arange(first, end) for _, first, end in found])
    assert kept.tolist() == list(range(length))
    for start, first, end in found:
        assert start % step == 0
        assert 0 <= start <= start + side <= length
        assert start == 0 or first - start >= halo
        assert start + side == length or start + side - end >= halo


@pytest.mark.parametrize(("length", "side", "halo", "step"), [(40, 48, 8, 1), (100, 16, 8, 1), (101, 48, 4, 4)])
def test_impossible_windows_are_refused(length: int, side: int, halo: int, step: int) -> None:
    with pytest.raises(UsageError, match="windows of"):
        windows(length, side, halo, step)
