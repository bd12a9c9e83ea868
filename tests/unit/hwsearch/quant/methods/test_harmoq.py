"""HarmoQ's steps against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.quant.methods.learned.harmoq import DAMPING, corrected, harmonized, high_pass
from searchspaces.ir.graph import execute


def test_equal_widths_equalize_the_range_of_a_channel_and_of_its_weights() -> None:
    tensor, weights = np.array([4.0, 1.0, 0.25]), np.array([0.1, 0.4, 0.1])
    scales = harmonized(tensor, weights, 0.5)
    ratio = (tensor / scales) / (weights * scales)
    np.testing.assert_allclose(ratio, ratio[0])
    assert np.prod(scales) == pytest.approx(1)
    np.testing.assert_allclose(tensor / harmonized(tensor, weights, 1.0), np.full(3, 1.0))  # all to the tensor: 4 1 1/4 is 1
    assert harmonized(np.array([0.0, 2.0]), np.array([1.0, 1.0]), 0.5)[0] == 1


def test_the_corrected_weights_are_where_their_objective_is_least() -> None:
    """Its gradient ``2 E[(dW x + W d) x^T] + 2 lambda dW`` is zero, in each of two groups."""
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.normal(size=(6, 4, 1, 1)).astype(np.float32))
    x = rng.normal(size=(500, 2, 4)).astype(np.float32)
    d = (0.1 * x + 0.1 * rng.normal(size=x.shape)).astype(np.float32)
    change = (corrected(weight, x, d) - weight).reshape(2, 3, 4).double().numpy()
    for g, own in enumerate(weight.reshape(2, 3, 4).double().numpy()):
        second = x[:, g].T @ x[:, g] / len(x)
        gradient = change[g] @ second + own @ (d[:, g].T @ x[:, g] / len(x)) + DAMPING * np.trace(second) / 4 * change[g]
        assert np.abs(gradient).max() < 1e-5
        np.testing.assert_allclose(change[g], -0.1 * own, atol=0.05)  # the part of d that follows x is a tenth of it
    assert corrected(weight, x[:3], d[:3]) is weight


def test_high_pass_by_hand() -> None:
    x = torch.zeros(1, 2, 3, 3)
    x[0, 0, 1, 1] = 4.0
    x[0, 1] = 7.0
    assert high_pass(x)[0, 0].tolist() == [[0, -1, 0], [-1, 4, -1], [0, -1, 0]]
    assert high_pass(x)[0, 1].abs().max() == 0


@pytest.mark.parametrize("name", ["harmoq", "output_noise"])
def test_scales_of_a_plan_leave_the_function(name: str) -> None:
    calibration = tiny_calibration((2, 4, 8), (4, 8), name)
    x = tiny_pairs()[0].low
    for bits in ((2, 8), (8, 4)):
        draft = calibration.draft(calibration.space.uniform(*bits))
        assert torch.allclose(execute(draft.network, x), execute(calibration.graph, x), atol=1e-5)
        for layer in calibration.graph.convs:
            assert draft.network[layer.name].weights["weight"].shape == layer.weights["weight"].shape
