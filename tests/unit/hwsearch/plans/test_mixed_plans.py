"""Plans by several methods at once say which of them made what; whoever edits that gets what was asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_job import Job, answer, refusal

from hwsearch.cli import main
from hwsearch.documents.files import write_json
from hwsearch.documents.plan import Plan
from hwsearch.documents.progress import Silent
from hwsearch.documents.reading import read_json
from hwsearch.plans import plan_file
from hwsearch.runs.run import Run

MIXTURE = "mse+gptq+minmax"
METHODS = MIXTURE.split("+")


@pytest.fixture(scope="module")
def made(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by a mixture of methods beside one that is none."""
    run = tmp_path_factory.mktemp("mixed") / "run"
    words = [word for word in job.words if word not in ("--target", "stm32h743", "stm32l4r5")]
    words += ["--target", "stm32h743", "--method", MIXTURE, "--method", "output_noise", "--out", str(run), "--quiet", "--json"]
    assert main(words) == 0
    return run


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "run")


@pytest.fixture
def path(run: Path) -> Path:
    """A plan by the mixture, proven where there is one."""
    plans = [plan for plan in Run(run).results.front if plan.method == MIXTURE]
    plan = max(plans, key=lambda plan: plan.integers is not None)
    return run / "plans" / f"{plan.name}.json"


def test_every_plan_tells_the_method_of_each_layer_and_tensor(run: Path, job: Job, path: Path) -> None:
    plans = Run(run).results.front
    assert any(plan.method == MIXTURE for plan in plans)
    for plan in plans:
        told = {*plan.weight_methods.values(), *plan.activation_methods.values()}
        if plan.method == MIXTURE:
            assert plan.weight_methods.keys() == plan.weight_bits.keys()
            assert told <= set(METHODS)
            assert plan.activation_methods
        else:
            assert not told
    opened = plan_file.open_plan(path, job.model)
    again, integers = opened.recalibrated(Silent()), opened.integers()
    for name, method in opened.plan.weight_methods.items():
        alone = again.calibration.by(method).quantized(again.row).layers[name]
        assert np.array_equal(integers.layers[name].weight, alone.weight)
    for name, method in opened.plan.activation_methods.items():
        assert integers.formats[name].scale == again.calibration.by(method).quantized(again.row).formats[name].scale


def other(method: str) -> str:
    return next(name for name in METHODS if name != method)


def test_a_method_is_part_of_what_is_sealed_and_of_the_key(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, document = plan_file.load(path), read_json(path, "")
    for field in ("weight_methods", "activation_methods"):
        name, method = next(iter(document[field].items()))
        edited = document | {field: document[field] | {name: other(method)}}
        assert Plan.model_validate(edited).key != plan.key
        write_json(path, edited)
        said = refusal(capsys, 3, "validate", str(path), "--runtime", "engine")
        assert "widths, or the methods" in said
        assert "--allow-edited" in said


def test_an_edited_method_is_the_one_that_quantizes_anew(path: Path, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    document = read_json(path, "")
    layer, tensor = next(iter(document["weight_methods"])), next(iter(document["activation_methods"]))
    wanted = {name: {layer: "minmax", tensor: "minmax"}[name] for name in {layer, tensor}}
    for field in ("weight_methods", "activation_methods"):
        document[field] |= {name: method for name, method in wanted.items() if name in document[field]}
    write_json(path, document)
    opened = plan_file.open_plan(path, job.model, allow_edited=True)
    again, integers = opened.recalibrated(Silent()), opened.integers()
    alone = again.calibration.by("minmax").quantized(again.row)
    assert np.array_equal(integers.layers[layer].weight, alone.layers[layer].weight)
    assert integers.formats[tensor].scale == alone.formats[tensor].scale
    made = again.calibration.made_by(again.row)
    assert (made.layers, made.tensors) == (document["weight_methods"], document["activation_methods"])
    exported = path.parent / "again.onnx"
    assert main(["export", str(path), "--model", job.model, "--allow-edited", "--out", str(exported), "--quiet"]) == 0
    assert exported.exists()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"method": "mse+ptq4sr"}, "'mse+ptq4sr' is not known"),
        ({"method": "mse+gptq"}, "'minmax' is not known"),
        ({"method": "mse"}, "is not known"),
    ],
)
def test_methods_that_do_not_belong_to_the_plan_are_refused(
    path: Path, fields: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    document = read_json(path, "")
    document["weight_methods"][next(iter(document["weight_methods"]))] = "minmax"
    write_json(path, document | fields)
    assert said in refusal(capsys, 3, "estimate", "--plan", str(path), "--allow-edited")


def test_a_layer_that_the_network_does_not_have_is_refused(path: Path, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    document = read_json(path, "")
    document["weight_methods"]["nothing"] = "mse"
    write_json(path, document)
    words = ("export", str(path), "--model", job.model, "--allow-edited", "--out", str(path.parent / "x.onnx"))
    said = refusal(capsys, 3, *words)
    assert "no layer 'nothing'" in said
    assert "--allow-edited" not in said


def test_questions_tell_the_methods(run: Path, path: Path, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_file.load(path)
    decisions = answer(capsys, "explain", str(path), "--model", job.model)["decisions"]
    assert {one["name"]: one["made_by"] for one in decisions if one["kind"] == "weights"} == plan.weight_methods
    told = {method for one in decisions if one["kind"] == "tensor" for method in one["made_by"].split(", ")} - {""}
    assert told == set(plan.activation_methods.values())
    assert main(["explain", str(path), "--model", job.model]) == 0
    assert "made by" in capsys.readouterr().out
    name, method = next(iter(plan.weight_methods.items()))
    copy = path.with_name("other.json")
    changed = plan.model_copy(update={"weight_methods": plan.weight_methods | {name: other(method)}, "integers": None})
    write_json(copy, changed.sealed())
    words = ("compare", str(path), str(copy), "--model", job.model)
    found = answer(capsys, *words)
    assert found["methods"] == [{"name": name, "kind": "weights", "methods": [method, other(method)]}]
    assert not found["widths"]
    assert main([*words]) == 0
    assert "made by" in capsys.readouterr().out
    report = (run / "report.html").read_text()
    proven = [plan for plan in Run(run).results.front if plan.name in Run(run).results.layers]
    assert ("<th>made by</th>" in report) == any(plan.method == MIXTURE for plan in proven)


def test_a_stopped_run_goes_on_with_its_mixture(run: Path, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_json(run / "results.json", "")
    (run / "results.json").unlink()
    lines = (run / "evaluations.jsonl").read_text().splitlines(keepends=True)
    (run / "evaluations.jsonl").write_text("".join(lines[:5]))
    said = answer(capsys, "optimize", "--resume", str(run), "--model", job.model)
    assert said is not None
    after = read_json(run / "results.json", "")
    told = [
        [(plan["name"], plan["method"], plan["weight_methods"], plan["activation_methods"]) for plan in of["front"]]
        for of in (before, after)
    ]
    assert told[0] == told[1]
    assert json.loads((run / "run.json").read_text())["request"]["methods"] == [MIXTURE, "output_noise"]
    assert "methods" in refusal(capsys, 2, "optimize", "--resume", str(run), "--method", "mse", "--model", job.model)


def test_a_choice_made_again_tells_its_methods(run: Path, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    out = run / "plans" / "again.json"
    said = answer(capsys, "front", str(run), "--budget", "loss=40dB", "--out", str(out), "--model", job.model)
    plan = Plan.model_validate(read_json(out, ""))
    assert said["written"]["name"] == plan.name
    assert (plan.method == MIXTURE) == bool(plan.weight_methods)
