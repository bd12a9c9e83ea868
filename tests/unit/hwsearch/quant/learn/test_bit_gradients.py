"""Derivatives by bits against autograd through a quantizer whose bits are a variable, and the published rank rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hwmodels.numbers import Int
from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.quality.proxies import bit_gradient
from hwsearch.quant.learn.bit_gradients import LOSS, Probe, bit_gradients, of_bits, weights_of_bits
from hwsearch.quant.learn.bounds import distillation_loss, targets_of
from hwsearch.quant.learn.quantizers.straight_through import rounded
from hwsearch.search.allocate.gradient_rank import offsets
from searchspaces.ir.graph import execute

BITS = 4


@pytest.fixture(scope="module")
def draft():
    calibration = tiny_calibration((2, 3, 4, 8), (4, 6, 8), "mse")
    return calibration.draft(calibration.space.uniform(BITS, BITS))


class ByBits(Probe):
    """The student with ``bits`` as a leaf of one tensor or of one layer's weights: the step is written out in them."""

    def __init__(self, draft, tensor=None, layer=None):
        super().__init__(draft)
        self.bits, self.tensor, self.layer = torch.tensor(float(BITS), requires_grad=True), tensor, layer

    def _stored(self, node, value):
        if node.name != self.tensor:
            return super()._stored(node, value)
        fmt = self.start.formats[node.name]
        low, high = -fmt.zero_point * fmt.scale, (fmt.grid.levels - fmt.zero_point) * fmt.scale
        step = (high - low) / (2**self.bits - 1)
        clipped = value.clamp(max((fmt.qmin - fmt.zero_point) * fmt.scale, low), high)
        return rounded(clipped / step) * step

    def _weight(self, name):
        if name != self.layer:
            return super()._weight(name)
        held = self.layers[name]
        reach = held.start.view(-1, 1, 1, 1) * held.limit
        step = reach / (2 ** (self.bits - 1) - 1)
        return rounded(torch.maximum(torch.minimum(held.weight, reach), -reach) / step) * step


def test_derivatives_by_bits_are_those_of_autograd(draft) -> None:
    x = tiny_pairs()[0].low
    probe = Probe(draft)
    targets = targets_of(probe, draft.network, x)
    layers, tensors = probe.by_bits(probe.look(x, targets))
    names = [("tensor", name) for name in list(tensors)[1:-1]] + [("layer", name) for name in layers]
    assert len(names) >= 4
    for kind, name in names:
        student = ByBits(draft, **{kind: name})
        (expected,) = torch.autograd.grad(distillation_loss(student, x, targets, LOSS), student.bits)
        assert (tensors if kind == "tensor" else layers)[name] == pytest.approx(float(expected), rel=2e-3, abs=1e-5)


def test_the_mean_over_batches_is_reproducible_and_says_that_bits_help(draft) -> None:
    layers, tensors = bit_gradients(draft, 1)
    assert (layers, tensors) == bit_gradients(draft, 1)
    assert sum(layers.values()) + sum(tensors.values()) < 0  # more bits, less loss


def test_other_bits_keep_the_ends(draft) -> None:
    graph, formats = draft.quantized.graph, draft.quantized.formats
    for node in graph.nodes[1:-2]:
        fmt = formats[node.name]
        assert of_bits(graph, node, fmt, Int(BITS)) == fmt
        other = of_bits(graph, node, fmt, Int(6))
        # The far end moves by no more than the rounding of the zero to a code.
        assert (other.qmax - other.zero_point) * other.scale == pytest.approx(
            (fmt.qmax - fmt.zero_point) * fmt.scale, abs=other.scale
        )
    probe, x = Probe(draft), tiny_pairs()[0].low
    for name, probed in probe.look(x, targets_of(probe, draft.network, x)).layers.items():
        layer = draft.quantized.layers[name]
        same = weights_of_bits(probed, Int(BITS))
        np.testing.assert_allclose(same, layer.weight * layer.scale.reshape(-1, 1, 1, 1), atol=1e-6)
        assert (weights_of_bits(probed, Int(8)) - probed.clipped).abs().max() < (same - probed.clipped).abs().max() / 8


def test_the_rank_rule_by_hand() -> None:
    """Five quantizers: ranks 0..4 give s of -1, -0.5, 0, 0.5, 1; halves round to zero. The most negative gets the bit."""
    assert offsets(np.array([0.3, -2.0, 0.1, -0.5, 0.0])).tolist() == [-1, 1, 0, 0, 0]
    eight = offsets(np.arange(8.0))
    assert (eight == 1).sum() == (eight == -1).sum() == 2
    assert eight.sum() == 0
    assert offsets(np.array([1.0])).tolist() == [0]


def test_scores_of_the_base_plan_add_up_to_the_noise_that_it_makes() -> None:
    """The proxy's unit, against the noise of the base plan simulated over whole pictures."""
    calibration, pairs = tiny_calibration((2, 4, 8), (4, 8), "mse"), tiny_pairs()
    damage = bit_gradient.measure(calibration, pairs, 0)
    base = calibration.space.uniform(4, 4)
    with torch.no_grad():
        errors = [
            255 * (calibration.simulate(base, pair.low) - execute(calibration.graph, pair.low)).clamp(-1, 1) for pair in pairs
        ]
    measured = float(np.mean([float(error.double().square().mean()) for error in errors]))
    assert float(damage.predicted_noise(np.array([list(base)]))[0]) == pytest.approx(measured, rel=0.5)
