"""A plan whose network is code: the code is named again, and it must be the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_job import NETWORK, TARGETS, Job, answer, refusal

from hwsearch.documents.files import write_json
from hwsearch.documents.reading import read_json

OTHER = """
def other():
    net = build()
    with torch.no_grad():
        net.one.weight.mul_(3)
    return net
"""


@pytest.fixture
def other(job: Job, tmp_path: Path) -> Path:
    """The file of the network elsewhere, with a second callable."""
    file = tmp_path / "net.py"
    file.write_text(NETWORK + OTHER)
    return file


@pytest.mark.parametrize(
    "command",
    [
        "explain PLAN",
        "estimate --plan PLAN",
        "export PLAN",
        "validate PLAN",
        "compare PLAN PLAN",
        "upscale PICTURE out.png --plan PLAN",
        "front RUN --budget latency=1s",
    ],
)
def test_another_callable_is_refused(job: Job, other: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    places = {
        "PLAN": job.plan(TARGETS[0], "plan-01"),
        "RUN": str(job.folder / "run" / TARGETS[0]),
        "PICTURE": str(job.folder / "photos" / "photo0.png"),
    }
    said = refusal(capsys, 2, *(places.get(word, word) for word in command.split()), "--model", f"{other}:other")
    assert "is of the network net.py:build, not of" in said
    assert f"--model {job.model}" in said


def test_the_same_callable_may_lie_elsewhere(job: Job, other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = job.plan(TARGETS[0], "plan-01")
    assert answer(capsys, "estimate", "--plan", plan, "--model", f"{other}:build") == answer(
        capsys, "estimate", "--plan", plan, "--model", job.model
    )


@pytest.mark.parametrize("words", [["explain"], ["estimate", "--plan"]])
def test_code_with_other_weights_is_refused(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    file = tmp_path / "net.py"
    file.write_text(NETWORK.replace("mul_(0.2)", "mul_(0.3)"))
    said = refusal(capsys, 3, *words, job.plan(TARGETS[0], "plan-01"), "--model", f"{file}:build")
    assert "made with another weights" in said
    assert "seed it" in said


def test_a_run_of_a_version_without_digests_of_code_is_still_asked(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(job.folder / "run" / TARGETS[0], tmp_path / "run")
    document = read_json(run / "run.json", "")
    document["provenance"]["weights_sha256"] = ""
    write_json(run / "run.json", document)
    assert answer(capsys, "front", str(run), "--budget", "latency=10s", "--model", job.model)["chosen"]


def test_a_plan_on_its_own_says_which_code_it_needs(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = shutil.copy(job.plan(TARGETS[0], "plan-01"), tmp_path / "alone.json")
    assert f"--model {job.model}" in refusal(capsys, 2, "explain", str(alone))
    assert answer(capsys, "estimate", "--plan", str(alone), "--model", job.model)["layers"]
