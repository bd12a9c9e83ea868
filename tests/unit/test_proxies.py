"""Proxies on a small network whose Jacobian can be written out, with quantizers made up for the test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hwsearch.damage import output_luma
from hwsearch.proxies import PROXIES, errors, fisher, sensitivity, snr
from hwsearch.quant.model import TensorFormat
from hwsearch.search import probe
from searchspaces.graph import Graph, Node, execute
from searchspaces.pictures import Pair
from searchspaces.space import SearchSpace

BITS = (3, 5, 8)


def graph_of(channels):
    generator = torch.Generator().manual_seed(0)

    def conv(name, source, inside, outside, activation="none"):
        weights = {
            "weight": torch.randn(outside, inside, 3, 3, generator=generator) * 0.3,
            "bias": torch.randn(outside, generator=generator) * 0.05,
        }
        attrs = {"stride": 1, "padding": (1, 1, 1, 1), "dilation": 1, "groups": 1, "activation": activation}
        return Node(name, "conv", (source,), attrs, weights)

    return Graph(
        "small",
        (
            Node("input", "input", (), {"channels": channels}),
            conv("head", "input", channels, 6, "relu"),
            conv("body", "head", 6, 6),
            Node("sum", "add", ("body", "head")),
            conv("tail", "sum", 6, 4 * channels),
            Node("output", "pixel_shuffle", ("tail",), {"factor": 2}),
        ),
    )


class Quantizer:
    """Stands in for a calibration: plain rounding to a grid of the given width."""

    def __init__(self, channels):
        self.graph = graph_of(channels)
        layers, groups = ("head", "body", "tail"), ("input", "head", "sum", "tail")
        assert set(groups) == set(self.graph.width_groups().values())
        allowed = np.ones((7, 3), dtype=bool)
        allowed[3, :2] = False
        self.space = SearchSpace(BITS, BITS, layers, groups, allowed)

    def weight(self, layer, choice):
        step = 2.0 / 2 ** BITS[choice]
        return torch.round(self.graph[layer].weights["weight"] / step) * step

    def bias(self, layer, choice):
        return self.graph[layer].weights["bias"] + 0.02 / 2 ** BITS[choice]

    def format(self, name, choice):
        bits = BITS[choice]
        high = 1.0 if name in ("input", "tail", "output") else 4.0
        return TensorFormat(bits, high / (2**bits - 1), 0 if high == 1.0 else 2 ** (bits - 1), 0, 2**bits - 1)


def pairs_of(channels, count=2, side=12):
    rng = np.random.default_rng(1)
    shape = (2 * side, 2 * side) if channels == 1 else (2 * side, 2 * side, 3)
    return [
        Pair(
            f"p{i}",
            torch.from_numpy(rng.random((1, channels, side, side), dtype=np.float32)),
            rng.integers(0, 256, shape).astype(float),
        )
        for i in range(count)
    ]


def expected_fisher(quantizer, pair, name, is_weight, choice):
    """||J e||^2 per pixel with J e taken by forward-mode differentiation, the error moved along with a scalar."""
    graph = quantizer.graph
    shown = ("tail", "output")

    def output(t):
        nodes, observe = graph, None
        if is_weight:
            node = graph[name]
            held = {
                "weight": node.weights["weight"] + t * (quantizer.weight(name, choice) - node.weights["weight"]),
                "bias": node.weights["bias"] + t * (quantizer.bias(name, choice) - node.weights["bias"]),
            }
            nodes = graph.replaced({name: node.with_weights(**held)})
        else:
            members = {"input": ("input",), "head": ("head", "body"), "sum": ("sum",), "tail": ("tail",)}[name]

            def observe(node, value):
                if node.name not in members:
                    return None
                with torch.no_grad():
                    clean = floats[node.name]
                    fake = quantizer.format(node.name, choice).fake(clean)
                    if node.name in shown:
                        fake, clean = (torch.round(v.clamp(0, 1) * 255) / 255 for v in (fake, clean))
                return value + t * (fake - clean)

        return output_luma(execute(nodes, pair.low, observe))

    floats = {}
    execute(graph, pair.low, lambda node, value: floats.__setitem__(node.name, value))
    _, tangent = torch.func.jvp(output, (torch.tensor(0.0),), (torch.tensor(1.0),))
    return float(tangent.double().square().mean())


@pytest.mark.parametrize("channels", [1, 3])
def test_fisher_estimates_the_linear_noise_power(channels, monkeypatch):
    quantizer, pairs = Quantizer(channels), pairs_of(channels, side=8)
    monkeypatch.setattr(fisher, "PROJECTIONS", 300)
    damage = fisher.measure(quantizer, pairs, 0)
    for decision, name, is_weight, choice in errors.Errors(quantizer).choices():
        expected = np.mean([expected_fisher(quantizer, pair, name, is_weight, choice) for pair in pairs])
        # 600 samples of a squared normal variable: 6 % standard deviation.
        assert damage.noise[decision, choice] == pytest.approx(expected, rel=0.25, abs=1e-9)


def test_gradient_is_the_derivative_of_the_error():
    quantizer, pair = Quantizer(1), pairs_of(1)[0]
    damage = PROXIES["gradient"].measure(quantizer, [pair], 0)
    graph, step = quantizer.graph, 0.5

    def mse(t):
        node = graph["body"]
        held = {
            "weight": node.weights["weight"] + t * (quantizer.weight("body", 1) - node.weights["weight"]),
            "bias": node.weights["bias"] + t * (quantizer.bias("body", 1) - node.weights["bias"]),
        }
        # The error is a square in these weights, so that a central difference is exact however large the step.
        y = execute(graph.replaced({"body": node.with_weights(**held)}), pair.low)
        return float(((output_luma(y)[0, 0].double().numpy() - pair.high) ** 2).mean())

    assert damage.noise[1, 1] == pytest.approx(abs(mse(step) - mse(-step)) / (2 * step), rel=1e-3)


def test_sensitivity_is_the_error_of_one_choice_alone():
    quantizer, pairs = Quantizer(1), pairs_of(1)
    damage = sensitivity.measure(quantizer, pairs, 0)
    graph, weights = quantizer.graph, {name: quantizer.graph[name].weights for name in ("head", "body", "tail")}

    def network(x, head=None):
        stem = F.relu(F.conv2d(x, weights["head"]["weight"], weights["head"]["bias"], padding=1))
        body = F.conv2d(
            stem,
            weights["body"]["weight"] if head is None else quantizer.weight("body", head),
            weights["body"]["bias"] if head is None else quantizer.bias("body", head),
            padding=1,
        )
        return (
            F.pixel_shuffle(F.conv2d(stem + body, weights["tail"]["weight"], weights["tail"]["bias"], padding=1), 2).clamp(0, 1)
            * 255
        )

    for choice in range(3):
        expected = np.mean([float(((network(p.low, choice) - network(p.low)) ** 2).mean()) for p in pairs])
        assert damage.noise[1, choice] == pytest.approx(expected, rel=1e-4)
    # Storing what is shown in 8 bits costs nothing, in 3 bits it does.
    assert damage.noise[6, 2] == 0
    assert damage.noise[6, 0] > 10
    assert np.all(damage.noise[3, :2] == 0), "choices that are not allowed have no damage"
    assert graph.output.name == "output"


@pytest.mark.parametrize("name", list(PROXIES))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_proxy_is_finite_and_falls_with_the_width(name, channels):
    quantizer, pairs = Quantizer(channels), pairs_of(channels)
    told = []
    damage = PROXIES[name].measure(quantizer, pairs, 0, lambda text, share: told.append(share))
    again = PROXIES[name].measure(quantizer, pairs, 0)
    np.testing.assert_array_equal(damage.noise, again.noise)
    assert damage.proxy == name
    assert damage.float_mse.shape == (2,)
    assert told[-1] == 1.0
    assert np.all(damage.noise[:3, 0] > damage.noise[:3, 2])
    assert damage.noise[4, 0] > damage.noise[4, 2]


def test_sqnr_follows_six_decibels_a_bit():
    quantizer = Quantizer(1)
    rows = {(row.name, row.is_weight): row.db for row in snr.sqnr(quantizer, pairs_of(1))}
    ratios = rows["body", True]
    assert (ratios[8] - ratios[5]) / 3 == pytest.approx(6.02, abs=1.0)
    assert {name for name, is_weight in rows if is_weight} == {"head", "body", "tail"}
    assert {name for name, is_weight in rows if not is_weight} == {"input", "head", "sum", "tail"}


def test_windows_keep_low_and_high_together():
    low = torch.arange(64 * 64, dtype=torch.float32).reshape(1, 1, 64, 64)
    pair = Pair("p", low, np.repeat(np.repeat(low[0, 0].numpy(), 2, 0), 2, 1))
    (window,) = errors.windows([pair], 40 * 40)
    assert window.low.shape == (1, 1, 40, 40)
    np.testing.assert_array_equal(window.high[::2, ::2], window.low[0, 0].numpy())
    assert len(errors.windows([pair] * 16, 4 * 32 * 32)) == 4


def test_probes_are_distinct_seeded_and_cover_good_and_bad_plans():
    space = Quantizer(1).space
    wide = SearchSpace((2, 4, 6, 8), (4, 8, 16), tuple("abcdefgh"), tuple("ijklm"), np.ones((13, 4), dtype=bool))
    wide.allowed[8:, 3] = False
    plans = probe.sample(wide, 200, seed=0)
    assert len({p.tobytes() for p in plans}) == 200
    np.testing.assert_array_equal(plans, probe.sample(wide, 200, seed=0))
    assert wide.allowed[np.arange(13), plans].all()
    means = plans[:, :8].mean(axis=1)
    assert np.quantile(means, 0.05) < 0.8
    assert np.quantile(means, 0.95) > 2.6
    assert len(probe.sample(space, 10_000, seed=0)) == space.size == 729


def test_spearman_is_a_rank_correlation():
    assert probe.spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 11.0])) == pytest.approx(1)
    assert probe.spearman(np.array([3.0, 2.0, 1.0]), np.array([1.0, 10.0, 11.0])) == pytest.approx(-1)
    assert probe.spearman(np.zeros(3), np.arange(3.0)) == 0
