"""Rounding of weights against brute force, against nearest rounding, and by its own algebra."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from words import make_node

from hwsearch.contracts import tiny_calibration
from hwsearch.quant.observe.moments import collect, patches
from hwsearch.quant.weights.rounding import (
    Curvature,
    _triangular,
    cancel_across_channels,
    compensated,
    damped,
    nearest,
    output_error,
    quick_errors,
    round_rows,
)
from searchspaces.ir.graph import Graph, apply


def correlated(k: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, k)) @ rng.normal(size=(k, k))
    return (x.T @ x / len(x)).astype(np.float32)


def test_triangular_factor_of_the_inverse() -> None:
    moment = damped(correlated(7), 0.02).astype(np.float64)
    order, factor = _triangular(moment)
    assert np.allclose(factor.T @ factor, np.linalg.inv(moment[np.ix_(order, order)]), rtol=1e-6)
    assert np.allclose(factor, np.triu(factor))


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_never_worse_than_nearest(bits: int) -> None:
    rng = np.random.default_rng(bits)
    rows, moment = rng.normal(size=(6, 27)).astype(np.float32), correlated(27, bits)
    limit = 2 ** (bits - 1) - 1
    q, scale = round_rows(rows, Curvature(moment, moment), bits)
    assert np.array_equal(q, np.rint(q))
    assert np.abs(q).max() <= limit
    top = np.abs(rows).max(axis=1) / limit
    plain = output_error(nearest(rows, top, limit) * top[:, None] - rows, moment)
    best = output_error(q * scale[:, None] - rows, moment)
    assert np.all(best <= plain * (1 + 1e-5))
    assert best.sum() < 0.7 * plain.sum()


def test_close_to_brute_force() -> None:
    """A channel of five 3-bit weights: every integer vector, each with its own least-squares scale. Descent ends in local
    minima, so only a factor is promised; nearest rounding is far outside of it."""
    rng = np.random.default_rng(1)
    found, optimal, plain = 0.0, 0.0, 0.0
    vectors = np.array(list(itertools.product(range(-3, 4), repeat=5)), dtype=np.float64)
    vectors = vectors[np.any(vectors != 0, axis=1)]
    for trial in range(12):
        w, moment = rng.normal(size=(1, 5)).astype(np.float32), correlated(5, trial)
        q, scale = round_rows(w, Curvature(moment, moment), 3)
        found += float(output_error(q * scale[:, None] - w, moment)[0])
        target = vectors @ moment @ w[0]
        energy = np.einsum("vi,ij,vj->v", vectors, moment, vectors)
        optimal += float(w[0] @ moment @ w[0] - np.max(np.where(target > 0, target**2 / energy, 0)))
        top = np.abs(w).max(axis=1) / 3
        plain += float(output_error(nearest(w, top, 3) * top[:, None] - w, moment)[0])
    assert optimal * 0.999 <= found <= 2.5 * optimal
    assert plain > 5 * optimal


def test_channels_make_up_for_each_other() -> None:
    """If only the sum of two channels matters, joint rounding brings the sum closer than each channel alone could."""
    rng = np.random.default_rng(0)
    rows, moment = rng.normal(size=(2, 30)).astype(np.float32), correlated(30)
    gain = np.ones((2, 2))
    q, scale = round_rows(rows, Curvature(moment, moment), 4)
    joint = cancel_across_channels(rows, q, scale, Curvature(moment, moment), gain, 4)
    assert np.abs(joint).max() <= 7

    def noise(integers: np.ndarray) -> float:
        error = integers * scale[:, None] - rows
        return float(np.sum((gain @ error @ moment) * error))

    assert noise(joint) < 0.5 * noise(q)


def test_quick_errors_rank_scaled_columns() -> None:
    """Multiplying a column by 100 ruins the others' resolution; the quick estimate must say so."""
    rng = np.random.default_rng(0)
    rows, moment = rng.normal(size=(4, 12)).astype(np.float32), correlated(12)
    bad = np.ones(12)
    bad[3] = 100
    errors = quick_errors(rows, moment, np.stack([np.ones(12), bad]), (4, 8))
    assert errors.shape == (2, 2, 4)
    assert np.all(errors[1].sum(axis=-1) > 3 * errors[0].sum(axis=-1))
    assert np.all(errors[:, 1].sum(axis=-1) < errors[:, 0].sum(axis=-1))


def test_a_layer_of_zeros() -> None:
    seen = np.eye(5, dtype=np.float32)
    q, scale = round_rows(np.zeros((2, 5), dtype=np.float32), Curvature(seen, seen), 4)
    assert not q.any()
    assert np.all(scale > 0)


def test_patches_are_what_the_convolution_reads() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 2, 3, 3)
    attrs = {"stride": 2, "padding": (1, 0, 2, 1), "dilation": 1, "groups": 2, "activation": "none"}
    node = make_node("c", "conv", ("x",), attrs, {"weight": weight, "bias": torch.zeros(4)})
    x = torch.rand(1, 4, 11, 12)
    generator = torch.Generator().manual_seed(0)
    taken = patches(x, node, 10**6, generator)  # all places, in random order
    by_patch = torch.einsum("pgk,gok->pgo", taken, weight.view(2, 2, -1)).flatten(1)
    expected = apply(node, [x])[0].flatten(1).T
    assert torch.allclose(by_patch.sort(dim=0).values, expected.sort(dim=0).values, atol=1e-5)


def test_moments_of_known_input() -> None:
    """A 1x1 convolution sees the pixels themselves: mean and covariance by numpy."""
    node = make_node(
        "c",
        "conv",
        ("x",),
        {"stride": 1, "padding": (0, 0, 0, 0), "dilation": 1, "groups": 1, "activation": "none"},
        {"weight": torch.ones(1, 2, 1, 1), "bias": torch.zeros(1)},
    )
    crops = [torch.rand(1, 2, 30, 30, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    found = collect(Graph("g", (make_node("x", "input", (), {"channels": 2}), node)), crops, 0)["c"]
    pixels = crops[0][0].flatten(1).numpy()
    assert np.allclose(found.mean[0], pixels.mean(axis=1), atol=1e-5)
    assert np.allclose(found.fit[0], np.cov(pixels, bias=True), atol=1e-5)
    away = crops[1][0].flatten(1).numpy() - pixels.mean(axis=1, keepdims=True)
    assert np.allclose(found.held[0], away @ away.T / away.shape[1], atol=1e-5)
    scaled = found.scaled(np.array([[2.0, 1.0]]))
    assert np.allclose(scaled.fit[0] * np.array([[4, 2], [2, 1]]), found.fit[0], atol=1e-6)


def test_moments_of_groups_are_those_of_their_own_channels() -> None:
    attrs = {"stride": 1, "padding": (0, 0, 0, 0), "dilation": 1, "groups": 2, "activation": "none"}
    node = make_node("c", "conv", ("x",), attrs, {"weight": torch.ones(2, 2, 1, 1), "bias": torch.zeros(2)})
    crops = [torch.rand(1, 4, 20, 20, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    found = collect(Graph("g", (make_node("x", "input", (), {"channels": 4}), node)), crops, 0)["c"]
    pixels = crops[0][0].flatten(1).numpy()
    for group in range(2):
        assert np.allclose(found.fit[group], np.cov(pixels[2 * group : 2 * group + 2], bias=True), atol=1e-5)


def test_one_curvature_serves_all_widths() -> None:
    rng = np.random.default_rng(2)
    rows, moment = rng.normal(size=(3, 20)).astype(np.float32), correlated(20)
    shared = Curvature(moment, moment)
    for bits in (8, 3, 5):
        for ours, fresh in zip(round_rows(rows, shared, bits), round_rows(rows, Curvature(moment, moment), bits), strict=True):
            assert np.array_equal(ours, fresh)


def test_compensated_rounding_by_hand() -> None:
    """Two inputs that always come together: what the first weight loses the second makes up for."""
    rows, moment = np.array([[0.4, 0.4]], np.float32), np.array([[1.0, 0.999], [0.999, 1.0]])
    assert compensated(rows, moment, np.ones(1), 7, 1e-6).tolist() == [[0.0, 1.0]]
    assert compensated(rows, np.eye(2), np.ones(1), 7, 1e-6).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_gptq_disturbs_the_output_of_a_layer_less_than_the_nearest_integers(bits: int) -> None:
    """By the moments that it is given, on the scales that it has."""
    gptq, minmax = (tiny_calibration((2, 3, 4), (8,), name) for name in ("gptq", "minmax"))
    moments = gptq._seen.moments
    for node in gptq.graph.convs:
        choice = gptq.space.weight_bits.index(bits)
        second = moments[node.name].fit[0] + np.outer(moments[node.name].mean[0], moments[node.name].mean[0])
        errors = [
            output_error((found.weight(node.name, choice) - node.weights["weight"]).flatten(1).numpy(), second).sum()
            for found in (gptq, minmax)
        ]
        assert errors[0] < errors[1]
