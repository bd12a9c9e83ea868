"""Networks with state between frames: traced, executed, simulated, in integers and by ONNX Runtime, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recurrent_networks import Averaging, Recalling, recalling
from torch import Tensor, nn

from hwmodels.errors import FileError, UsageError
from hwmodels.numbers import Int
from hwsearch.formats.onnx import ort, write
from hwsearch.quality.proxies import gradient, output_sqnr
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.simulate import simulated
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Graph, execute
from searchspaces.ir.lower import to_workload
from searchspaces.ops.state import Remember, State
from searchspaces.space import build_space
from searchspaces.tasks.task import Signature
from searchspaces.tasks.video import Clip, Video
from searchspaces.tracing.trace import trace


def clip(frames: int = 5, height: int = 12, width: int = 10, seed: int = 0) -> Tensor:
    return torch.rand(frames, 1, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def graph() -> Graph:
    return trace(recalling(), 1, "recalling", scale=2)


@pytest.fixture(scope="module")
def calibration(graph: Graph) -> Calibration:
    space = build_space(to_workload(graph, 12, 10), (4, 8), (8, 16))
    return calibrate(graph, [clip(seed=seed) for seed in range(1, 4)], space)


def test_the_graph_is_one_frame_and_runs_as_the_module(graph: Graph) -> None:
    module, frames = recalling(), clip()
    state, expected = torch.zeros(1, 6, 12, 10), []
    with torch.no_grad():
        for frame in frames.split(1):  # the recursion, written out
            y = torch.relu(module.look(frame) + module.recall(state))
            expected.append(module.shuffle(module.tail(y)))
            state = torch.relu(module.keep(y))
        assert [type(node.op) for node in graph.sources][1:] == [State]
        assert isinstance(graph.remembered["state"].op, Remember)
        assert torch.allclose(execute(graph, frames), torch.cat(expected), atol=1e-6)
        assert torch.equal(execute(graph, frames[3:]), execute(graph, frames[3:]))  # a new clip remembers nothing
        assert not torch.allclose(execute(graph, frames[3:]), torch.cat(expected[3:]), atol=1e-3)


def test_integers_by_hand() -> None:
    """``h = x / 2 + h / 2`` on a grid that holds every value of the first frames exactly."""
    graph = trace(Averaging().eval(), 1, "averaging", scale=1)
    grid = {node.name: TensorFormat(Int(8), 1 / 128, 0, 0, 255) for node in graph.nodes}
    halves = {
        name: LayerIntegers(8, np.full((1, 1, 1, 1), 64, np.int8), np.full(1, value / 64, np.float32), np.zeros(1, np.int64))
        for name, value in (("look", 0.5), ("recall", 0.5), ("show", 1.0))
    }
    quantized = QuantizedGraph(graph, grid, halves)
    values, kept, expected = (1.0, 0.25, 0.75, 0.5), 0.0, []
    for x in values:
        kept = x / 2 + kept / 2
        expected.append(kept)
    assert expected == [0.5, 0.375, 0.5625, 0.53125]
    frames = torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 3).contiguous()
    for run in (
        lambda x: integer.run(quantized, x),
        lambda x: simulated(quantized, x),
        ort.run_onnx(write.to_model(quantized).SerializeToString()),
    ):
        assert run(frames)[:, 0, 0, 0].tolist() == expected
        assert run(frames)[:, 0, 1, 2].tolist() == expected
        assert run(frames[2:])[0, 0, 0, 0].item() == 0.375  # a new clip


@pytest.mark.parametrize("method", ["output_noise", "minmax"])
@pytest.mark.parametrize("bits", [8, 16])
def test_engine_simulation_and_onnx_runtime_agree(calibration: Calibration, bits: int, method: str) -> None:
    chosen = calibration.by(method)
    plan = chosen.space.uniform(8, bits)
    quantized, frames = chosen.quantized(plan), clip()
    ours, fast = integer.run(quantized, frames), chosen.simulate(plan, frames)
    theirs = ort.run_onnx(write.to_model(quantized).SerializeToString())(frames)
    assert torch.equal(ours, theirs)
    assert (ours - fast).abs().max() <= 1.01 * quantized.formats[quantized.graph.output.name].scale
    assert (ours - execute(chosen.graph, frames).clamp(0, 1)).abs().mean() < 0.02
    assert not torch.equal(integer.run(quantized, frames[3:]), ours[3:])


def test_a_state_has_the_format_of_what_is_remembered(calibration: Calibration) -> None:
    quantized = calibration.quantized(calibration.space.uniform(8, 8))
    state, kept = quantized.formats["state"], quantized.formats["state.next"]
    assert (state.scale, state.zero_point, state.bits) == (kept.scale, kept.zero_point, 8)
    largest = max(float(value.max()) for value in _kept(calibration.graph, [clip(seed=seed) for seed in range(1, 4)]))
    assert 0.5 * largest < state.scale * 255 < 1.5 * largest


def _kept(graph: Graph, clips: list[Tensor]) -> list[Tensor]:
    found: list[Tensor] = []
    for frames in clips:
        execute(graph, frames, lambda node, y: found.append(y) if node.name == "state.next" else None)
    return found


def test_state_comes_in_and_goes_out_in_prices(graph: Graph) -> None:
    """Alive, by hand, in elements of 120 places: the picture has 1, the state 6, every tensor between 8 or 4."""
    live = to_workload(graph, 12, 10).live_elements().sum(axis=1)
    names = [layer.name for layer in to_workload(graph, 12, 10).layers]
    places = dict(zip(names, live // 120, strict=True))
    assert places["look"] == 1 + 6 + 8  # the state waits for its reader
    assert places["recall"] == 6 + 8 + 8
    assert places[names[-1]] == 4 + 4 + 6  # the shuffle, beside what is kept for the next frame


def test_a_proxy_disturbs_whole_clips(calibration: Calibration) -> None:
    """Fewer bits of the layer that writes the state make more noise, and derivatives on single pictures are refused."""
    frames = clip(frames=3)
    with torch.no_grad():
        high = execute(calibration.graph, frames).clamp(0, 1)[:, 0].numpy() * 255 + 3

    samples, task = [Clip("made", frames, high)], Video(Signature(2, 1))
    noise = output_sqnr.measure(calibration, samples, 0, task=task).noise
    keep = calibration.space.layer_names.index("keep")
    four, eight = (calibration.space.uniform(bits, 8)[keep] for bits in (4, 8))
    assert noise[keep, four] > 4 * noise[keep, eight] > 0
    with pytest.raises(UsageError, match="state between frames"):
        gradient.measure(calibration, samples, 0, task=task)


def test_what_knows_no_state_says_so(calibration: Calibration) -> None:
    for method in ("lsq", "qartsr", "quantvsr"):
        with pytest.raises(UsageError, match="trains on single pictures"):
            calibration.by(method).finished(calibration.space.uniform(8, 8))


class Inside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = Recalling()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network(x)
        return found


class Careless(Recalling):
    def step(self, frame: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        return (super().step(frame, *states)[0],)


def test_a_state_that_would_be_lost_is_refused() -> None:
    with pytest.raises(FileError, match="would forget its state"):
        trace(Inside().eval(), 1, "inside")
    with pytest.raises(FileError, match="one picture tensor and its states"):
        trace(Careless().eval(), 1, "careless")


def test_a_network_without_state_takes_clips_frame_by_frame() -> None:
    graph = trace(nn.Conv2d(1, 1, 3, padding=1).eval(), 1, "plain", scale=1)
    space = build_space(to_workload(graph, 12, 10), (8,), (8,))
    calibration = calibrate(graph, [clip(frames=2, seed=1), clip(frames=2, seed=2)], space, method="minmax")
    quantized, frames = calibration.quantized(space.uniform(8, 8)), clip()
    apart = torch.cat([integer.run(quantized, frame) for frame in frames.split(1)])
    assert torch.equal(integer.run(quantized, frames), apart)
