"""All numbers of a plan trained together: gradients, a student that computes what its integers compute, what training gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from byte_ends import draft_of
from shipped_plan import shipped_plan

from hwmodels.numbers import Int
from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.simulate import simulated
from hwsearch.quant.learn.quantizers.grid import on_grid
from hwsearch.quant.learn.quantizers.straight_through import rounded
from hwsearch.quant.learn.together import Hyperparameters, Student, Windows, contrasted, train

QUICK = Hyperparameters(steps=60, fewest=60)


@pytest.fixture(scope="module")
def calibration():
    return tiny_calibration((3, 4, 8), (3, 4, 8), "together")


@pytest.mark.parametrize("size", [1, 63, 64, 1000])
def test_one_pass_gives_what_torch_gives_step_by_step(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    x = (2 * torch.randn(size, generator=generator)).requires_grad_()
    weights = torch.randn(size, generator=generator)
    for top, step_of, zero_of in ((15, 0.3, 4.0), (3, 0.7, 0.0), (255, 0.01, 128.0)):
        found = []
        for one_pass in (True, False):
            step, zero = (torch.tensor(value, requires_grad=True) for value in (step_of, zero_of))
            y = on_grid(x, step, zero, top) if one_pass else ((rounded(x / step) + zero).clamp(0, top) - zero) * step
            # torch lets the gradient of a clamp pass at the end itself, as we do.
            found.append((y.detach(), *torch.autograd.grad((weights * y).sum(), (x, step, zero))))
        assert torch.equal(found[0][0], found[1][0])
        for ours, theirs in zip(found[0][1:], found[1][1:], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * size**0.5)


@pytest.mark.parametrize(("weights", "tensors"), [(3, 3), (4, 4), (4, 8)])
def test_training_begins_with_the_integers_it_is_given(calibration, weights: int, tensors: int) -> None:
    draft = draft_of(calibration, weights, tensors)
    begun = Student(draft).quantized()
    for name, layer in draft.quantized.layers.items():
        assert np.array_equal(begun.layers[name].weight, layer.weight)
        np.testing.assert_allclose(begun.layers[name].scale, layer.scale, rtol=1e-6)
        # A bias may be a unit of the sums off: its unit is that of a step in single precision.
        assert np.abs(begun.layers[name].bias - layer.bias).max() <= 1
    for name, fmt in draft.quantized.formats.items():
        assert (begun.formats[name].qmin, begun.formats[name].qmax) == (fmt.qmin, fmt.qmax)
        assert (begun.formats[name].zero_point, begun.formats[name].bits) == (fmt.zero_point, fmt.bits)
        assert begun.formats[name].scale == pytest.approx(fmt.scale, rel=1e-6)


@pytest.mark.parametrize(("weights", "tensors"), [(3, 3), (4, 4), (4, 8)])
def test_the_student_computes_what_its_integers_compute(calibration, weights: int, tensors: int) -> None:
    student = Student(draft_of(calibration, weights, tensors))
    generator = torch.Generator().manual_seed(0)
    for group in student.groups(Hyperparameters()):
        for change in group["params"]:
            change.data += 0.1 * torch.randn(change.shape, generator=generator)
    quantized, x = student.quantized(), tiny_pairs()[0].low
    with torch.no_grad():
        output = student(x, student.graph.at(*x.shape[2:]))
    for theirs in (integer.run(quantized, x), simulated(quantized, x)):
        codes = (output - theirs).abs() / quantized.formats[student.graph.output.name].scale
        assert float((codes > 0.5).float().mean()) < 0.01
    for layer in quantized.layers.values():
        assert np.abs(layer.weight.astype(int)).max() <= Int(layer.bits).narrow_limit


def test_what_the_output_says_reaches_every_number(calibration) -> None:
    student, x = Student(draft_of(calibration, 4, 4)), tiny_pairs()[0].low
    loss = student(x, student.graph.at(*x.shape[2:])).square().mean()
    numbers = [change for group in student.groups(Hyperparameters()) for change in group["params"]]
    assert len(numbers) == 3 * len(student.layers) + len(student.tensors) > 6
    assert all(float(gradient.abs().max()) > 0 for gradient in torch.autograd.grad(loss, numbers))


@pytest.mark.parametrize("tensors", [4, 8])
def test_nothing_crosses_a_step_of_a_tensor_at_once(calibration, tensors: int) -> None:
    """Adam moves what it trains by its rate at most, about."""
    student = Student(draft_of(calibration, 4, tensors))
    rates = {id(change): group["lr"] for group in student.groups(Hyperparameters()) for change in group["params"]}
    for name, layer in student.layers.items():
        assert 0.01 < rates[id(layer.bias_change)] * layer._unit / student.start.formats[name].scale < 0.2
    for ends in student.tensors.values():
        assert 0.01 < rates[id(ends.change)] * ends.grid.levels < 0.2
    fastest = max(rates[id(layer.steps)] for layer in student.layers.values())  # the output has 8 bits in any case
    assert fastest == pytest.approx(Hyperparameters().weights / (1 if tensors == 4 else 2))


@pytest.mark.parametrize(("effort", "steps"), [(0.5, 4), (1.0, 4), (3.0, 12)])
def test_more_effort_than_usual_takes_more_steps_than_usual(calibration, effort: float, steps: int) -> None:
    shares: list[float] = []
    hyperparameters = Hyperparameters(steps=4, fewest=1, macs=1e12)
    train(replace(draft_of(calibration, 4, 4), effort=effort), hyperparameters, progress=lambda what, share: shares.append(share))
    assert len(shares) == steps


def test_training_brings_the_shipped_network_nearer_on_photos_it_did_not_see() -> None:
    draft, noise = shipped_plan(4, "mse")
    trained = train(draft, QUICK)
    assert noise(trained) < 0.75 * noise(draft.quantized)
    assert all(trained.formats[name].bits == fmt.bits for name, fmt in draft.quantized.formats.items())
    assert all(trained.layers[name].bits == layer.bits for name, layer in draft.quantized.layers.items())


def test_the_same_seed_gives_the_same_integers(calibration) -> None:
    draft, hyperparameters = draft_of(calibration, 3, 3), Hyperparameters(steps=5, fewest=5)
    first, again = (train(draft, hyperparameters, seed=1) for _ in range(2))
    assert all(np.array_equal(again.layers[name].weight, layer.weight) for name, layer in first.layers.items())


def test_training_that_does_harm_is_undone(calibration) -> None:
    draft = draft_of(calibration, 4, 4)
    assert train(draft, replace(QUICK, steps=5, fewest=5, ends=3.0, weights=5.0)) is draft.quantized


def test_windows_are_pieces_of_the_pictures_turned_and_mirrored(calibration) -> None:
    picture = 0.4 + torch.arange(60 * 50, dtype=torch.float32).view(1, 1, 60, 50) / 30_000  # no contrast reaches 0 or 1
    windows = Windows(calibration.graph, [picture], 0)
    assert windows.size == (48, 48)
    turned, gains = set(), []
    for window in torch.cat([windows() for _ in range(40)])[:, 0]:
        down, right = (float(beside - window[0, 0]) * 30_000 for beside in (window[1, 0], window[0, 1]))
        gains.append(min(abs(down), abs(right)))
        assert max(abs(down), abs(right)) == pytest.approx(50 * gains[-1], rel=1e-2)
        turned.add((abs(down) > abs(right), down > 0, right > 0))
    assert len(turned) == 8
    assert min(gains) == pytest.approx(1, rel=1e-2)
    assert 1.5 < max(gains) < 2.02
    flat = Windows(calibration.graph, [picture[:, :, :30]], 0)
    assert flat.size == (30, 48)
    for window in torch.cat([flat() for _ in range(10)])[:, 0]:
        down, right = (abs(float(beside - window[0, 0])) for beside in (window[1, 0], window[0, 1]))
        assert down > 10 * right


def test_contrast_is_about_the_mean_of_each_picture_and_cut() -> None:
    x = torch.tensor([[0.0, 0.2], [0.4, 0.6]]).view(2, 1, 1, 2)
    expected = torch.tensor([[0.0, 0.3], [0.3, 0.7]]).view(2, 1, 1, 2)
    torch.testing.assert_close(contrasted(x, 2.0), expected)
