"""Proxies on a small network whose Jacobian can be written out, with quantizers made up for the test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from words import make_node

from hwmodels.numbers import INT16, Int, formats_of
from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.quality import errors
from hwsearch.quality.proxies import PROXIES, activation_mse, centred_sqnr, fisher, hessian, output_sqnr, psnr_drop, sqnr
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.search import correlation
from hwsearch.search.propose import random_plans
from searchspaces.data.pictures import Pair, windows
from searchspaces.ir.graph import Graph, execute
from searchspaces.space import SearchSpace, matrix
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.luma import output_luma
from searchspaces.tasks.task import Signature

LUMA = SuperResolution(Signature(scale=2, channels=1))

BITS = (3, 5, 8)


def graph_of(channels):
    generator = torch.Generator().manual_seed(0)

    def conv(name, source, inside, outside, activation="none"):
        weights = {
            "weight": torch.randn(outside, inside, 3, 3, generator=generator) * 0.3,
            "bias": torch.randn(outside, generator=generator) * 0.05,
        }
        attrs = {"stride": 1, "padding": (1, 1, 1, 1), "dilation": 1, "groups": 1, "activation": activation}
        return make_node(name, "conv", (source,), attrs, weights)

    return Graph(
        "small",
        (
            make_node("input", "input", (), {"channels": channels}),
            conv("head", "input", channels, 6, "relu"),
            conv("body", "head", 6, 6),
            make_node("sum", "add", ("body", "head")),
            conv("tail", "sum", 6, 4 * channels),
            make_node("output", "pixel_shuffle", ("tail",), {"factor": 2}),
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
        self.space = SearchSpace(formats_of(BITS, INT16), formats_of(BITS, INT16), layers, groups, allowed)

    def weight(self, layer, choice):
        step = 2.0 / 2 ** BITS[choice]
        return torch.round(self.graph[layer].weights["weight"] / step) * step

    def bias(self, layer, choice):
        return self.graph[layer].weights["bias"] + 0.02 / 2 ** BITS[choice]

    def format(self, name, choice):
        bits = BITS[choice]
        high = 1.0 if name in ("input", "tail", "output") else 4.0
        return TensorFormat(Int(bits), high / (2**bits - 1), 0 if high == 1.0 else 2 ** (bits - 1), 0, 2**bits - 1)


def pairs_of(channels, count=2, side=12):
    """Random pictures; the original is the float network's output with an error of 5 levels, as if it had been trained."""
    rng, graph, pairs = np.random.default_rng(1), graph_of(channels), []
    for i in range(count):
        low = torch.from_numpy(rng.random((1, channels, side, side), dtype=np.float32))
        output = execute(graph, low)[0].permute(1, 2, 0).numpy() * 255
        high = np.clip(np.rint(output + rng.normal(0, 5, output.shape)), 0, 255)
        pairs.append(Pair(f"p{i}", low, high[..., 0] if channels == 1 else high))
    return pairs


def posed(name, channels):
    """What a proxy is asked about: quantizers made up for the test; for those that look at a quantized plan, a calibration."""
    if name in ("bit_gradient", "centred_sqnr"):
        return tiny_calibration((2, 4, 8), (4, 6, 8), "mse"), tiny_pairs()
    return Quantizer(channels), pairs_of(channels)


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
    for decision, name, is_weight, choice in errors.Errors(quantizer, LUMA).choices():
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


def test_output_sqnr_is_the_error_of_one_choice_alone():
    quantizer, pairs = Quantizer(1), pairs_of(1)
    damage = output_sqnr.measure(quantizer, pairs, 0)
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
    quantizer, pairs = posed(name, channels)
    told = []
    damage = PROXIES[name].measure(quantizer, pairs, 0, lambda text, share: told.append(share))
    again = PROXIES[name].measure(quantizer, pairs, 0)
    np.testing.assert_array_equal(damage.noise, again.noise)
    assert damage.proxy == name
    assert damage.float_mse.shape == (2,)
    assert told[-1] == 1.0
    if name != "centred_sqnr":  # in the middle, errors of untrained layers may cancel
        assert np.all(damage.noise[:3, 0] > damage.noise[:3, 2])
        assert damage.noise[4, 0] > damage.noise[4, 2]


def test_centred_sqnr_is_the_noise_of_plans_around_the_middle():
    """Each choice in the plan of 4-bit weights and 6-bit tensors, beyond the best of its decision; together with the shares of
    what is left over, the effects of the centre make up its noise."""
    calibration, pairs = tiny_calibration((2, 4, 8), (4, 6, 8), "mse"), tiny_pairs()[:1]
    space, graph, task = calibration.space, calibration.graph, SuperResolution.of(pairs)
    middle = centred_sqnr.centre(space)
    weights, tensors = space.named(middle)
    assert set(weights.values()) == {4}
    assert {bits for name, bits in tensors.items() if len(space.choices(space.names.index(name))) == 3} == {6}

    def noise(row):
        outputs = (execute(graph, pairs[0].low), calibration.simulate(row, pairs[0].low))
        reference, quantized = (task.view(task.limited(y)).double() for y in outputs)
        return float((quantized - reference).square().mean())

    damage = centred_sqnr.measure(calibration, pairs, 0)
    for decision in range(space.decisions):
        plans = {int(c): space.row([*middle[:decision], int(c), *middle[decision + 1 :]]) for c in space.choices(decision)}
        noises = {choice: noise(row) for choice, row in plans.items()}
        first = min(noises)
        for choice, expected in noises.items():
            found = damage.noise[decision, choice] - damage.noise[decision, first]
            assert found == pytest.approx(expected - noises[first], rel=1e-5, abs=1e-9)
    assert damage.predicted_noise(matrix([middle]))[0] >= noise(middle) * (1 - 1e-6)


def test_psnr_drop_is_the_rise_of_the_error_against_the_original():
    quantizer, (pair, _) = Quantizer(1), pairs_of(1)
    damage = psnr_drop.measure(quantizer, [pair], 0)
    graph = quantizer.graph
    node = graph["tail"]
    quantized = node.with_weights(weight=quantizer.weight("tail", 0), bias=quantizer.bias("tail", 0))

    def mse(network):
        return float(np.mean((execute(network, pair.low)[0, 0].clamp(0, 1).numpy() * 255.0 - pair.high) ** 2))

    assert damage.noise[2, 0] == pytest.approx(mse(graph.replaced({"tail": quantized})) - mse(graph), rel=1e-4)
    # The noise alone is not the same: part of it goes along with what the network does wrong.
    assert damage.noise[2, 0] != pytest.approx(output_sqnr.measure(quantizer, [pair], 0).noise[2, 0], rel=1e-3)


def test_hessian_of_the_last_layer_is_known_by_hand(monkeypatch):
    """The output is linear in the last layer: the second derivative by an output is 2 * 255^2 / N, by a weight that times its
    input squared."""
    quantizer, (pair, _) = Quantizer(1), pairs_of(1)
    monkeypatch.setattr(hessian, "PROBES", 200)
    damage = hessian.measure(quantizer, [pair], 0)
    values = {}
    execute(quantizer.graph, pair.low, lambda node, value: values.__setitem__(node.name, value))
    pixels = values["output"].numel()
    patches = F.unfold(values["sum"], 3, padding=1).double()
    weights = quantizer.graph["tail"].weights["weight"]
    by_weight = 2 * 255**2 / pixels * float(patches.square().sum()) * weights.shape[0] / weights.numel()
    error = float((quantizer.weight("tail", 1) - weights).double().square().sum())
    assert damage.noise[2, 1] == pytest.approx(by_weight / 2 * error, rel=0.1)
    # By the output itself the mean curvature is the same for every value: what is left is the noise power.
    error = errors.Errors(quantizer, LUMA).tensor("tail", 0, values["tail"]).double().square().sum()
    assert damage.noise[6, 0] == pytest.approx(255**2 / pixels * float(error), rel=0.1)


def test_hessian_trace_agrees_with_the_whole_hessian():
    """Every second derivative of the error by the weights of the first layer and by a tensor inside, summed on the diagonal."""
    quantizer, (pair, _) = Quantizer(3), pairs_of(3, side=5)
    graph, target = quantizer.graph, LUMA.target(pair)
    run = errors.forward(graph, pair.low, LUMA)
    blocks = {"head": run.layers["head"][0], "body": run.layers["body"][0], "sum": run.tensors["sum"]}
    found = hessian.mean_curvature(run, target, blocks, 800, torch.Generator().manual_seed(0))

    def error(value, name):
        if name == "sum":
            output = execute(graph, pair.low, lambda node, x: value if node.name == "sum" else None)
        else:
            output = execute(graph.replaced({name: graph[name].with_weights(weight=value)}), pair.low)
        return (output_luma(output) - target).square().mean()

    for name, value in blocks.items():
        whole = torch.autograd.functional.hessian(lambda v, name=name: error(v, name), value.detach())
        trace = float(whole.reshape(value.numel(), value.numel()).diagonal().sum())
        assert found[name] == pytest.approx(trace / value.numel(), rel=0.1)


def test_activation_mse_stops_at_the_first_activation():
    quantizer, pairs = Quantizer(3), pairs_of(3)
    damage = activation_mse.measure(quantizer, pairs, 0)
    weights = quantizer.graph["head"].weights

    def head(pair, weight, bias):
        return F.relu(F.conv2d(pair.low, weight, bias, padding=1)).double()

    expected = np.mean(
        [
            float((head(p, quantizer.weight("head", 1), quantizer.bias("head", 1)) - head(p, *weights.values())).square().mean())
            for p in pairs
        ]
    )
    assert damage.noise[0, 1] == pytest.approx(255**2 * expected, rel=1e-4)
    assert damage.noise[3, 2] == pytest.approx(1 / 12, rel=0.15), "rounding to whole levels: uniform within a step"


def test_sqnr_adds_noise_to_signal_ratios_times_the_power_of_the_output():
    quantizer, pairs = Quantizer(1), pairs_of(1)
    damage = sqnr.measure(quantizer, pairs, 0)
    shares: list[float] = []
    rows = {
        (row.name, row.is_weight): row.db
        for row in sqnr.table(quantizer, pairs, progress=lambda what, share: shares.append(share))
    }
    assert shares == [(number + 1) / len(pairs) for number in range(len(pairs))]
    power = np.mean([float((255 * execute(quantizer.graph, p.low)).double().square().mean()) for p in pairs])
    assert damage.noise[1, 1] == pytest.approx(power * 10 ** (-rows["body", True][BITS[1]] / 10), rel=1e-6)
    weight = quantizer.graph["body"].weights["weight"]
    ratio = float((quantizer.weight("body", 1) - weight).square().sum() / weight.square().sum())
    assert damage.noise[1, 1] == pytest.approx(power * ratio, rel=1e-4)


@pytest.mark.parametrize("name", list(PROXIES))
def test_passes_are_counted_as_they_are_made(name, monkeypatch):
    """Backward passes are calls of autograd; a product with the Hessian counts twice."""
    quantizer, pairs = posed(name, 1)
    made = {"backward": 0}
    differentiate = torch.autograd.grad

    def grad(*args, **kwargs):
        made["backward"] += 1
        return differentiate(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", grad)
    damage = PROXIES[name].measure(quantizer, pairs, 0)
    products = len(pairs) * hessian.PROBES if name == "hessian" else 0
    assert damage.backward_passes == made["backward"] + products
    assert damage.forward_passes >= len(pairs)


def test_sqnr_follows_six_decibels_a_bit():
    quantizer = Quantizer(1)
    rows = {(row.name, row.is_weight): row.db for row in sqnr.table(quantizer, pairs_of(1))}
    ratios = rows["body", True]
    assert (ratios[8] - ratios[5]) / 3 == pytest.approx(6.02, abs=1.0)
    assert {name for name, is_weight in rows if is_weight} == {"head", "body", "tail"}
    assert {name for name, is_weight in rows if not is_weight} == {"input", "head", "sum", "tail"}


def test_windows_keep_low_and_high_together():
    low = torch.arange(64 * 64, dtype=torch.float32).reshape(1, 1, 64, 64)
    pair = Pair("p", low, np.repeat(np.repeat(low[0, 0].numpy(), 2, 0), 2, 1))
    (window,) = windows([pair], 40 * 40)
    assert window.low.shape == (1, 1, 40, 40)
    np.testing.assert_array_equal(window.high[::2, ::2], window.low[0, 0].numpy())
    assert len(windows([pair] * 16, 4 * 32 * 32)) == 4


def test_probes_are_distinct_seeded_and_cover_good_and_bad_plans():
    space = Quantizer(1).space
    wide = SearchSpace(
        formats_of((2, 4, 6, 8), INT16),
        formats_of((4, 8, 16), INT16),
        tuple("abcdefgh"),
        tuple("ijklm"),
        np.ones((13, 4), dtype=bool),
    )
    wide.allowed[8:, 3] = False
    plans = random_plans.sample(wide, 200, seed=0)
    assert len(set(plans)) == 200
    assert plans == random_plans.sample(wide, 200, seed=0)
    assert all(map(wide.allows, plans))
    means = matrix(plans)[:, :8].mean(axis=1)
    assert np.quantile(means, 0.05) < 0.8
    assert np.quantile(means, 0.95) > 2.6
    assert len(random_plans.sample(space, 10_000, seed=0)) == space.size == 729


def test_spearman_is_a_rank_correlation():
    assert correlation.spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 11.0])) == pytest.approx(1)
    assert correlation.spearman(np.array([3.0, 2.0, 1.0]), np.array([1.0, 10.0, 11.0])) == pytest.approx(-1)
    assert correlation.spearman(np.zeros(3), np.arange(3.0)) == 0
