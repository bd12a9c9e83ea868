"""Run directories of somebody else: nothing in them is executed, and nothing in them leads out of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_job import Job, answer, refusal

from hwmodels.errors import FileError
from hwsearch.documents.files import write_json
from hwsearch.documents.progress import Silent
from hwsearch.documents.reading import read_json
from hwsearch.pipeline import notes, optimize
from hwsearch.plans import choose_again, explain
from hwsearch.quality import log
from hwsearch.runs import damage_file, directory
from hwsearch.runs.directory import RunDirectory
from hwsearch.runs.run import Run
from hwsearch.search.predict import interactions
from searchspaces.space import matrix


@pytest.fixture
def run(job: Job, tmp_path: Path) -> Path:
    """A copy of a finished run on one device."""
    return shutil.copytree(job.folder / "run" / "stm32h743", tmp_path / "run")


def change(path: Path, edit: Callable[[Any], None]) -> None:
    document = read_json(path, "")
    edit(document)
    write_json(path, document)


def test_code_that_a_run_names_is_never_executed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark, code = run.parent / "executed", run / "evil.py"
    code.write_text(f"open({str(mark)!r}, 'w')\ndef build():\n    raise SystemExit\n")
    change(run / "run.json", lambda document: document["request"].update(model=f"{code}:build"))
    results = Run(run).results
    named = {plan.name for plan in results.front if plan.integers}
    first = str(run / "plans" / f"{results.front[0].name}.json")
    commands = [("explain", first), ("estimate", "--plan", first), ("front", str(run), "--budget", "latency=10s")]
    commands += [
        ("export", str(run / "plans" / f"{plan.name}.json"), "--out", str(run / "x.onnx"))
        for plan in results.front
        if plan.name not in named
    ][:1]
    for words in commands:
        assert f"--model {code}:build" in refusal(capsys, 2, *words)
    said = answer(capsys, "compare", first, first)
    assert any(f"--model {code}:build" in remark for remark in said["remarks"])
    (run / "results.json").unlink()
    assert f"--model {code}:build" in refusal(capsys, 2, "optimize", "--resume", str(run))
    assert not mark.exists()
    # What is not code is answered, and named by the person it runs.
    assert answer(capsys, "validate", first, "--runtime", "engine")["mismatched_codes"] == 0
    with pytest.raises(FileError, match="SystemExit"):
        Run(run, f"{code}:build").problem  # noqa: B018 (a property that poses the problem)
    assert mark.exists()


@pytest.mark.parametrize("name", ["/etc/hostname", "../secret.png", "crops/../../secret.png", "crops/link.png", "folder/x.png"])
def test_a_report_embeds_nothing_from_outside_the_run(run: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    secret = run.parent / "secret.png"
    secret.write_bytes(b"secret")
    (run / "crops" / "link.png").symlink_to(secret)
    (run / "folder").symlink_to(run.parent)
    shutil.copy(secret, run.parent / "x.png")
    change(run / "results.json", lambda document: document["crops"][0].update(high=name))
    (run / "report.html").unlink()
    refusal(capsys, 3, "report", str(run))
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("name", ["/tmp/hwsearch-abs", "../../x", "..", ".hidden", "", "a\x1b[31m", "x" * 300, "a\nb", "a\\b"])
def test_a_plan_cannot_name_a_place(run: Path, capsys: pytest.CaptureFixture[str], name: str, monkeypatch: Any) -> None:
    monkeypatch.chdir(run)
    before = sorted(run.parent.rglob("*"))
    path = run / "plans" / "plan-01.json"
    change(path, lambda document: document.update(name=name))
    assert "name" in refusal(capsys, 3, "export", str(path), "--to", "onnx")
    change(path, lambda document: document.update(name="plan-01", integers=name))
    assert "integers" in refusal(capsys, 3, "export", str(path), "--to", "onnx")
    assert sorted(run.parent.rglob("*")) == before


@pytest.mark.parametrize("name", [".lock", "evaluations.jsonl", "journal.log", "plans", "crops", "damage.json", "run.json"])
def test_nothing_is_written_through_a_link(run: Path, name: str) -> None:
    target = run.parent / "target"
    if (run / name).is_dir():
        (run / name).rename(target)
    else:
        target.write_bytes((run / name).read_bytes() or b"kept")
        (run / name).unlink()
    (run / name).symlink_to(target)
    before = target.stat()
    with pytest.raises(FileError, match="symbolic link"):
        RunDirectory.open(run)
    assert (target.stat().st_size, target.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_lock_is_not_emptied(run: Path) -> None:
    (run / ".lock").write_text("somebody's")
    RunDirectory.open(run).close()
    assert (run / ".lock").read_text() == "somebody's"


def test_a_log_that_lost_lines_is_measured_again_and_nothing_else_changes(
    job: Job, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy of a run at work has a journal that is longer than its log; and a damaged line is removed as the hint says."""
    path = run / "evaluations.jsonl"
    whole = path.read_text().splitlines(keepends=True)
    before = Run(run).results
    (run / "results.json").unlink()
    path.write_text("".join([*whole[:4], whole[4].replace('"quality_db": ', '"quality_db": 1'), *whole[5:-3]]))
    said = refusal(capsys, 3, "optimize", "--resume", str(run), "--model", job.model)
    assert "line 5 is damaged (its checksum does not match)" in said
    assert "Remove the line" in said
    path.write_text("".join([*whole[:4], *whole[5:-3]]))
    answer(capsys, "optimize", "--resume", str(run), "--model", job.model)
    after = Run(run).results
    assert after.points == before.points
    assert [(plan.name, plan.key, plan.measured) for plan in after.front] == [
        (plan.name, plan.key, plan.measured) for plan in before.front
    ]
    assert sorted(path.read_text().splitlines(keepends=True)) == sorted(whole)
    assert len(after.resumed) == 2  # the first of them ended with the damaged line


def test_a_log_of_another_run_is_refused(job: Job, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "evaluations.jsonl"
    lines = []
    for line in path.read_text().splitlines():
        told = json.loads(line)
        told["score"]["loss_db"] += 1
        lines.append(log._line(tuple(told["plan"]), told["score"]))
    path.write_text("".join(lines))
    (run / "results.json").unlink()
    assert "different runs" in refusal(capsys, 3, "optimize", "--resume", str(run), "--model", job.model)


def test_a_finished_run_is_gone_on_with_at_once(
    job: Job, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimize, "pose_search", None)
    before = (run / "results.json").read_bytes()
    (run / "report.html").unlink()
    said = answer(capsys, "optimize", "--resume", str(run), "--model", job.model)
    assert [entry["plan"] for entry in said["front"]] == [plan.name for plan in Run(run).results.front]
    assert (run / "results.json").read_bytes() == before
    assert (run / "report.html").exists()
    assert "seed: was 0, is 5" in refusal(capsys, 2, "optimize", "--resume", str(run), "--model", job.model, "--seed", "5")


def test_other_versions_are_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert notes.about_versions(Run(run)) == []
    now = Run(run).configuration.versions
    monkeypatch.setattr(directory, "versions", lambda: now | {"torch": "9.9"})
    with RunDirectory.open(run) as opened:
        opened.go_on()
        opened.go_on()
    (said,) = notes.about_versions(Run(run))
    assert f"torch {now['torch']} -> 9.9" in said
    assert said.count("->") == 1


def test_explain_and_front_predict_alike(job: Job, run: Path) -> None:
    """Both by the best damage table, calibrated by the log: put together here by hand."""
    found = Run(run, job.model)
    space = found.problem.space
    known = log.read(run / "evaluations.jsonl", space)
    best = max(found.results.proxies, key=lambda check: check.spearman).name
    prediction = interactions.calibrate(
        damage_file.load(run / "damage.json", space)[best],
        matrix(known),
        np.array([score.loss_db for score in known.values()]),
    )
    plan = found.results.front[0]
    row = space.plan(plan.weight_bits, plan.activation_bits)
    explained = explain.explain(run / "plans" / f"{plan.name}.json", Silent(), job.model)
    steps = 0
    for d, decision in enumerate(explained.decisions):
        for step in (decision.narrower, decision.wider):
            if step is not None:
                changed = np.array(row)
                changed[d] = space.widths(d).index(step.bits)
                told = prediction.loss_db(np.stack([row, changed]))
                assert step.loss_db == pytest.approx(told[1] - told[0], abs=1e-12)  # rows are summed side by side
                steps += 1
    assert steps >= len(explained.decisions)
    lowest = min(point.weight_bytes for point in found.results.points)
    picked = choose_again.pick(Run(run, job.model), {"weights": float(lowest)})
    if picked.predicted is not None:
        told = prediction.loss_db(matrix([picked.predicted.row]))[0]
        assert picked.predicted.predicted.loss_db == pytest.approx(told, abs=1e-12)
        assert picked.predicted.predicted.loss_is == "predicted"
