"""Formats that are not trained, in one pass, and windows one after the other: the values and gradients of the plain way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from hwsearch.contracts import tiny_calibration
from hwsearch.quant.learn.bounds import Student, distillation_loss, propagate, targets_of
from hwsearch.quant.learn.distillation import Distillation
from hwsearch.quant.learn.features import of_directions, of_energies, of_lengths, of_units
from hwsearch.quant.learn.quantizers.grid import on_given_grid
from hwsearch.quant.learn.quantizers.straight_through import rounded


@pytest.mark.parametrize("spread", [0.5, 3.0], ids=["nothing is clipped", "values are clipped"])
@pytest.mark.parametrize("lies", ["whole", "turned", "with gaps", "shared"])
def test_a_given_grid_in_one_pass(spread: float, lies: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(2, 6, 5, 4, generator=generator) * 2 - 1) * spread
    x = {"whole": x, "turned": x.permute(0, 2, 3, 1), "with gaps": x[:, ::2], "shared": x[:1].expand(3, 6, 5, 4)}[lies]
    found = []
    for one_pass in (True, False):
        leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_() if lies != "shared" else x.requires_grad_()
        y = on_given_grid(leaf, 0.013, -77, 90) if one_pass else rounded((leaf / 0.013).clamp(-77, 90)) * 0.013
        (gradient,) = torch.autograd.grad((y * torch.arange(y.numel()).view(y.shape)).sum(), leaf)
        found.append((y.detach(), gradient))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert bool((found[0][1].flatten()[1:] == 0).any()) == (spread > 1)  # the first is weighed by 0


def test_what_is_no_number_stays_none() -> None:
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0], requires_grad=True)
    y = on_given_grid(x, 0.5, -4, 3)
    assert np.array_equal(y.detach().numpy(), [np.nan, 1.5, -2.0, 0.0], equal_nan=True)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("distance", [of_directions, of_energies, of_units, of_lengths])
def test_windows_one_after_the_other_have_the_derivatives_of_a_batch(distance) -> None:
    calibration = tiny_calibration((4, 8), (4, 8), "minmax")
    draft = calibration.draft(calibration.space.uniform(4, 4))
    distillation = Distillation((), 5.0, distance, 3)
    student, windows = Student(draft, distillation), draft.windows(12)
    targets = targets_of(student, draft.target, windows)

    def loss_of(chosen: Tensor) -> Tensor:
        return distillation_loss(student, windows[chosen], {name: t[chosen] for name, t in targets.items()}, distillation)

    found = []
    for at_once in (3, 1):
        for numbers in student.parameters("all"):
            numbers.grad = None
        propagate(loss_of, torch.tensor([0, 2, 1]), at_once)
        found.append(torch.cat([numbers.grad.flatten() for numbers in student.parameters("all") if numbers.grad is not None]))
    whole, parted = found
    assert len(whole) > 10
    assert float((whole - parted).norm() / whole.norm()) < 1e-3  # where sums end in another order, a code may tip


def test_features_that_count_by_the_batch_are_not_parted() -> None:
    calibration = tiny_calibration((4, 8), (4, 8), "minmax")
    draft = calibration.draft(calibration.space.uniform(4, 4))
    distillation = Distillation((), 5.0, of_directions, 3)
    for several, by_sensitivity, at_once in ((True, False, 3), (False, False, 1), (False, True, 3)):
        student = Student(draft, replace(distillation, by_sensitivity=by_sensitivity))
        student._several = several
        assert student.at_once(3) == at_once
