"""A plan whose training is stopped is finished by the next run that wants it, from where it was, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwmodels.parts import settings
from hwsearch.plans import compare_methods
from hwsearch.problem.pictures import Pictures, choose_pictures
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.learn import kept
from hwsearch.quant.network.storage import digest
from hwsearch.runs import plan_cache


class Stopped(BaseException):
    """As Ctrl-C is: nothing catches it."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(settings.HOME, str(tmp_path))
    monkeypatch.setattr(kept.Kept, "__init__", _every_step)
    return tmp_path


def _every_step(self: kept.Kept, folder: Path) -> None:
    self.folder, self.every_s, self.earlier_s = folder, 0.0, 0.0


@pytest.fixture(scope="module")
def posed() -> tuple[Calibration, Pictures]:
    request = Request(target="bitserial-npu", scope="not-first-last", methods=("nearest",))
    problem = pose(request)
    photos = choose_pictures(request, problem.network)
    return calibrate(problem.graph, [crop.low for crop in photos.crops[:2]], problem.space, method="nearest"), photos


def stopping_at(step: int):
    told: list[float] = []

    def progress(what: str, share: float) -> None:
        told.append(share)
        if len(told) == step:
            raise Stopped

    return told, progress


def test_a_stopped_plan_goes_on_and_is_kept(home: Path, posed: tuple[Calibration, Pictures]) -> None:
    calibration, photos = posed
    plan = calibration.space.uniform(4, 4)
    whole, progress = stopping_at(0)
    wanted = calibration.finished(plan, seed=1, progress=progress)
    with pytest.raises(Stopped):
        plan_cache.Plans(kept=True).finished(calibration, plan, photos, 1, stopping_at(15)[1])
    (folder,) = (home / "trainings").iterdir()
    assert folder.name == plan_cache.name_of(calibration, plan, photos, 1)
    assert [file.name for file in folder.iterdir()] == ["polish.safetensors"]
    assert not list((home / "plans").glob("*"))
    plans, (told, progress) = plan_cache.Plans(kept=True), stopping_at(0)
    assert digest(plans.finished(calibration, plan, photos, 1, progress)) == digest(wanted)
    assert len(told) == len(whole) - 14
    assert not list((home / "trainings").iterdir())
    told, progress = stopping_at(0)
    assert digest(plans.finished(calibration, plan, photos, 1, progress)) == digest(wanted)
    assert (plans.taken, told) == (1, [])


def test_another_seed_or_effort_is_another_training(posed: tuple[Calibration, Pictures]) -> None:
    calibration, photos = posed
    plan = calibration.space.uniform(4, 4)
    names = {plan_cache.name_of(calibration, plan, photos, seed, effort) for seed in (0, 1) for effort in (0.5, 1.0)}
    assert len(names | {plan_cache.name_of(calibration, calibration.space.uniform(8, 8), photos, 0)}) == 5


def test_only_the_newest_of_stopped_trainings_stay(home: Path) -> None:
    for i in range(plan_cache.KEPT_TRAININGS + 3):
        (home / "trainings" / f"stopped-{i}").mkdir(parents=True)
    with plan_cache.training("another"):
        pass
    assert len(list((home / "trainings").iterdir())) == plan_cache.KEPT_TRAININGS


def test_a_comparison_that_is_stopped_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compared() -> list[float]:
        request = Request(target="bitserial-npu", scope="not-first-last")
        return compare_methods.compare(request, [(4, 4)], ["lsq"], pictures=1, effort=0.01).rows[0].losses_db

    usual = kept.steps

    def stopped(*asked):
        for step in usual(*asked):
            if step == 7:
                raise Stopped
            yield step

    monkeypatch.setattr(kept, "steps", stopped)
    with pytest.raises(Stopped):
        compared()
    assert list((home / "trainings").glob("*/bounds-0-0.safetensors"))
    done: list[int] = []

    def counted(*asked):
        for step in usual(*asked):
            done.append(step)
            yield step

    monkeypatch.setattr(kept, "steps", counted)
    found = compared()
    assert done[0] == 7
    assert not list((home / "trainings").iterdir())
    done.clear()
    assert compared() == found
    assert done[0] == 0
