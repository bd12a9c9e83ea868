"""Bounds that are trained: gradients by hand, and a student that computes what its integers compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hwmodels.numbers import Int
from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.quant.engine import integer
from hwsearch.quant.learn.bounds import Student, train
from hwsearch.quant.learn.distillation import FULL, Distillation, Phase
from hwsearch.quant.learn.features import of_directions, of_energies
from hwsearch.quant.learn.quantizers.ends import Ends
from hwsearch.quant.learn.quantizers.weights import Weights
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers


def test_gradients_of_the_ends_by_hand() -> None:
    """Codes 0..3 with zero at 1 and a step of 0.5: the ends are -0.5 and 1. The step is a third of their distance."""
    ends = Ends(TensorFormat(Int(2), 0.5, 1, 0, 3))
    x = torch.tensor([2.0, -3.0, 0.6, -0.1])
    values = ends.fake(x)
    assert values.tolist() == [1.0, -0.5, 0.5, 0.0]
    expected = {0: (0, 1), 1: (1, 0), 2: (0.2 / 3, -0.2 / 3), 3: (-0.2 / 3, 0.2 / 3)}  # e: 1 - 1.2 and 0 - (-0.2)
    for at, (to_low, to_high) in expected.items():
        (gradient,) = torch.autograd.grad(ends.fake(x)[at], ends.change)
        # What is trained is a logarithm: the derivative by an end, times the end.
        assert gradient.tolist() == pytest.approx([to_low * -0.5, to_high * 1.0], abs=1e-6)


def test_a_range_with_one_side_keeps_its_beginning() -> None:
    ends = Ends(TensorFormat(Int(4), 0.1, 0, 0, 15))
    with torch.no_grad():
        ends.change += torch.tensor([0.3, 0.3])
    fmt = ends.format()
    assert (fmt.zero_point, fmt.qmin, fmt.qmax) == (0, 0, 15)
    assert fmt.scale == pytest.approx(0.1 * np.exp(0.3))


@pytest.mark.parametrize("bits", [(2, 4), (4, 4), (4, 8)])
def test_the_student_computes_what_its_integers_compute(bits: tuple[int, int]) -> None:
    calibration = tiny_calibration((2, 4, 8), (4, 8), "minmax")
    student = Student(calibration.draft(calibration.space.uniform(*bits)))
    generator = torch.Generator().manual_seed(0)
    for change in student.parameters("all"):
        change.data += 0.1 * torch.randn(change.shape, generator=generator)
    quantized, x = student.quantized(), tiny_pairs()[0].low
    with torch.no_grad():
        output, _ = student(x)
    codes = (output - integer.run(quantized, x)).abs() / quantized.formats[quantized.graph.output.name].scale
    assert float((codes > 0.5).float().mean()) < 0.01


def test_what_the_output_says_reaches_every_bound() -> None:
    """The picture at the end is rounded, too: that must not keep its gradient from what is behind it."""
    calibration = tiny_calibration((4, 8), (4, 8), "minmax")
    student = Student(calibration.draft(calibration.space.uniform(4, 4)))
    output, _ = student(tiny_pairs()[0].low)
    gradients = torch.autograd.grad(output.square().mean(), student.parameters("all"))
    assert len(gradients) == len(student.tensors) + len(student.layers) > 4
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients)


@pytest.mark.parametrize("distance", [of_directions, of_energies])
def test_training_brings_the_output_nearer(distance) -> None:
    """Ranges four times too wide, in 4 bits, but for the pictures at both ends: their training is easy to see."""
    calibration = tiny_calibration((4, 8), (4, 8), "minmax")
    space, x = calibration.space, tiny_pairs()[0].low
    weights, tensors = space.named(space.uniform(8, 4))
    groups = calibration.graph.width_groups()
    ends = {groups[calibration.graph.input.name], groups[calibration.graph.output.name]}
    plan = space.plan(weights, tensors | dict.fromkeys(ends, 8))
    draft = calibration.draft(plan)
    with torch.no_grad():
        student = Student(draft)
        for ends in student.tensors.values():
            ends.start *= 4
    wide = type(draft)(student.quantized(), draft.network, draft.pictures)
    trained = train(wide, Distillation((Phase("tensors", 60, 5e-2, 5e-3),), 1.0, distance, 2))
    target = integer.run(calibration.quantized(calibration.space.uniform(8, 8)), x)
    before, after = (float((integer.run(found, x) - target).square().mean()) for found in (wide.quantized, trained))
    assert after < 0.7 * before
    assert all(np.array_equal(trained.layers[name].scale, layer.scale) for name, layer in wide.quantized.layers.items())


def test_distances_by_hand() -> None:
    f, g = torch.tensor([[[3.0]], [[4.0]]])[None], torch.tensor([[[4.0]], [[3.0]]])[None]  # [1, 2, 1, 1]
    assert float(of_directions(f, g)) == pytest.approx(np.sqrt(2) / 5)
    assert float(of_energies(f, g)) == 0  # the energy of both lies in the one pixel that there is
    f, g = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
    assert float(of_energies(f, g)) == 1


def test_what_is_added_to_a_single_weight_is_in_units_of_itself() -> None:
    """A single weight has no deviation."""
    integers = LayerIntegers(4, np.full((1, 1, 1, 1), 7, np.int8), np.float32([0.1]), np.zeros(1, np.int32))
    layer = Weights(integers, torch.full((1, 1, 1, 1), -0.7), TensorFormat(Int(8), 0.1, 0, 0, 255), FULL)
    assert layer.increment is not None
    assert layer.weight.tolist() == [[[[pytest.approx(-0.7)]]]]
    with torch.no_grad():
        layer.increment[0].fill_(0.5)
    assert layer.weight.tolist() == [[[[pytest.approx(-0.35)]]]]
