"""A training whose loss is not finite is told where its plan is: in the comparison, the run, the plan and who opens it."""

from __future__ import annotations

import shutil
from pathlib import Path

import dividing_network
import pytest
from small_job import answer

from hwsearch.cli import main
from hwsearch.plans import plan_file
from hwsearch.runs.run import Run

SAID = "met a loss or derivatives that are not finite"


@pytest.fixture
def model(tmp_path: Path) -> tuple[str, ...]:
    shutil.copy(dividing_network.__file__, tmp_path / "net.py")
    return ("--model", f"{tmp_path / 'net.py'}:build")


def test_a_comparison_tells(model: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("methods", "compare", *model, "--scale", "2", "--target", "bitserial-npu", "--input", "24x32", "--bits", "4/4")
    words = (*words, "--scope", "not-first-last", "--pictures", "1", "--effort", "0.01", "--method", "lsq", "--method", "mse")
    found = answer(capsys, *words)
    trained, plain = found["rows"]
    assert SAID in trained["remarks"][0]
    assert plain["remarks"] == []
    assert main([*words, "--quiet"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"lsq at W4A4: {trained['remarks'][0]}" in said


def test_a_run_and_its_plans_tell(model: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["optimize", *model, "--scale", "2", "--target", "bitserial-npu", "--input", "24x32", "--force", "--no-cache"]
    words += ["--scope", "not-first-last", "--weight-bits", "4", "--activation-bits", "4", "--method", "lsq"]
    assert main([*words, "--probes", "8", "--evaluations", "8", "--out", str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    results = Run(tmp_path / "run").results
    plans = [plan for plan in results.front if plan.remarks]
    assert plans
    for plan in plans:
        assert SAID in plan.remarks[0]
        assert f"{plan.name}: {plan.remarks[0]}" in said
        assert f"{plan.name}: {plan.remarks[0]}" in results.notes
        path = tmp_path / "run" / "plans" / f"{plan.name}.json"
        assert plan_file.load(path) == plan
        assert main(["explain", str(path), *model]) == 0
        assert SAID in " ".join(capsys.readouterr().err.split())
