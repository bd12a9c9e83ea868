"""QuantSR+: decisions bit by bit as published, their gradient by hand, and a training whose integers compute what was trained."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.quant.engine import integer
from hwsearch.quant.learn.bounds import Student, train
from hwsearch.quant.learn.distillation import Phase
from hwsearch.quant.learn.quantizers.decisions import DecidedWeights, decided
from hwsearch.quant.methods.learned import lsq
from hwsearch.quant.methods.learned.quantsr_plus import DISTILLATION


@pytest.fixture(scope="module")
def calibration():
    return tiny_calibration((2, 4, 8), (4, 8), "quantsr_plus")


def published(v: float, slopes: list[float], thresholds: list[float]) -> int:
    """The rule as it is written down, one number at a time."""
    signs: dict[int, int] = {}
    for i in reversed(range(len(slopes))):
        left = v - sum(sign * slopes[j] * 2**j for j, sign in signs.items())
        signs[i] = 1 if left * slopes[i] - thresholds[i] >= 0 else -1
    return sum(sign * 2**i for i, sign in signs.items())


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_decisions_are_the_published_ones(bits: int) -> None:
    random = np.random.default_rng(bits)
    slopes, thresholds = random.uniform(0.7, 1.3, bits), random.normal(0, 0.3, bits)
    v = torch.from_numpy(random.uniform(-(2**bits) - 1, 2**bits + 1, 500).astype(np.float32))
    found = decided(v, *(torch.tensor(each, dtype=torch.float32) for each in (slopes, thresholds)))
    assert found.tolist() == [published(float(x), [*slopes], [*thresholds]) for x in v]


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_they_begin_as_the_nearest_of_all_codes(bits: int) -> None:
    v = torch.linspace(-(2**bits) - 2, 2**bits + 2, 997) + 0.003  # none half-way
    odd = torch.arange(1 - 2**bits, 2**bits, 2)
    nearest = odd[(v[:, None] - odd).abs().argmin(dim=1)]
    assert decided(v, torch.ones(bits), torch.zeros(bits)).tolist() == nearest.tolist()


def test_the_gradient_by_hand() -> None:
    """Two bits: n changes at B_1 / S_1 and, above and below it, at B_0 / S_0 beyond 2 S_1; the curve there is
    tanh((v - T) / 2) / tanh(1 / 2)."""
    slopes = torch.tensor([0.8, 1.1], requires_grad=True)
    thresholds = torch.tensor([0.2, 0.1], requires_grad=True)
    v = torch.tensor([2.5, 0.3, 9.0], requires_grad=True)
    above = 2 * 1.1 + 0.2 / 0.8
    steepness = [0.5 / math.cosh(apart / 2) ** 2 / math.tanh(0.5) for apart in (2.5 - above, 0.3 - 0.1 / 1.1)]
    found = decided(v, slopes, thresholds)
    assert found.tolist() == [3, 1, 3]
    by_v, by_slopes, by_thresholds = torch.autograd.grad(found[0], (v, slopes, thresholds), retain_graph=True)
    assert by_v.tolist() == pytest.approx([steepness[0], 0, 0])
    assert by_slopes.tolist() == pytest.approx([steepness[0] * 0.2 / 0.8**2, -2 * steepness[0]])
    assert by_thresholds.tolist() == pytest.approx([-steepness[0] / 0.8, 0])
    by_v, by_slopes, by_thresholds = torch.autograd.grad(found[1], (v, slopes, thresholds), retain_graph=True)
    assert by_v.tolist() == pytest.approx([0, steepness[1], 0])
    assert by_slopes.tolist() == pytest.approx([0, steepness[1] * 0.1 / 1.1**2])
    assert by_thresholds.tolist() == pytest.approx([0, -steepness[1] / 1.1])
    assert float(torch.autograd.grad(found[2], v)[0].abs().max()) == 0  # beyond the last level nothing changes


def test_all_codes_of_the_width_are_used_and_compute_what_was_trained(calibration) -> None:
    student, x = Student(calibration.draft(calibration.space.uniform(2, 8)), DISTILLATION), tiny_pairs()[0].low
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in student.parameters("all"):
            part.add_(0.3 * torch.randn(part.shape, generator=generator))
        output, quantized = student(x)[0], student.quantized()
    inner = [name for name, layer in student.layers.items() if isinstance(layer, DecidedWeights)]
    assert {int(code) for name in inner for code in np.unique(quantized.layers[name].weight)} == {-2, -1, 0, 1}
    codes = (output - integer.run(quantized, x)).abs() / quantized.formats[quantized.graph.output.name].scale
    assert float((codes > 0.5).float().mean()) < 0.01


def test_layers_of_bytes_keep_to_the_narrow_range(calibration) -> None:
    student = Student(calibration.draft(calibration.space.uniform(8, 8)), DISTILLATION)
    assert not any(isinstance(layer, DecidedWeights) for layer in student.layers.values())


def test_training_brings_the_output_nearer_and_moves_decisions(calibration) -> None:
    draft = calibration.draft(calibration.space.uniform(2, 8))
    distillation = replace(DISTILLATION, phases=(Phase("all", 80, 2e-2, 5e-3),))
    trained, x = train(draft, distillation), tiny_pairs()[0].low
    target = integer.run(calibration.quantized(calibration.space.uniform(8, 8)), x)
    before, after = (float((integer.run(found, x) - target).square().mean()) for found in (draft.quantized, trained))
    assert after < before


def test_its_baseline_trains_as_many_steps() -> None:
    assert (DISTILLATION.phases, DISTILLATION.batch, DISTILLATION.rank) == (
        lsq.DISTILLATION.phases,
        lsq.DISTILLATION.batch,
        lsq.DISTILLATION.rank,
    )
