"""Activation formats against hand computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from words import make_node

from hwmodels.numbers import FP16, INT16, Int
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.ranges.given import picture_format
from hwsearch.quant.ranges.histograms import counted
from hwsearch.quant.ranges.ranges import candidates, clamped, wide_format
from hwsearch.quant.ranges.spreads import SATURATING, ChannelSpreads, saturation, stretched
from searchspaces.ir.graph import Graph, apply, execute
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space


def channels(low: list[float], high: list[float]) -> ChannelSpreads:
    return ChannelSpreads(np.ones((len(low), 2048)), np.array(low), np.array(high))


@pytest.mark.parametrize(("shape", "axis"), [((2, 5, 6, 7), 1), ((3, 4, 5), -1), ((6, 7), None)])
def test_histograms_of_channels(shape: tuple[int, ...], axis: int | None) -> None:
    """As numpy counts each channel; what lies outside its range counts at the nearer end."""
    y = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    rows = y.reshape(1, -1) if axis is None else y.movedim(axis, 0).flatten(1)
    low, high = np.full(len(rows), -1.5), np.linspace(1.0, 2.0, len(rows))
    expected = [np.histogram(np.clip(row, a, b), 12, (a, b))[0] for row, a, b in zip(rows.numpy(), low, high, strict=True)]
    assert np.array_equal(counted(y, axis, low, high, 12), expected)


def test_whole_range_with_zero_point() -> None:
    fmt = candidates(channels([-1.0, 0.0], [2.0, 1.0]).spread(), Int(8), symmetric=False)[0]
    assert fmt.scale == pytest.approx(3 / 255, rel=1e-6)
    assert (fmt.zero_point, fmt.qmin, fmt.qmax) == (85, 0, 255)
    assert float(np.float32(fmt.scale)) == fmt.scale


def test_one_sided_tensors_start_at_zero() -> None:
    for bits in (2, 4, 8):
        for fmt in candidates(channels([0.0], [6.0]).spread(), Int(bits), symmetric=False):
            assert (fmt.zero_point, fmt.qmin, fmt.qmax) == (0, 0, 2**bits - 1)


def test_symmetric_formats_sit_in_the_middle_of_the_container() -> None:
    for bits, half in ((8, 128), (4, 8)):
        fmt = candidates(channels([-1.0], [3.0]).spread(), Int(bits), symmetric=True)[0]
        assert (fmt.zero_point, fmt.qmin, fmt.qmax) == (128, 128 - half, 127 + half)
        assert fmt.scale == pytest.approx(3 / (half - 1), rel=1e-6)


def test_clipping_pays_when_outliers_are_rare() -> None:
    counts = np.zeros((1, 2048))
    counts[0, :128] = 1.0  # nearly everything lies in the lowest sixteenth
    counts[0, -1] = 1e-6
    options = candidates(ChannelSpreads(counts, np.zeros(1), np.array([16.0])).spread(), Int(4), symmetric=False)
    assert options[0].scale == pytest.approx(16 / 15, rel=1e-6)
    assert min(fmt.scale for fmt in options) < 0.3


def test_the_typical_range_forgets_a_rare_peak() -> None:
    """Reaching 8 for a few values makes the rounding of all others coarser; where they are many, it pays."""
    counts = np.zeros((3, 2048))
    counts[:, 100:512] = 1.0
    counts[:, -1] = (0.0, 1e-5, 100.0)
    found = ChannelSpreads(counts, np.zeros(3), np.full(3, 8.0)).typical()
    assert np.all((found.high[:2] >= 1.9) & (found.high[:2] <= 2.5))
    assert found.high[2] == 8.0
    signed = ChannelSpreads(counts[:, ::-1], np.full(3, -8.0), np.zeros(3)).typical()
    assert np.all(signed.low == -found.high)


def test_histograms_of_a_divided_tensor() -> None:
    """Dividing first or afterwards gives one spread."""
    group, factors = channels([0.0, -4.0], [1.0, 4.0]), np.array([0.5, 4.0])
    divided, at_once = group.divided(factors).spread(), group.spread(factors)
    assert np.allclose(divided.weight, at_once.weight)
    assert (divided.low, divided.high) == (at_once.low, at_once.high)


def test_spread_of_scaled_channels() -> None:
    """Dividing a channel by f shrinks its range by f, and an error there counts f^2."""
    group = channels([0.0, -4.0], [1.0, 4.0])
    plain, moved = group.spread(), group.spread(np.array([1.0, 4.0]))
    assert (plain.low, plain.high) == (-4.0, 4.0)
    assert (moved.low, moved.high) == (-1.0, 1.0)
    assert plain.weight.sum() == pytest.approx(2 * 2048)
    assert moved.weight.sum() == pytest.approx(2048 * (1 + 16))


def test_wide_formats() -> None:
    spread = channels([-1.0], [3.0]).spread()
    fmt = wide_format(spread, INT16)
    assert (fmt.bits, fmt.zero_point, fmt.qmin, fmt.qmax) == (16, 32768, 0, 65535)
    assert fmt.scale == pytest.approx(6 / 32767, rel=1e-6)
    assert wide_format(spread, FP16).is_float


@pytest.mark.parametrize("bits", [8, 16])
def test_pictures_are_stored_without_loss(bits: int) -> None:
    picture = torch.arange(256).float() / 255
    assert torch.allclose(picture_format(Int(bits), symmetric=False).fake(picture), picture, atol=1e-7)


def test_clamps_of_fused_activations() -> None:
    fmt = TensorFormat(Int(8), 0.05, 40, 0, 255)
    assert clamped(fmt, make_node("a", "conv", attrs={"activation": "relu"})).qmin == 40
    six = clamped(fmt, make_node("a", "conv", attrs={"activation": "relu6"}))
    assert (six.qmin, six.qmax) == (40, 160)
    assert clamped(fmt, make_node("a", "conv", attrs={"activation": "prelu"})) == fmt
    assert clamped(fmt, make_node("a", "unary", attrs={"kind": "relu"})).qmin == 40


def test_stretched_contrast() -> None:
    crop = 0.4 + 0.3 * torch.rand(1, 3, 8, 10)
    for shift, share in ((0.0, 1.0), (0.2, 0.1)):  # neither reaches the full range within the allowed gain
        made = stretched(shift + share * crop)
        assert made.shape == (1, 3, 10, 8)
        span = float(made.max() - made.min())
        assert span == pytest.approx(min(1.25 * share * float(crop.max() - crop.min()), 1.0), rel=1e-4)
    full = stretched(torch.tensor([0.1, 0.5, 0.9]).view(1, 1, 1, 3))
    assert torch.allclose(full.flatten().sort().values, torch.tensor([0.0, 0.5, 1.0]), atol=1e-6)


@pytest.mark.parametrize("kind", ["tanh", "sigmoid"])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_a_function_is_half_a_step_from_its_limit_where_it_counts_as_saturated(kind: str, bits: int) -> None:
    node = make_node("f", "unary", ("x",), {"kind": kind})
    low, high = apply(node, [torch.tensor([-100.0, 100.0], dtype=torch.float64)]).tolist()
    end = apply(node, [torch.tensor(saturation(SATURATING[kind], bits), dtype=torch.float64)]).item()
    assert high - end == pytest.approx((high - low) / (2**bits - 1) / 2, rel=1e-6)


@pytest.mark.parametrize("kind", ["tanh", "sigmoid"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_what_a_saturating_function_alone_reads_reaches_no_further(kind: str, shuffled: bool) -> None:
    """Edges that reach a hundred before the function: over that range 8 bits would leave it three steps. Another reader changes
    that."""

    def network(more: bool) -> Graph:
        conv = {"stride": 1, "padding": (0, 0, 0, 0), "dilation": 1, "groups": 1, "activation": "none"}
        weight = torch.tensor([200.0, -90.0, 40.0, 3.0]).view(4, 1, 1, 1)
        nodes = [
            make_node("x", "input", (), {"channels": 1}),
            make_node("wide", "conv", ("x",), conv, {"weight": weight, "bias": -weight.flatten() / 2}),
        ]
        nodes += [make_node("view", "pixel_shuffle", ("wide",), {"factor": 2})] if shuffled else []
        last, count = nodes[-1].name, 1 if shuffled else 4
        nodes.append(make_node("f", "unary", (last,), {"kind": kind}))
        tail = {"weight": torch.full((1, count, 1, 1), 0.4 / count), "bias": torch.full((1,), 0.5)}  # a picture, within 0..1
        nodes.append(make_node("y", "conv", ("f",), conv, tail))
        if more:
            nodes[-1] = make_node("y", "conv", ("both",), conv, tail)
            nodes.insert(-1, make_node("both", "add", ("f", last), {"activation": "none"}))
        return Graph("g", tuple(nodes))

    rng = np.random.default_rng(0)
    crops = [torch.from_numpy(rng.random((1, 1, 24, 24))).float() for _ in range(4)]

    def calibrated(graph: Graph) -> Calibration:
        return calibrate(graph, crops, build_space(to_workload(graph, 24, 24), (8,), (8, 16)))

    alone, beside = calibrated(network(more=False)), calibrated(network(more=True))
    for choice, bits in enumerate((8, 16)):
        formats = [calibration.format("wide", choice) for calibration in (alone, beside)]
        reaches = [(fmt.qmax - fmt.zero_point) * fmt.scale for fmt in formats]
        assert reaches[0] <= 2.01 * saturation(SATURATING[kind], bits)
        assert reaches[1] > 50
    error = alone.simulate(alone.space.uniform(8, 8), crops[0]) - execute(alone.graph, crops[0])
    assert float(error.square().mean().sqrt()) < 0.01
