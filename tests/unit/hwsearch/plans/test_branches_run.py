"""A search that decides about low-rank branches: one front, plans with branches that stand for themselves, integers proven."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from low_rank_network import LAYER, NETWORK
from PIL import Image
from small_job import answer, laid_out, refusal

from hwsearch.cli import main
from hwsearch.documents.plan import Plan
from hwsearch.documents.reading import read_json
from hwsearch.documents.results import Results
from hwsearch.plans import plan_file
from hwsearch.runs.run import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = laid_out(tmp_path_factory.mktemp("branches"), NETWORK)
    assert main([*words(folder), "--branches", "auto", "--out", str(folder / "run"), "--json"]) == 0
    return folder


def words(folder: Path) -> list[str]:
    found = ["optimize", *named(folder), "--scale", "2", "--input", "8x8", "--task", "fidelity", "--target", "bitserial-npu"]
    found += ["--images", str(folder / "photos"), "--evaluations", "24", "--probes", "8", "--weight-bits", "2,8"]
    return [*found, "--activation-bits", "16", "--budget", "loss=2dB", "--quick", "--quiet"]


def named(folder: Path) -> list[str]:
    return ["--model", f"{folder / 'net.py'}:Net"]


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return Run(folder / "run").results


@pytest.fixture(scope="module")
def known(folder: Path) -> dict[str, Any]:
    return read_json(folder / "run" / "blocks.json", "")


@pytest.fixture(scope="module")
def plan(results: Results) -> Plan:
    """One with a branch, run in integers."""
    return next(plan for plan in results.front if plan.branches and plan.measured is not None)


def test_the_layer_that_needs_a_branch_gets_one(known: dict[str, Any]) -> None:
    assert next(iter(known["promised"])).partition("=")[0] == LAYER
    branched = [network for network in known["networks"].values() if network["branches"]]
    assert all(LAYER in network["branches"] for network in branched)
    assert any(network["evaluations"] for network in branched)
    assert sum(network["evaluations"] for network in known["networks"].values()) == 24
    assert all(abs(network["lost_db"]) < 1e-3 for network in branched)


def test_one_front_holds_plans_with_and_without_branches(folder: Path, results: Results) -> None:
    assert {bool(plan.branches) for plan in results.front} == {True, False}
    assert len({plan.name for plan in results.front}) == len(results.front)
    for plan in results.front:
        file = plan_file.load(folder / "run" / results.file_of(plan.name))
        assert (file.branches, file.weight_bits) == (plan.branches, plan.weight_bits)
        assert set(plan.weight_bits) == {"copy", "head", "body", "tail"} | {
            f"{layer}.{part}" for layer in plan.branches for part in ("down", "up")
        }


def test_a_plan_with_a_branch_is_proven_in_integers(plan: Plan) -> None:
    assert plan.measured is not None
    assert plan.measured.mismatched_codes == 0
    assert plan.measured.codes > 0


def test_the_seal_tells_another_rank(folder: Path, results: Results, plan: Plan) -> None:
    document = read_json(folder / "run" / results.file_of(plan.name), "")
    assert Plan.model_validate(document).edited == ()
    for ranks in ({}, {LAYER: plan.branches[LAYER] + 1}):
        (said,) = Plan.model_validate(document | {"branches": ranks}).edited
        assert "branches" in said
    assert len({Plan.model_validate(document | {"branches": ranks}).key for ranks in ({}, {LAYER: 3}, {LAYER: 5})}) == 3


def test_a_document_without_the_field_has_no_branch_and_the_seal_that_it_had(folder: Path, results: Results) -> None:
    plain = next(plan for plan in results.front if not plan.branches)
    document = read_json(folder / "run" / results.file_of(plain.name), "")
    earlier = {name: value for name, value in document.items() if name != "branches"}
    found = Plan.model_validate(earlier)
    assert found.branches == {}
    assert found.edited == ()
    assert found.key == plain.key


def test_every_question_to_a_plan_knows_its_branch(
    folder: Path, results: Results, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(folder / "run" / results.file_of(plan.name))
    price = answer(capsys, "estimate", "--plan", path, *named(folder))
    assert price["predicted"]["latency_s"] == pytest.approx(plan.predicted.latency_s)
    rank = plan.branches[LAYER]
    assert plan.branches == {LAYER: rank}
    assert price["macs"] == 8 * 8 * (48 * 9 + 16 * 48 * 9 + 16 * 4 + 4 + rank * (48 + 16 * 9))
    explained = answer(capsys, "explain", path, *named(folder))
    assert {f"{LAYER}.down", f"{LAYER}.up"} <= {decision["name"] for decision in explained["decisions"]}
    other = next(p for p in results.front if not p.branches)
    said = refusal(capsys, 2, "compare", path, str(folder / "run" / results.file_of(other.name)), *named(folder))
    assert f"with low-rank branches ({LAYER}={rank})" in said
    assert "judged by the floating-point network" in refusal(capsys, 2, "validate", path, *named(folder))
    priced = answer(
        capsys, "estimate", *named(folder), "--target", "bitserial-npu", "--scale", "2", "--branches", f"{LAYER}={rank}"
    )
    assert any(f"{LAYER}={rank}" in remark for remark in priced["remarks"])
    another = next(p for p in results.front if p.branches and p.name != plan.name)
    assert answer(capsys, "compare", path, str(folder / "run" / results.file_of(another.name)), *named(folder))
    out = tmp_path / "net.onnx"
    answer(capsys, "export", path, "--to", "onnx", "--out", str(out), *named(folder))
    assert any(f"{LAYER}.up" in tensor.name for tensor in onnx.load(out).graph.initializer)
    low = folder / "photos" / "photo0.png"
    assert main(["upscale", str(low), str(tmp_path / "up.png"), "--plan", path, "--quiet"]) == 0
    with Image.open(tmp_path / "up.png") as large, Image.open(low) as small:
        assert large.size == (2 * small.size[0], 2 * small.size[1])


def test_a_plan_that_was_not_chosen_is_quantized_with_its_branch(
    folder: Path, results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no file of integers: the network is calibrated again."""
    plan = next(plan for plan in results.front if plan.branches and plan.measured is None)
    path = str(folder / "run" / results.file_of(plan.name))
    for exporter, ending in (("onnx", "onnx"), ("tflite", "tflite")):
        out = tmp_path / f"net.{ending}"
        answer(capsys, "export", path, "--to", exporter, "--out", str(out), *named(folder))
        assert out.exists()


def test_report_and_table_say_which_layers_have_branches(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (folder / "run" / "report.html").read_text()
    assert "<th>branches</th>" in page
    assert "have low-rank branches" in page
    capsys.readouterr()
    assert main(["front", str(folder / "run"), "--quiet"]) == 0
    assert "branches" in capsys.readouterr().out
    assert any(entry["branches"] for entry in answer(capsys, "front", str(folder / "run"))["front"])


def test_another_budget_chooses_among_all_networks(
    folder: Path, results: Results, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    bytes_ = plan.predicted.weight_bytes
    said = answer(capsys, "front", str(folder / "run"), *named(folder), "--budget", f"weights={bytes_}B")
    within = [point.loss_db for point in results.points if point.weight_bytes <= bytes_]
    assert said["chosen"]["predicted"]["loss_db"] == pytest.approx(min(within), abs=2e-3)
    assert "branches" in said


@pytest.mark.parametrize("decided", [True, False])
def test_a_stopped_run_ends_as_one_that_was_not(folder: Path, results: Results, decided: bool, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    before = read_json(run / "blocks.json", "")
    last = [name for name, network in before["networks"].items() if network["evaluations"]][-1]
    for place in (run, run / last):
        for name in ("results.json", "report.html"):
            (place / name).unlink()
    lines = (run / last / "evaluations.jsonl").read_text().splitlines(keepends=True)
    (run / last / "evaluations.jsonl").write_text("".join(lines[:5]) + lines[5][:9])
    if not decided:
        (run / "blocks.json").write_text(json.dumps(before | {"networks": {}, "looks": {}, "promised": None}))
    assert main(["optimize", "--resume", str(run), *named(folder), "--quiet", "--json"]) == 0
    assert read_json(run / "blocks.json", "")["networks"] == before["networks"]
    assert Run(run).results.points == results.points
    assert Run(run).results.chosen == results.chosen


def test_branches_that_are_named_are_taken_as_they_are(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    given = [word for word in words(folder) if word not in ("--task", "fidelity")]
    assert main([*given, "--force", "--branches", f"{LAYER}=2", "--out", str(run), "--json"]) == 0
    found = Run(run).results
    assert all(plan.branches == {LAYER: 2} for plan in found.front)
    capsys.readouterr()
    path = next(plan.name for plan in found.front if plan.measured is not None)
    for runtime in ("engine", "ort"):
        said = answer(capsys, "validate", str(run / "plans" / f"{path}.json"), "--runtime", runtime, *named(folder))
        assert said["mismatched_codes"] == 0


def test_what_does_not_go_together_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "run")]
    given = [*words(folder), *out, "--branches"]
    assert "named beside" in refusal(capsys, 2, *given, "auto", "--branches", f"{LAYER}=2")
    assert "one device" in refusal(capsys, 2, *given, "auto", "--target", "jetson")
    assert "--storage" in refusal(capsys, 2, *given, "auto", "--storage", "postgresql://h/d", "--study", "s")
    assert "not LAYER=RANK" in refusal(capsys, 2, *given, LAYER)
    assert "no layer" in refusal(capsys, 2, *given, "bodi=2")
    for ranks in (f"{LAYER}=2", "auto"):
        assert "scope" in refusal(capsys, 2, *given, ranks, "--scope", "body")
    assert "may leave out a layer" in refusal(capsys, 2, *given, f"{LAYER}=2", "--drop", "auto")
    assert not (tmp_path / "run").exists()
