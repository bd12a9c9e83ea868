"""Plans of few bits are picked by what they lose once they are finished, and questions to the run answer alike."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from small_job import answer, laid_out

from hwsearch.cli import main
from hwsearch.documents.plan import Plan
from hwsearch.documents.results import Results
from hwsearch.pipeline import finalists
from hwsearch.quality.measurement import in_floating_point
from hwsearch.quant.engine.simulate import simulated
from hwsearch.quant.learn import polish
from hwsearch.quant.network import storage
from hwsearch.runs.run import Run

BUDGET = "weights=330B"
"""Between the weights of the small network at 4 bits and at 8."""


def words(folder: Path, *more: str) -> list[str]:
    found = ["optimize", "--model", f"{folder / 'net.py'}:build", "--scale", "2", "--input", "24x32", "--force"]
    found += ["--images", str(folder / "photos"), "--target", "stm32h743", "--weight-bits", "3,4,8", "--budget", BUDGET]
    return [*found, "--evaluations", "16", "--probes", "8", "--no-cache", "--quiet", "--json", *more]


@pytest.fixture(scope="module", autouse=True)
def short_polishing() -> Iterator[None]:
    """A tenth of the steps: what is picked is looked at, not how good it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(polish, "STEPS", 20)
        patch.setattr(polish, "STEPS_OF_BYTES", 12)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laid_out(tmp_path_factory.mktemp("finalists"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    assert main([*words(folder), "--out", str(folder / "run")]) == 0
    return Run(folder / "run", f"{folder / 'net.py'}:build")


def plans_of(results: Results) -> dict[str, Plan]:
    return {plan.name: plan for plan in results.front}


def test_the_plan_of_the_budget_loses_least_of_the_finished_ones(run: Run) -> None:
    found, plans = run.results.finalists, plans_of(run.results)
    assert len(found) == finalists.FINALISTS
    assert run.results.chosen["budget"] == min(found, key=lambda name: found[name])
    within = sorted(point.loss_db for point in run.results.points if point.weight_bytes <= 330)
    assert sorted(plans[name].predicted.loss_db for name in found) == within[: len(found)]
    assert all(plans[name].predicted.weight_bytes <= 330 for name in found)


def test_a_finalist_loses_on_the_search_pictures_what_is_said(run: Run) -> None:
    name = run.results.chosen["budget"]
    network = storage.load(run.path / "plans" / f"{name}.safetensors")
    judge = in_floating_point(run.problem, run.photos)
    assert judge.score(partial(simulated, network)).loss_db == pytest.approx(run.results.finalists[name], abs=1e-6)


def test_what_decided_is_told(run: Run) -> None:
    found = run.results.finalists
    (note,) = (note for note in run.results.notes if "before one was picked" in note)
    assert all(f"{name} {loss_db:.3f} dB" in note for name, loss_db in found.items())


def test_the_same_budget_asked_again_chooses_the_same_plan(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = answer(capsys, "front", str(run.path), "--model", f"{folder / 'net.py'}:build", "--budget", BUDGET)
    assert said["simulated"]["plan"] == run.results.chosen["budget"]


def test_none_is_finished_before_where_one_is_asked_for_or_a_loss_is_the_budget(folder: Path) -> None:
    """A loss is asked of what was simulated; of one finalist nothing is picked."""
    one = words(folder, "--finalists", "1", "--out", str(folder / "one"))
    assert main(one) == 0
    results = Run(folder / "one").results
    assert results.finalists == {}
    plans, within = plans_of(results), [p.loss_db for p in results.points if p.weight_bytes <= 330]
    assert plans[results.chosen["budget"]].predicted.loss_db == min(within)
    asked = [word if word != BUDGET else "loss=1dB" for word in words(folder, "--out", str(folder / "loss"))]
    assert main(asked) == 0
    assert Run(folder / "loss").results.finalists == {}
