"""State between frames in every format: files that are handed their states compute what the engine computes, frame by frame."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import micro_host
import numpy as np
import onnx
import pytest
import torch
from recurrent_networks import delaying, recalling
from torch import Tensor

from hwmodels import cost
from hwmodels.device import catalogue
from hwsearch.formats.c import qemu
from hwsearch.formats.c import write as c
from hwsearch.formats.c.emulator import missing_tools
from hwsearch.formats.onnx import float_network, ort, qonnx, state, tensorrt
from hwsearch.formats.running.runtime import Runtime
from hwsearch.formats.tflite import litert, tflm
from hwsearch.formats.tflite import write as tflite
from hwsearch.formats.writing.exporters import EXPORTERS
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

HEIGHT, WIDTH = 12, 10
NETWORKS = {"recalling": (recalling, 2), "delaying": (delaying, 1)}


def clip(frames: int = 4, seed: int = 0) -> Tensor:
    return torch.rand(frames, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=NETWORKS)
def calibration(request: pytest.FixtureRequest) -> Calibration:
    make, scale = NETWORKS[request.param]
    graph = trace(make(), 1, request.param, scale=scale)
    space = build_space(to_workload(graph, HEIGHT, WIDTH), (4, 8), (8, 16))
    return calibrate(graph, [clip(seed=seed) for seed in range(1, 4)], space, method="minmax")


def agrees(runtime: Runtime) -> None:
    """Every code of a clip is the engine's; another clip begins anew."""
    frames = clip()
    expected = integer.run(runtime.executed, frames)
    assert torch.equal(runtime.run(frames), expected)
    assert torch.equal(runtime.run(frames[2:]), integer.run(runtime.executed, frames[2:]))
    assert not torch.equal(expected[2:], runtime.run(frames[2:]))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    "open_plan",
    [litert.open_plan, lambda q: litert.open_plan(q, reference=True), tflm.open_plan],
    ids=["xnnpack", "reference", "micro"],
)
def test_tflite(calibration: Calibration, open_plan: Callable[[QuantizedGraph], Runtime], bits: int) -> None:
    agrees(open_plan(calibration.quantized(calibration.space.uniform(8, bits))))


@pytest.mark.skipif(bool(missing_tools()), reason="no compiler or emulator of microcontrollers")
@pytest.mark.parametrize("bits", [8, 16])
def test_c(calibration: Calibration, bits: int) -> None:
    agrees(qemu.open_plan(calibration.quantized(calibration.space.uniform(8, bits))))


def test_memory_of_c_is_what_is_priced(calibration: Calibration) -> None:
    """The arena, and the caller's buffers: input, output, and two for each state."""
    device = catalogue.load("stm32h743")
    plan = calibration.space.uniform(8, 8)
    program = c.lower(calibration.quantized(plan), HEIGHT, WIDTH)
    graph, sizes = program.qgraph.graph, program.lowering.tensor_bytes
    given = sum(
        map(sizes, [*(node.name for node in graph.sources), graph.output.name, *(n.name for n in graph.remembered.values())])
    )
    table = cost.lower(device, to_workload(graph, HEIGHT, WIDTH), calibration.space)
    priced = int(cost.estimate(table, np.array(plan, np.int8)).peak_activation_bytes[0])
    assert priced == pytest.approx(program.arena_bytes + given, abs=16)


@pytest.mark.parametrize("side", [12, 48])
def test_arena_of_micro_is_what_is_priced(calibration: Calibration, side: int) -> None:
    """Within what a state's tables take, 24 bytes each, and alignment."""
    plan = calibration.space.uniform(8, 8)
    quantized = calibration.quantized(plan)
    runtime = tflm.open_plan(quantized)
    runtime.run(torch.zeros(1, 1, side, side))
    assert runtime.peak_bytes is not None
    table = cost.lower(micro_host.host(), to_workload(quantized.graph, side, side), calibration.space)
    priced = int(cost.estimate(table, np.array(plan, np.int8)).peak_activation_bytes[0])
    assert -16 <= priced - runtime.peak_bytes <= 64


def test_real_numbers(calibration: Calibration) -> None:
    """Files with quantizers around single precision differ from the engine by less than two steps of the output."""
    quantized = EXPORTERS["tensorrt"].promote(calibration.quantized(calibration.space.uniform(8, 8))).qgraph
    ours = integer.run(quantized, clip())
    step = quantized.formats[quantized.graph.output.name].scale
    for model in (tensorrt.to_model(quantized), float_network.to_rounded_model(quantized)):
        theirs = ort.run_onnx(model.SerializeToString())(clip())
        assert (theirs.clamp(ours.min(), ours.max()) - ours).abs().max() < 2 * step
    assert {end.name for end in qonnx.to_model(quantized).graph.output} == {
        "output",
        *(n.name for n in quantized.graph.remembered.values()),
    }


def test_files_tell_of_their_states(calibration: Calibration, tmp_path: Path) -> None:
    quantized = calibration.quantized(calibration.space.uniform(8, 8))
    names = [node.name for node in quantized.graph.sources[1:]]
    for name in ("onnx", "float"):
        path = EXPORTERS[name](quantized, tmp_path / f"{name}.onnx", size=(HEIGHT, WIDTH))
        facts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        assert list(json.loads(facts[state.FACT])) == names
    made = litert.interpreter(tflite.to_bytes(quantized, size=(HEIGHT, WIDTH)))
    for given, kept in zip(made.get_input_details()[1:], made.get_output_details()[1:], strict=True):
        assert (given["quantization"], *given["shape"]) == (kept["quantization"], *kept["shape"])
    header = (EXPORTERS["c"](quantized, tmp_path / "c", size=(HEIGHT, WIDTH)) / "c.h").read_text()
    assert header.count("#define C_STATE_") == len(names)
    assert "void c_begin(uint8_t *state_0" in header
