"""Runs whose files were damaged: what can be made again is, and else it is said what to remove."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_job import TARGETS, Job, answer, refusal


@pytest.fixture
def run(job: Job, tmp_path: Path) -> Path:
    return shutil.copytree(job.folder / "run" / TARGETS[0], tmp_path / "run")


def test_a_plan_that_is_cut_short_is_written_again(job: Job, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = run / "plans" / "plan-01.json"
    whole = plan.read_text()
    plan.write_text(whole[:100])
    answer(capsys, "optimize", "--resume", str(run), "--model", job.model)
    assert answer(capsys, "estimate", "--plan", str(plan), "--model", job.model)["plan"] == "plan-01"


@pytest.mark.parametrize("name", ["results.json", "damage.json", "clock.json"])
def test_a_file_that_can_be_made_again_is_named(job: Job, run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run / name).write_text('{"a": ')
    if name != "results.json":
        (run / "results.json").unlink()
    said = refusal(capsys, 3, "optimize", "--resume", str(run), "--model", job.model)
    assert name in said
    assert "remove it, and" in said
    (run / name).unlink()
    assert answer(capsys, "optimize", "--resume", str(run), "--model", job.model)["front"]
