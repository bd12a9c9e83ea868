"""A plan is one: network, widths and integers that do not belong together are refused, with what differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_job import Job, answer, refusal

from hwsearch.cli import main
from hwsearch.documents.files import write_json
from hwsearch.documents.plan import Plan
from hwsearch.documents.reading import read_json
from hwsearch.plans import plan_file
from hwsearch.runs.run import Run


@pytest.fixture
def run(job: Job, tmp_path: Path) -> Path:
    return shutil.copytree(job.folder / "run" / "stm32h743", tmp_path / "run")


@pytest.fixture
def path(run: Path) -> Path:
    """A plan with integers."""
    plan = next(plan for plan in Run(run).results.front if plan.integers)
    return run / "plans" / f"{plan.name}.json"


def edited(path: Path, **fields: Any) -> None:
    write_json(path, read_json(path, "") | fields)


def other_width(document: dict[str, Any]) -> dict[str, int]:
    widths: dict[str, int] = document["weight_bits"]
    return {name: ({2: 4, 4: 8, 8: 4}[bits] if name == "head" else bits) for name, bits in widths.items()}


COMMANDS = (
    ("estimate", "--plan", "PLAN"),
    ("explain", "PLAN"),
    ("compare", "PLAN", "PLAN"),
    ("export", "PLAN", "--out", "OUT/x.onnx"),
    ("validate", "PLAN", "--runtime", "engine"),
    ("upscale", "OUT/in.png", "OUT/out.png", "--plan", "PLAN"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_refuses_an_edited_plan(path: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    edited(path, weight_bits=other_width(read_json(path, "")))
    words = [word.replace("PLAN", str(path)).replace("OUT", str(path.parent)) for word in command]
    Image.new("RGB", (8, 8)).save(path.parent / "in.png")
    said = refusal(capsys, 3, *words)
    assert "the widths" in said
    assert "--allow-edited" in said
    assert not (path.parent / "x.onnx").exists()


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"network": "fsrcnn"}, "the network"),
        ({"scale": 3}, "the network"),
        ({"target": "jetson"}, "the setting"),
        ({"input_width": 33}, "the setting"),
        ({"name": "better"}, "the integers, or the name"),
        ({"integers_sha256": "0" * 64}, "the integers, or the name"),
        ({"input_height": 0}, "input_height"),
        ({"input_height": 2**70}, "input_height"),
        ({"input_height": -1}, "input_height"),
        ({"input_height": "9" * 4300}, "input_height"),
        ({"scale": 10**6}, "scale"),
        ({"method": "magic"}, "method"),
        ({"quantizer": "magic", "method": None}, "method"),
        ({"scope": "nowhere"}, "scope"),
        ({"requantization": "by hand"}, "requantization"),
        ({"tiling": {"height": 0, "width": 8, "halo": "recompute"}}, "tiles"),
        ({"weight_bits": {"head": 2**70}}, "weight_bits"),
        ({"integers": "../plan-01.safetensors"}, "integers"),
    ],
)
def test_what_was_edited_is_said(path: Path, fields: dict[str, Any], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    edited(path, **fields)
    said = refusal(capsys, 3, "validate", str(path), "--runtime", "engine")
    assert what in said
    assert "bug" not in said


def test_integers_of_another_plan_are_told_by_their_own_widths(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the document is sealed anew, or (an earlier version's) has no seal."""
    plan = plan_file.load(path)
    document = plan.model_dump(mode="json")
    mixed = Plan.model_validate(document | {"weight_bits": other_width(document), "seal": None})
    for written in (mixed, mixed.sealed()):
        write_json(path, written)
        said = refusal(capsys, 3, "export", str(path), "--out", str(path.parent / "x.onnx"))
        was, now = plan.weight_bits["head"], mixed.weight_bits["head"]
        assert f"layer head has {now} bits in the plan and {was} in the integers" in said
    write_json(path, Plan.model_validate(document | {"network": "vdsr", "seal": None}).sealed())
    assert "the network is vdsr in the plan and net in the integers" in refusal(capsys, 3, "estimate", "--plan", str(path))


def test_a_plan_that_lost_its_seal_is_not_believed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Plans of versions that sealed none say ``quantizer`` where these say ``method``, and are read."""
    document = read_json(path, "")
    del document["seal"]
    path.write_text(json.dumps(document | {"input_height": 48}))
    for words in (
        ["estimate", "--plan", str(path)],
        ["explain", str(path)],
        ["export", str(path), "--out", str(path.parent / "x.onnx")],
    ):
        assert "has lost its seal" in refusal(capsys, 3, *words)
    document["quantizer"] = "measured" if document.pop("method") == "output_noise" else "plain"
    path.write_text(json.dumps(document))
    assert plan_file.load(path).integers is not None


def test_the_enlargement_is_that_of_the_integers(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = read_json(path, "")
    scale = document["scale"]
    write_json(path, Plan.model_validate(document | {"scale": scale + 1, "seal": None}).sealed())
    said = refusal(capsys, 3, "export", str(path), "--out", str(path.parent / "x.onnx"))
    assert f"the scale is {scale + 1} in the plan and {scale} in the integers" in said


@pytest.mark.parametrize("word", ["foo", "[/x]foo", "fp8e4m3"])
def test_what_16_bits_mean_is_a_format_of_16_bits(path: Path, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    document = read_json(path, "")
    write_json(path, Plan.model_validate(document | {"wide": word, "seal": None}).sealed())
    said = refusal(capsys, 3, "estimate", "--plan", str(path))
    assert f"wide: {word!r} is not known" in said
    assert "int16, fp16, bf16" in said


def test_an_edited_plan_is_quantized_anew_where_that_is_asked_for(
    job: Job, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    widths = other_width(read_json(path, ""))
    edited(path, weight_bits=widths)
    opened = plan_file.open_plan(path, job.model, allow_edited=True)
    assert {name: layer.bits for name, layer in opened.integers().layers.items()} == widths
    assert opened.plan.measured is None
    assert main(["estimate", "--plan", str(path), "--model", job.model, "--allow-edited"]) == 0
    told = "was edited (the widths): it is quantized again"
    assert told in capsys.readouterr().err
    again = ["--model", job.model, "--allow-edited"]
    assert main(["explain", str(path), *again]) == 0
    assert told in capsys.readouterr().err
    decisions = answer(capsys, "explain", str(path), *again)["decisions"]
    assert {one["name"]: one["bits"] for one in decisions if one["kind"] == "weights"} == widths
    other = path.with_name("plan-02.json")
    compared = answer(capsys, "compare", str(path), str(other), *again)
    assert any(told in remark for remark in compared["remarks"])
    assert {w["name"]: w["bits"][0] for w in compared["widths"] if w["kind"] == "weights"}.items() <= widths.items()


def test_a_plan_of_other_weights_is_not_priced(job: Job, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = read_json(path, "")
    document["provenance"]["weights_sha256"] = "0" * 64
    write_json(path, Plan.model_validate(document | {"seal": None}).sealed())
    assert "another weights" in refusal(capsys, 3, "estimate", "--plan", str(path), "--model", job.model)


def test_plans_as_they_were_written_are_their_own(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for plan in Run(run).results.front:
        assert plan_file.load(run / "plans" / f"{plan.name}.json") == plan
        assert plan.seal is not None
        assert not plan.edited
    assert answer(capsys, "compare", *[str(run / "plans" / "plan-01.json")] * 2)["widths"] == []
