"""Calibration as a whole: the integers it hands out do what it simulates, choices are kept apart, seeds repeat."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from words import fused

from hwmodels.errors import UsageError
from hwmodels.numbers import FP16, INT16, NumberFormat
from hwsearch.quant import observations
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.learn.polish import polish
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers
from hwsearch.quant.observe.gains import Bench
from searchspaces.ir.graph import Graph, execute
from searchspaces.ir.lower import to_workload
from searchspaces.networks import registry
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace


def crops(count: int = 6, size: int = 28, channels: int = 1) -> list[torch.Tensor]:
    """Smooth pictures with edges."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:size, 0:size] / size
    made = []
    for _ in range(count):
        a, b, c = rng.uniform(1, 5, 3)
        picture = 0.5 + 0.3 * np.sin(a * x + b * y) + 0.2 * np.sign(np.sin(c * (x + y) * 3)) * rng.uniform(0.3, 1)
        made.append(torch.from_numpy(np.clip(picture, 0, 1)).float().expand(1, channels, size, size).contiguous())
    return made


@lru_cache
def network(name: str) -> Graph:
    torch.manual_seed(1)
    if name == "abpn":
        return trace(registry.build("abpn", 3, m=1, c=6), 3, name, 3)
    return trace(registry.build("fsrcnn", 2, d=8, s=4, m=1, activation=name), 1, name, 2)


@lru_cache
def calibrated(
    name: str, wide: NumberFormat = INT16, symmetric: bool = False, activations: tuple[int, ...] = (8, 16)
) -> Calibration:
    graph = network(name)
    weights = (3, 4, 8, 16) if wide.is_float else (3, 4, 8)
    space = build_space(to_workload(graph, 28, 28), weights, activations, wide=wide, symmetric_activations=symmetric)
    return calibrate(graph, crops(channels=graph.channels), space)


@pytest.mark.parametrize("name", ["relu", "prelu", "abpn"])
def test_the_equalized_network_is_the_network(name: str) -> None:
    x = crops(1, channels=network(name).channels)[0]
    assert torch.allclose(execute(network(name), x), execute(calibrated(name).graph, x), atol=1e-4)


@pytest.mark.parametrize("name", ["relu", "prelu", "abpn"])
@pytest.mark.parametrize("activations", [(8, 16), (4, 6, 8)])
def test_simulation_is_the_integer_engine(name: str, activations: tuple[int, ...]) -> None:
    """Random plans: the simulated output differs from the engine's by a rare code."""
    calibration = calibrated(name, activations=activations)
    x = crops(1, channels=calibration.graph.channels)[0]
    for plan in calibration.space.random(np.random.default_rng(0), 6):
        quantized = calibration.quantized(plan)
        step = quantized.formats[calibration.graph.output.name].scale
        codes = (integer.run(quantized, x) - calibration.simulate(plan, x)).abs() / step
        assert float((codes > 0.5).float().mean()) < (0.02 if max(calibration.space.named(plan)[1].values()) <= 8 else 0.2)
        # A 16-bit code is 1/128 of a picture's.
        assert float(codes.max()) < (1.5 if quantized.formats[calibration.graph.output.name].bits <= 8 else 200)


def test_quality_rises_with_the_widths() -> None:
    calibration = calibrated("prelu")
    x = torch.cat(crops())
    reference = execute(calibration.graph, x)
    errors = [
        float(torch.mean((calibration.simulate(calibration.space.uniform(w, a), x) - reference) ** 2))
        for w, a in ((3, 8), (4, 8), (8, 8), (8, 16))
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 20


def test_integers_keep_their_range_and_bias_its_unit() -> None:
    calibration = calibrated("relu")
    for bits in (3, 4, 8):
        quantized = calibration.quantized(calibration.space.uniform(bits, 8))
        for name, layer in quantized.layers.items():
            assert isinstance(layer, LayerIntegers)
            assert layer.weight.dtype == np.int8
            assert np.abs(layer.weight).max() <= 2 ** (bits - 1) - 1
            source = quantized.formats[calibration.graph[name].inputs[0]]
            real = layer.bias * source.scale * layer.scale
            assert np.all(np.abs(real) < 10 * (1 + np.abs(calibration.graph[name].weights["bias"].numpy()).max()))


def test_weights_refer_to_the_graph() -> None:
    """``weight`` is close to the graph's own, the closer the wider, and half precision is half precision."""
    calibration = calibrated("relu", wide=FP16)
    for node in calibration.graph.convs:
        weight = node.weights["weight"]
        errors = [float((calibration.weight(node.name, choice) - weight).abs().max()) for choice in range(4)]
        assert errors[2] < errors[0]
        assert torch.equal(calibration.weight(node.name, 3), weight.half().float())
        assert calibration.bias(node.name, 1).shape == (weight.shape[0],)


def test_half_precision_layers() -> None:
    """A layer floats if its weights or its input do; a plan may go from integers to floats and back."""
    calibration = calibrated("relu", wide=FP16)
    space, graph = calibration.space, calibration.graph
    plan = np.array(space.uniform(8, 8))
    plan[1] = 3  # second layer: half-precision weights
    plan[len(space.layer_names) + 3] = 1  # fourth tensor: half precision
    quantized = calibration.quantized(plan)
    fourth = graph.convs[3].name
    assert graph.convs[3].inputs[0] == space.group_names[3]
    assert set(quantized.float_layers) == {graph.convs[1].name, fourth}
    for name in quantized.float_layers:
        layer = quantized.layers[name]
        assert isinstance(layer, LayerFloats)
        assert np.array_equal(layer.weight, layer.weight.astype(np.float16).astype(np.float32))
    x = crops(1)[0]
    assert float((calibration.simulate(plan, x) - integer.run(quantized, x)).abs().max()) < 2.5 / 255
    assert float((calibration.simulate(plan, x) - execute(graph, x)).abs().max()) < 0.1


def test_symmetric_activations() -> None:
    calibration = calibrated("relu", symmetric=True)
    quantized = calibration.quantized(calibration.space.uniform(8, 8))
    assert {fmt.zero_point for fmt in quantized.formats.values()} == {128}
    assert all(quantized.formats[n.name].qmin == 128 for n in calibration.graph.convs if fused(n) == "relu")


def test_picture_grid_at_both_ends() -> None:
    calibration = calibrated("abpn")
    for node in (calibration.graph.input, calibration.graph.output):
        fmt = calibration.format(node.name, 0)
        assert (fmt.scale, fmt.zero_point) == (float(np.float32(1 / 255)), 0)
    views = [node for node in calibration.graph.nodes if node.op.word in ("repeat", "pixel_shuffle")]
    assert views
    for view in views:
        assert calibration.format(view.name, 0) == calibration.format(view.inputs[0], 0)


def test_the_same_seed_gives_the_same_integers() -> None:
    graph, space = network("relu"), calibrated("relu").space
    plan = space.uniform(4, 8)
    one, two = (calibrate(graph, crops(), space, seed=5).quantized(plan) for _ in range(2))
    for name, layer in one.layers.items():
        other = two.layers[name]
        assert isinstance(layer, LayerIntegers)
        assert isinstance(other, LayerIntegers)
        assert np.array_equal(layer.weight, other.weight)
        assert np.array_equal(layer.bias, other.bias)
    assert one.formats == two.formats


def test_refinement_does_not_harm() -> None:
    """On pictures that it holds out it decides; on all of them it must not be worse than chance would make it."""
    calibration = calibrated("relu")
    plan = calibration.space.uniform(3, 8)
    refined = polish(calibration.draft(plan), steps=60)
    x = crops()
    target = [execute(calibration.graph, c) for c in x]
    before = sum(
        float(torch.mean((integer.run(calibration.quantized(plan), c) - t) ** 2)) for c, t in zip(x, target, strict=True)
    )
    after = sum(float(torch.mean((integer.run(refined, c) - t) ** 2)) for c, t in zip(x, target, strict=True))
    assert after <= 1.05 * before
    for layer in refined.layers.values():
        assert isinstance(layer, LayerIntegers)
        assert layer.bits == 3
        assert np.abs(layer.weight).max() <= 3


def test_bad_calls() -> None:
    with pytest.raises(UsageError, match="pictures"):
        calibrate(network("relu"), [], calibrated("relu").space)
    space = build_space(to_workload(network("relu"), 28, 28), (1, 8), (8,))
    with pytest.raises(UsageError, match="at least 2"):
        calibrate(network("relu"), crops(), space)


class _Gated(torch.nn.Module):
    """A branch whose ReLU never opens, as attention branches of trained networks can be; what it feeds is a constant."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = torch.nn.Conv2d(1, 8, 3, padding=1)
        self.down = torch.nn.Conv2d(8, 3, 1)
        self.up = torch.nn.Conv2d(3, 8, 1)
        self.tail = torch.nn.Conv2d(8, 4, 3, padding=1)
        torch.nn.init.constant_(self.down.bias, -50.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.head(x)
        return torch.nn.functional.pixel_shuffle(self.tail(y + self.up(torch.relu(self.down(y)))), 2)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_a_tensor_that_is_always_zero_leaves_the_bias_behind_it(bits: int) -> None:
    graph = trace(_Gated().eval(), 1, "gated")
    space = build_space(to_workload(graph, 32, 32), (8,), (4, 8, 16))
    plan = np.array(space.uniform(8, 16))
    plan[len(space.layer_names) + space.group_names.index("down")] = space.activation_bits.index(bits)
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    calibration = calibrate(graph, [x], space)
    assert float((calibration.simulate(plan, x) - execute(graph, x)).abs().max()) < 2 / 255


def test_formats_that_would_take_too_long_to_measure_come_from_histograms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is run for them, and the network is about as near to its floating-point output."""
    graph, seen = network("relu"), crops()
    space = build_space(to_workload(graph, 28, 28), (8,), (8,))

    def error_of(calibration: Calibration) -> float:
        found = calibration.simulate(space.uniform(8, 8), seen[0])
        return float((found - execute(graph, seen[0])).square().mean())

    measured = error_of(calibrate(graph, seen, space))
    monkeypatch.setattr(observations, "MEASURING_MACS", 0.0)
    monkeypatch.setattr(Bench, "noise", lambda *given: pytest.fail("measured"))
    assert error_of(calibrate(graph, seen, space)) < 2 * measured
