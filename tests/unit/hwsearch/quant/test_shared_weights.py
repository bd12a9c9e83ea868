"""Weights that several layers use: one decision, one set of integers, one copy in prices."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recursive_network import USES, Recursive
from torch import Tensor, nn

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.numbers import Int
from hwsearch.quality.proxies import fisher, noise_gain, output_sqnr
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.learn.together import Hyperparameters
from hwsearch.quant.methods.learned import together
from hwsearch.quant.methods.weights.hadamard import streams
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from hwsearch.quant.weights.equalize import equalizable
from hwsearch.quant.weights.sums import alike, layer_integers
from searchspaces.data.pictures import Pair
from searchspaces.ir.graph import Graph, execute
from searchspaces.ir.lower import to_workload
from searchspaces.space import SearchSpace, build_space
from searchspaces.tracing.trace import trace

SIZE = (12, 16)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return trace(Recursive(), 1, "recursive")


@pytest.fixture(scope="module")
def space(graph: Graph) -> SearchSpace:
    return build_space(to_workload(graph, *SIZE), (4, 8), (8, 16))


@pytest.fixture(scope="module")
def crops() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(1, 1, 24, 24, generator=generator) for _ in range(6)]


@pytest.fixture(scope="module")
def calibration(graph: Graph, space: SearchSpace, crops: list[Tensor]) -> Calibration:
    return calibrate(graph, crops, space)


def users(q: QuantizedGraph) -> list[LayerIntegers]:
    found = [q.layers[name] for name in USES]
    assert all(isinstance(layer, LayerIntegers) for layer in found)
    return found  # type: ignore[return-value]


def one_set(q: QuantizedGraph) -> bool:
    first, *others = users(q)
    return all(np.array_equal(first.weight, o.weight) and np.array_equal(first.scale, o.scale) for o in others)


def test_a_layer_that_is_called_three_times_is_one_decision(graph: Graph, space: SearchSpace) -> None:
    workload = to_workload(graph, *SIZE)
    assert space.layer_names == ("head", "body", "tail")
    assert [workload.layers[row].name for row in workload.weighing] == ["head", *USES, "tail"]
    assert workload.weight_columns[:5] == (0, 1, 1, 1, 2)
    assert workload.weight_count == 9 * (8 + 64 + 32)
    assert graph.parameters == sum(parameter.numel() for parameter in Recursive().parameters())


def test_a_mask_of_every_window_is_no_parameter() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3, padding=1)
            self.register_buffer("mask", torch.rand(1, 1, 16, 16))

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x + self.mask)

    graph = trace(Masked(), 1, "masked", size=(16, 16))
    assert any("other" in node.weights for node in graph.nodes)
    assert graph.parameters == 4 * 9 + 4


def test_two_modules_of_one_parameter_are_one_decision_and_equal_ones_are_not() -> None:
    class Two(nn.Module):
        def __init__(self, tied: bool) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 1, 3, 1, 1), nn.Conv2d(1, 1, 3, 1, 1)
            with torch.no_grad():
                self.b.weight.copy_(self.a.weight)
            if tied:
                self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(F.relu(self.a(x)))

    for tied, decisions in ((True, 1), (False, 2)):
        assert len(to_workload(trace(Two(tied), 1, "two"), *SIZE).weighted) == decisions


def test_what_is_folded_into_one_use_alone_parts_it() -> None:
    """The second use is scaled behind, and takes the scale into its weights: they are others then."""

    class Scaled(Recursive):
        def forward(self, x: Tensor) -> Tensor:
            return F.pixel_shuffle(self.tail(F.relu(self.body(self.body(self.body(self.head(x)) * 0.5)))), 2)

    graph = trace(Scaled(), 1, "scaled")
    assert graph.weight_groups["body"] == ("body",)
    assert graph.weight_groups["body@2"] == ("body@2", "body@3")


def test_price_counts_the_weights_once_and_their_way_every_time(graph: Graph) -> None:
    """Beside the same network with three convolutions of their own: less in storage by two copies, the same time."""
    workload = to_workload(graph, *SIZE)
    apart = dataclasses.replace(workload, layers=tuple(dataclasses.replace(layer, weights_of="") for layer in workload.layers))
    for name in ("stm32h743", "jetson", "snapdragon-8gen3-hexagon", "ethos-u55-128", "nrf52840"):
        device = catalogue.load(name)
        spaces = [
            build_space(w, (8,), (8,), symmetric_activations=device.widths.symmetric_activations) for w in (workload, apart)
        ]
        tables = [cost.lower(device, w, s) for w, s in zip((workload, apart), spaces, strict=True)]
        prices = [cost.estimate(t, np.zeros((1, t.decisions), dtype=np.int8)) for t in tables]
        packed = int(tables[1].weight_bytes[1, 0, 0] - tables[0].weight_bytes[2, 0, 0])
        assert packed >= 9 * 64
        assert prices[1].weight_bytes[0] - prices[0].weight_bytes[0] == 2 * packed
        assert prices[1].latency_s[0] == prices[0].latency_s[0]
        assert prices[1].peak_activation_bytes[0] == prices[0].peak_activation_bytes[0]


def test_literature_counts_every_use_and_stores_one(space: SearchSpace) -> None:
    counting = space.counting
    assert counting is not None
    plan = np.array([1, 0, 1, *[0] * len(space.group_names)])  # 8, 4, 8 bits of weights, 8 of tensors
    pixels = SIZE[0] * SIZE[1]
    assert counting.bitops(plan)[0] == 8 * 9 * pixels * (8 * 8 + 4 * 3 * 64 + 8 * 32)
    assert counting.mean_bits(plan)[0] == pytest.approx((8 * 8 + 4 * 64 + 8 * 32) / (8 + 64 + 32))


def test_a_scope_has_a_shared_layer_inside_only_with_all_of_its_uses() -> None:
    class Ends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.end, self.body = nn.Conv2d(1, 1, 3, 1, 1), nn.Conv2d(1, 1, 3, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.end(F.relu(self.body(F.relu(self.end(F.relu(self.body(x)))))))

    workload = to_workload(trace(Ends(), 1, "ends"), *SIZE)
    found = build_space(workload, (4, 8), (4, 8), scope="not-first-last", outside=(8, 8))
    assert found.layer_names == ("body", "end")
    assert [list(found.choices(d)) for d in range(2)] == [[1], [1]]  # both end in a use outside


@pytest.mark.parametrize("method", ["output_noise", "nearest", "gptq", "hadamard", "harmoq", "condiquant", "mse"])
def test_methods_give_one_set_of_integers(graph: Graph, space: SearchSpace, crops: list[Tensor], method: str) -> None:
    found = calibrate(graph, crops, space, method=method)
    row = space.plan({"head": 8, "body": 4, "tail": 8}, dict.fromkeys(space.group_names, 8))
    q = found.quantized(row)
    assert one_set(q)
    assert users(q)[0].bits == 4
    units = [layer.bias * layer.scale * q.formats[graph[n].inputs[0]].scale for n, layer in zip(USES, users(q), strict=True)]
    real = graph["body"].weights["bias"].double().numpy()
    assert all(np.abs(unit - real).max() < 0.1 for unit in units)  # in real values the same bias, up to its correction
    assert float((integer.run(q, crops[0]) - found.simulate(row, crops[0])).abs().max()) < 1e-6


def test_training_keeps_one_set_of_integers(calibration: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polished and trained; at least one of them moves an integer."""
    monkeypatch.setattr(together, "HYPERPARAMETERS", Hyperparameters(steps=100))
    row = calibration.space.uniform(4, 8)
    start = users(calibration.quantized(row))[0].weight
    moved = False
    for method in ("output_noise", "together", "lsq", "spr2q", "qartsr", "quantvsr"):
        q = calibration.by(method).finished(row)
        assert one_set(q)
        moved |= not np.array_equal(start, users(q)[0].weight)
    assert moved


def test_a_method_that_parts_shared_weights_is_told_so(calibration: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(calibration._cache.method)

    def parted(self: object, draft: object, seed: int, progress: object = None) -> QuantizedGraph:
        q: QuantizedGraph = draft.quantized  # type: ignore[attr-defined]
        other = dataclasses.replace(q.layers["body@2"], scale=q.layers["body@2"].scale * 2)  # type: ignore[union-attr,call-arg]
        return dataclasses.replace(q, layers={**q.layers, "body@2": other})

    monkeypatch.setattr(kind, "finish", parted)
    with pytest.raises(ValueError, match="body@2"):
        calibration.finished(calibration.space.uniform(8, 8))


def test_nothing_around_shared_weights_is_rescaled_or_rotated(graph: Graph) -> None:
    """The tensor in front of the tail has a use of the body behind which it stands: that use's weights would change."""
    assert equalizable(graph) == ()
    assert not any({"head", *USES} & stream for stream in streams(graph))


def test_scales_that_differ_become_the_widest() -> None:
    """A bias of one use asks for a wider scale on its channel; the other then has it too, and its sums fit all the more."""
    source = TensorFormat(Int(8), 2.0**-8)
    codes, scale = np.array([[[[100]]], [[[50]]]]), np.full(2, 2.0**-30, dtype=np.float32)
    plain = layer_integers(8, codes, scale, np.zeros(2), source)
    large = layer_integers(8, codes, scale, np.array([1.0, 0.0]), source)
    assert large.scale[0] > plain.scale[0]
    one, other = alike([plain, large])
    assert np.array_equal(one.weight, other.weight)
    assert np.array_equal(one.scale, other.scale)
    assert np.array_equal(other.scale, np.maximum(plain.scale, large.scale))
    assert other.bias[0] * float(other.scale[0]) * source.scale == pytest.approx(1.0, rel=1e-6)


def test_noise_of_a_shared_choice_is_that_of_all_uses(calibration: Calibration, crops: list[Tensor]) -> None:
    """By hand: the network executed with all three uses rounded."""
    pair = Pair("one", crops[0], np.zeros((48, 48), dtype=np.uint8))
    measured = output_sqnr.measure(calibration, [pair], 0)
    inner = calibration.graph
    rounded = {
        name: inner[name].with_weights(weight=calibration.weight(name, 0), bias=calibration.bias(name, 0)) for name in USES
    }
    y, z = execute(inner, crops[0]), execute(inner.replaced(rounded), crops[0])
    by_hand = float(((y.clamp(0, 1) - z.clamp(0, 1)) * 255).square().mean())
    assert measured.noise[1, 0] == pytest.approx(by_hand, rel=0.02)
    for proxy in (fisher, noise_gain):
        found = proxy.measure(calibration, [pair], 0)
        assert found.noise[1, 0] > found.noise[1, 1] > 0
