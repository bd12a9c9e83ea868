"""Every command that shows a latency says how far it may be off, or that nothing was measured: on screen and for machines."""

from __future__ import annotations

import pytest
from small_job import TARGETS, Job, answer

from hwsearch.cli import main
from hwsearch.documents import units

UNKNOWN = TARGETS[0]


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints, on one line."""
    capsys.readouterr()
    assert main([*words]) == 0
    return " ".join(capsys.readouterr().out.split())


def never_measured(text: str) -> bool:
    before, after = units.NEVER_MEASURED.split("{}")
    return before in text and after in text


def question(job: Job, name: str, target: str = UNKNOWN) -> list[str]:
    run, model = job.folder / "run", ["--model", job.model]
    plans = [job.plan(UNKNOWN, plan) for plan in ("plan-01", "plan-02")]
    return {
        "estimate": ["estimate", *model, "--scale", "2", "--target", target, "--input", "24x32"],
        "explain": ["explain", plans[0], *model],
        "compare": ["compare", *plans, *model],
        "front": ["front", str(run / UNKNOWN), *model, "--budget", "latency=100s"],
        "optimize": ["optimize", "--resume", str(run / UNKNOWN), *model],
        "several": ["front", str(run), *model],
        "several within": ["front", str(run), *model, "--budget", "latency=100s"],
    }[name]


@pytest.mark.parametrize("name", ["estimate", "explain", "compare", "front", "optimize", "several", "several within"])
def test_a_device_without_measurements_is_marked_on_screen(job: Job, capsys: pytest.CaptureFixture[str], name: str) -> None:
    said = shown(capsys, *question(job, name))
    assert never_measured(said) or units.NO_MEASUREMENT in said


@pytest.mark.parametrize(("target", "words"), [("hexagon", "(90 %: "), ("tesla-t4", units.FEW_MEASUREMENTS)])
def test_others_have_an_interval_or_a_reason(job: Job, capsys: pytest.CaptureFixture[str], target: str, words: str) -> None:
    said = shown(capsys, *question(job, "estimate", target))
    assert words in said
    assert units.NO_MEASUREMENT not in said


def test_for_machines(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    estimated, explained = (answer(capsys, *question(job, name)) for name in ("estimate", "explain"))
    chosen = answer(capsys, *question(job, "front"))["chosen"]
    (compared,) = answer(capsys, *question(job, "compare"))["devices"]
    found, several = (answer(capsys, *question(job, name)) for name in ("optimize", "several"))
    for priced in (estimated, explained["price"], chosen, *found["front"], *several["table"]):
        assert (priced["trust"]["compared"], priced["trust"]["interval_s"]) == (False, None)
    assert compared["trust"]["compared"] == found["trust"]["compared"] is False
    measured = answer(capsys, *question(job, "estimate", "hexagon"))
    low_s, high_s = measured["trust"]["interval_s"]
    assert low_s < measured["predicted"]["latency_s"] < high_s


def test_a_model_file(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(job.folder / "marked.onnx")
    assert main(["export", job.plan(UNKNOWN, "plan-01"), "--to", "onnx", "--out", file, "--model", job.model]) == 0
    for target, measured in ((UNKNOWN, False), ("hexagon", True)):
        words = ["inspect", file, "--target", target]
        said, found = shown(capsys, *words), answer(capsys, *words)["predicted"]
        assert (units.NO_MEASUREMENT in said) == (not measured)
        assert ("(90 %:" in said) == measured
        assert found["trust"]["compared"] == measured
        assert (found["interval_s"] is not None) == measured


def test_comparisons_say_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["methods", "compare", "--method", "minmax", "--pictures", "1", "--bits", "8/8", "--input", "24x32"]
    assert never_measured(shown(capsys, *words, "--target", UNKNOWN))
    said = shown(capsys, *words, "--target", "hexagon")
    assert "90 % of predicted latencies" in said
    assert answer(capsys, *words, "--target", "hexagon")["trust"]["compared"] is True
