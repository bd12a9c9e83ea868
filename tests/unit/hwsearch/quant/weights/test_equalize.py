"""Equalization: the function stays, ranges become alike, and only tensors are touched whose scale nobody else sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from words import make_node

from hwmodels.numbers import FP16, Int
from hwsearch.quant.observe.gains import Bench
from hwsearch.quant.observe.moments import collect
from hwsearch.quant.ranges.spreads import Ranges, extremes
from hwsearch.quant.weights.equalize import ALPHAS, Equalizer, equalizable, normalizing, scaled
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.networks import registry
from searchspaces.tracing.trace import trace


def fsrcnn(activation: str) -> Graph:
    torch.manual_seed(3)
    module = registry.build("fsrcnn", 2, d=8, s=4, m=1, activation=activation)
    return trace(module, 1, "small", 2)


def conv(name: str, source: str, weight: torch.Tensor, activation: str = "none", groups: int = 1) -> Node:
    side = weight.shape[-1] // 2
    attrs = {"stride": 1, "padding": (side,) * 4, "dilation": 1, "groups": groups, "activation": activation}
    attrs |= {"slope": 0.1} if activation == "leaky_relu" else {}
    return make_node(name, "conv", (source,), attrs, {"weight": weight, "bias": torch.randn(weight.shape[0])})


@pytest.mark.parametrize("activation", ["relu", "prelu"])
def test_the_function_stays(activation: str) -> None:
    graph = fsrcnn(activation)
    rng = np.random.default_rng(0)
    names = equalizable(graph)
    assert len(names) == len(graph.convs) - 1  # all but the last, whose tensor is the output
    scales = {name: np.exp(rng.normal(0, 1.5, graph[name].weights["weight"].shape[0])) for name in names}
    changed = scaled(graph, scales)
    x = torch.rand(1, 1, 20, 24)
    assert torch.allclose(execute(graph, x), execute(changed, x), atol=1e-4, rtol=1e-4)
    for name in names:  # and the tensors between are divided as they should be
        seen = {}
        for which, g in (("before", graph), ("after", changed)):
            execute(
                g, x, lambda node, y, which=which, name=name, seen=seen: seen.__setitem__(which, y) if node.name == name else None
            )
        factors = torch.from_numpy(scales[name]).float().view(1, -1, 1, 1)
        assert torch.allclose(seen["before"] / factors, seen["after"], atol=1e-4, rtol=1e-4)


def test_grouped_readers() -> None:
    torch.manual_seed(0)
    nodes = (
        make_node("x", "input", (), {"channels": 2}),
        conv("a", "x", torch.randn(4, 2, 3, 3), "relu"),
        conv("b", "a", torch.randn(6, 2, 3, 3), "none", groups=2),
    )
    graph = Graph("grouped", nodes)
    changed = scaled(graph, {"a": np.array([0.1, 3.0, 7.0, 1.0])})
    x = torch.rand(1, 2, 9, 9)
    assert torch.allclose(execute(graph, x), execute(changed, x), atol=1e-4)


def test_who_is_left_alone() -> None:
    """ReLU6 is not homogeneous; a tensor that an addition reads, a shared quantizer and the output are not alone."""
    w = torch.randn(4, 4, 1, 1)
    nodes = (
        make_node("x", "input", (), {"channels": 4}),
        conv("six", "x", w, "relu6"),
        conv("added", "six", w, "relu"),
        conv("free", "added", w, "leaky_relu"),
        conv("sliced", "free", w, "relu"),
        make_node("slice", "slice", ("sliced",), {"start": 0, "stop": 4}),
        conv("last", "slice", w),
        make_node("sum", "add", ("last", "added"), {"activation": "none"}),
    )
    assert equalizable(Graph("g", nodes)) == ("free",)


def test_choice_follows_the_widths() -> None:
    """Without activation noise the weights decide alone; with coarse activations and perfect weights, whole ranges are
    equalized."""
    graph = fsrcnn("relu")
    crops = [torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    ranges, moments = extremes(graph, crops), collect(graph, crops, 0)
    gains = Bench(graph, torch.cat(crops)).gains()
    equalizer = Equalizer(graph, ranges, ranges, moments, gains, (4, 8), symmetric=False)
    for name in equalizer.candidates:
        assert equalizer.choose(name, Int(4), [16]) == len(ALPHAS) - 1
        by_weights = equalizer.choose(name, FP16, [4])
        assert by_weights == int(np.argmin(equalizer._noise_of_reader(graph.readers(name)[0])[:, 0]))
    name = next(iter(equalizer.candidates))
    live = ranges[name].magnitude > 1e-4
    whole = ranges[name].magnitude[live] / equalizer.candidates[name][-1][live]
    assert np.allclose(whole, whole[0])


@pytest.mark.parametrize(
    ("magnitude", "read", "factor"),
    [
        (1e-4, 1.0, None),  # hardly active on these pictures: what it is on others must not be cut
        (1e-4, 1e4, 1e-4),  # small, and enlarged by the next layer
        (1e4, 1.0, None),  # large and meant
        (1e4, 1e-4, 1e4),
        (1e4, 0.0, 1e4),  # nobody reads it
        (0.0, 1e4, 1e-4),
        (1e-2, 1e2, None),  # not far apart
    ],
)
def test_a_channel_is_scaled_as_far_as_its_readers_undo_it(magnitude: float, read: float, factor: float | None) -> None:
    weight = torch.ones(2, 5, 3, 3)
    weight[:, 1] = read
    nodes = (make_node("x", "input", (), {"channels": 1}), conv("a", "x", torch.ones(5, 1, 3, 3), "relu"), conv("b", "a", weight))
    seen = Ranges(np.zeros(5), np.array([1.0, magnitude, 1.0, 1.0, 1.0]))
    found = normalizing(Graph("net", nodes), {"a": seen})
    if factor is None:
        assert found == {}
    else:
        np.testing.assert_allclose(found["a"], [1.0, factor, 1.0, 1.0, 1.0], rtol=1e-6)
