"""Trainings that meet losses and derivatives that are no finite numbers: left out, told, and never handed back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import byte_ends
import numpy as np
import pytest
import torch
from dividing_network import Dividing

from hwmodels.errors import UsageError
from hwsearch.contracts import tiny_calibration, tiny_graph
from hwsearch.quant import methods
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.learn import bounds, held_out, polish, together, watched
from hwsearch.quant.learn.bit_gradients import bit_gradients
from hwsearch.quant.learn.distillation import FULL, Distillation, Phase
from hwsearch.quant.learn.features import of_directions
from hwsearch.quant.learn.kept import Kept
from hwsearch.quant.learn.reconstruct import reconstruct
from hwsearch.quant.learn.watched import IN_A_ROW, Watch
from hwsearch.quant.method import Draft
from hwsearch.quant.methods.learned import lsq, quantsr_plus, twodquant
from hwsearch.quant.network import storage
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from hwsearch.quant.network.storage import digest
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

Training = Callable[[Draft], QuantizedGraph]
SHORT = Distillation((Phase("all", 40, 1e-2, 1e-3),), 0.0, of_directions, 2, rank=FULL)
TRAININGS: dict[str, Training] = {
    "bounds": lambda draft: bounds.train(draft, SHORT),
    "lsq": lambda draft: bounds.train(draft, lsq.DISTILLATION),
    "twodquant": lambda draft: bounds.train(draft, twodquant.DISTILLATION),
    "quantsr_plus": lambda draft: bounds.train(draft, quantsr_plus.DISTILLATION),
    "polish": lambda draft: polish.polish(draft, steps=40),
    "together": lambda draft: together.train(draft, together.Hyperparameters(40)),
}


def draft_of(least: float) -> Draft:
    """The dividing network at 4 bits between pictures of 8."""
    graph = trace(Dividing(least=least), 1, "dividing")
    pictures = [torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(i)) for i in range(8)]
    space = build_space(to_workload(graph, 48, 48), (4, 8), (4, 8))
    return replace(byte_ends.draft_of(calibrate(graph, pictures, space, method="mse"), 4, 4), effort=0.01)


@pytest.fixture(scope="module")
def dividing() -> Draft:
    """In its 4 bits there is a division by zero."""
    return draft_of(1e-6)


def is_finite(plan: QuantizedGraph) -> bool:
    scales = [layer.scale for layer in plan.layers.values() if isinstance(layer, LayerIntegers)]
    return all(np.isfinite(scale).all() for scale in scales) and all(math.isfinite(fmt.scale) for fmt in plan.formats.values())


@pytest.mark.parametrize("name", TRAININGS)
def test_a_loss_that_is_no_number_is_told_and_nothing_of_it_is_handed_back(name: str, dividing: Draft) -> None:
    found = TRAININGS[name](dividing)
    (said,) = found.remarks
    assert "not finite" in said
    assert "at div:" in said
    assert is_finite(found)
    if said.endswith("the plan is kept as it was before."):
        assert digest(replace(found, remarks=())) == digest(dividing.quantized)
    else:
        assert said.endswith("what the other steps trained is kept.")
        assert digest(replace(found, remarks=())) != digest(dividing.quantized)


def test_a_training_without_such_steps_says_nothing() -> None:
    draft = draft_of(1.0)
    draft = replace(draft, quantized=replace(draft.quantized, remarks=("Something else.",)))
    for name in ("bounds", "polish", "together"):
        assert TRAININGS[name](draft).remarks == ("Something else.",)


def test_what_other_steps_trained_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third step has a loss that is no number; the others lower it."""
    draft, step, steps = draft_of(1.0), Watch.step, list[int]()

    def third_is_spoilt(self: Watch, optimizer: torch.optim.Optimizer, loss: float, spoilt: Callable[[], str]) -> None:
        steps.append(len(steps) + 1)
        if steps[-1] % 3 == 0:
            for group in optimizer.param_groups:
                for tensor in group["params"]:
                    tensor.grad = torch.full_like(tensor, torch.nan)
        step(self, optimizer, loss, spoilt)

    monkeypatch.setattr(Watch, "step", third_is_spoilt)
    found = TRAININGS["bounds"](draft)
    (said,) = found.remarks
    assert f"in {len(steps) // 3} of {len(steps)} steps, first in step 3 at " in said
    assert said.endswith("left these out, and what the other steps trained is kept.")
    assert digest(replace(found, remarks=())) != digest(draft.quantized)
    assert is_finite(found)


def watch_of(*tensors: torch.Tensor) -> tuple[Watch, torch.optim.Optimizer]:
    graph = tiny_graph()
    names = [node.name for node in graph.convs]
    return Watch(graph, zip(names, tensors, strict=False)), torch.optim.Adam([*tensors], 0.1)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1e30])
def test_derivatives_whose_squares_overflow_are_of_no_use(wrong: float) -> None:
    """Of Adam with 1e30 nothing would ever move again, and with the others nothing would be a number."""
    first, second = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    watch, optimizer = watch_of(first, second)
    first.grad, second.grad = torch.tensor([1.0, wrong]), torch.ones(2)
    watch.step(optimizer, 1.0, lambda: "")
    assert torch.equal(first, torch.ones(2))
    assert torch.equal(second, torch.ones(2))
    assert (watch.done, watch.left_out, watch.first, watch.place) == (1, 1, 1, tiny_graph().convs[0].name)
    first.grad, second.grad = torch.ones(2), torch.ones(2)
    watch.step(optimizer, 1.0, lambda: "")
    assert bool((first < 1).all())
    assert (watch.done, watch.left_out, watch.in_a_row) == (2, 1, 0)


def test_the_place_is_where_the_forward_pass_goes_wrong_or_the_backward_pass_does_first() -> None:
    tensors = [torch.ones(1, requires_grad=True) for _ in tiny_graph().convs]
    for spoilt, place in (("somewhere", "somewhere"), ("", tiny_graph().convs[len(tensors) - 1].name)):
        watch, optimizer = watch_of(*tensors)
        for tensor in tensors:
            tensor.grad = torch.tensor([math.nan])
        watch.step(optimizer, math.nan, lambda spoilt=spoilt: spoilt)
        assert watch.place == place


def test_a_training_ends_where_no_step_is_of_use(dividing: Draft) -> None:
    told: list[float] = []
    found = polish.polish(dividing, steps=200, progress=lambda what, share: told.append(share))
    assert len(told) == IN_A_ROW
    assert f"in {IN_A_ROW} of {IN_A_ROW} steps, first in step 1 at div" in found.remarks[0]
    assert f"ended after {IN_A_ROW} in a row" in found.remarks[0]


def test_a_training_that_goes_on_tells_what_it_met_before(
    dividing: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):
        pass

    def progress(what: str, share: float) -> None:
        told.append(share)
        if len(told) == 5:
            raise Stopped

    whole, told = TRAININGS["together"](dividing), list[float]()
    hyperparameters = together.Hyperparameters(40)
    with pytest.raises(Stopped):
        together.train(replace(dividing, kept=Kept(tmp_path, every_s=0)), hyperparameters, progress=progress)
    found = together.train(replace(dividing, kept=Kept(tmp_path, every_s=0)), hyperparameters, progress=lambda what, share: None)
    assert found.remarks == whole.remarks
    assert digest(found) == digest(whole)


def test_a_loss_that_is_no_number_is_the_worst(dividing: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "_lost_on", lambda x, found, network: math.nan)
    assert held_out.loss(dividing.quantized, dividing.pictures, dividing.network) == math.inf


def test_a_plan_that_begins_without_a_finite_loss_is_told(dividing: Draft) -> None:
    graph = dividing.quantized
    assert watched.told(graph, "bounds", [], trained=False, begun=1.0) is graph
    (said,) = watched.told(graph, "bounds", [], trained=False, begun=math.inf).remarks
    assert said.startswith("The plan that the training of bounds begins with has a loss that is not finite; the plan is kept")


@pytest.mark.parametrize("name", methods.names())
def test_what_is_said_of_a_plan_stays_said_whatever_finishes_it(name: str) -> None:
    calibration = tiny_calibration((4, 8), (4, 8), name)
    draft = calibration.draft(calibration.space.uniform(4, 8))
    said = replace(draft, quantized=replace(draft.quantized, remarks=("One.",)), effort=0.01)
    assert calibration._cache.method.finish(said, 0).remarks == ("One.",)


def test_remarks_go_with_the_file_of_integers(dividing: Draft, tmp_path: Path) -> None:
    plan = replace(dividing.quantized, remarks=("One.", "Two."))
    storage.save(plan, tmp_path / "plan.safetensors")
    assert storage.load(tmp_path / "plan.safetensors").remarks == ("One.", "Two.")
    assert digest(plan) != digest(dividing.quantized)


def test_fits_divide_as_integers_do_and_bits_without_derivatives_are_refused(dividing: Draft) -> None:
    fitted = reconstruct(dividing)
    assert is_finite(fitted)
    assert held_out.loss(fitted, dividing.pictures, dividing.network) < math.inf
    with pytest.raises(UsageError, match="no finite derivatives"):
        bit_gradients(dividing)
