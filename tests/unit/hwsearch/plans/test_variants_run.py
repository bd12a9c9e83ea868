"""A run that decides which blocks are left out: one front, plans that stand for themselves, and what survives being stopped."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from blocky_network import NETWORK
from small_job import answer, laid_out, refusal

from hwmodels.errors import UsageError
from hwsearch.cli import main
from hwsearch.documents.plan import Plan
from hwsearch.documents.reading import read_json
from hwsearch.documents.results import Results
from hwsearch.pipeline import optimize as pipeline
from hwsearch.pipeline import variants
from hwsearch.plans import plan_file
from hwsearch.runs import on_disk
from hwsearch.runs.run import Run

CHEAPEST, MOST_DB = "body.2", 0.3
HEAD, CONVOLUTION = 4 * 9 + 4 * 8, 4 * 4 * 9 + 4 * 8
"""Bytes at 8 bits: a weight each, and a bias and a scale of 32 bits for each of four channels."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = laid_out(tmp_path_factory.mktemp("left-out"), NETWORK)
    assert main([*words(folder), "--out", str(folder / "run"), "--quiet", "--json"]) == 0
    return folder


def words(folder: Path) -> list[str]:
    found = ["optimize", *named(folder), "--scale", "2", "--input", "24x32", "--force", "--target", "stm32h743", "--drop", "auto"]
    found += ["--images", str(folder / "photos"), "--evaluations", "24", "--probes", "8", "--weight-bits", "4,8"]
    return [*found, "--budget", f"loss={MOST_DB}dB", "--quick"]


def named(folder: Path) -> list[str]:
    return ["--model", f"{folder / 'net.py'}:Net"]


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return Run(folder / "run").results


@pytest.fixture(scope="module")
def known(folder: Path) -> dict[str, Any]:
    return read_json(folder / "run" / "blocks.json", "")


def test_blocks_are_looked_at_and_plans_shared_out(known: dict[str, Any]) -> None:
    outer = {name: loss for name, loss in known["looks"].items() if name.count(".") == 1}
    assert min(outer, key=lambda name: outer[name]) == CHEAPEST
    assert known["networks"]["without-1"]["blocks"] == [CHEAPEST]
    assert known["networks"]["without-1"]["lost_db"] > 0.0
    shares = [network["evaluations"] for network in known["networks"].values()]
    assert sum(shares) == 24
    assert sum(share > 0 for share in shares) > 1


def test_one_front_holds_plans_with_and_without_the_block(folder: Path, results: Results, known: dict[str, Any]) -> None:
    assert {bool(plan.dropped) for plan in results.front} == {True, False}
    for plan in results.front:
        file = plan_file.load(folder / "run" / results.file_of(plan.name))
        place = results.file_of(plan.name).split("/")[0]
        lost_db = known["networks"][place]["lost_db"]
        assert (file.dropped, file.weight_bits) == (plan.dropped, plan.weight_bits)
        assert file.dropped == known["networks"][place]["blocks"]
        assert plan.predicted.loss_db == pytest.approx(file.predicted.loss_db + lost_db)
        assert plan.predicted.latency_s == file.predicted.latency_s
        if plan.measured is not None and file.measured is not None:
            assert plan.measured.quality_db == file.measured.quality_db
            assert plan.measured.loss_db == pytest.approx(results.reference.quality_db - file.measured.quality_db)
            assert plan.measured.near_db == (None if plan.dropped else file.measured.near_db)
            assert file.measured.mismatched_codes == 0
    rows = [
        (p.predicted.latency_s, p.predicted.loss_db, _memory(p)) for p in results.front if p.name not in results.chosen.values()
    ]
    points = [(p.latency_s, p.loss_db, p.weight_bytes + p.peak_activation_bytes) for p in results.points]
    for row in rows:
        better = [q for q in points if all(np.array(q) <= np.array(row) + 1e-12) and any(np.array(q) < np.array(row) - 1e-9)]
        assert not better


def _memory(plan: Plan) -> int:
    return plan.predicted.weight_bytes + plan.predicted.peak_activation_bytes


def test_the_plan_of_the_budget_is_the_fastest_of_all_networks_and_is_proven(results: Results) -> None:
    """The budget is on the loss against the whole network."""
    plans = {plan.name: plan for plan in results.front}
    picked = plans[results.chosen["budget"]]
    assert picked.dropped
    assert picked.predicted.loss_db <= MOST_DB
    assert picked.predicted.latency_s == min(point.latency_s for point in results.points if point.loss_db <= MOST_DB)
    assert picked.measured is not None


def test_weight_bytes_are_those_of_what_is_left(results: Results, known: dict[str, Any]) -> None:
    """Of the head, and of two convolutions a block and the tail, at 8 bits."""
    searched = [network["blocks"] for network in known["networks"].values() if network["evaluations"]]
    found = {point.weight_bytes for point in results.points if point.origin.detail == "W8A8"}
    assert found == {HEAD + CONVOLUTION * (2 * (3 - len(dropped)) + 1) for dropped in searched}
    (whole,) = (point for point in results.points if point.origin.uniform == "W8A8")
    assert whole.weight_bytes == results.int8_weight_bytes == HEAD + 7 * CONVOLUTION


def test_a_plan_is_priced_explained_and_exported_without_the_block(
    folder: Path, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = next(p for p in results.front if p.dropped == [CHEAPEST] and p.measured is not None)
    path = str(folder / "run" / results.file_of(plan.name))
    price = answer(capsys, "estimate", "--plan", path, *named(folder))
    assert price["macs"] == 24 * 32 * (4 * 9 + 5 * 4 * 4 * 9)
    assert price["predicted"]["latency_s"] == pytest.approx(plan.predicted.latency_s)
    explained = answer(capsys, "explain", path, *named(folder))
    assert not any(decision["name"].startswith(CHEAPEST) for decision in explained["decisions"])
    out = folder / "net.onnx"
    answer(capsys, "export", path, "--to", "onnx", "--out", str(out), *named(folder))
    names = [tensor.name for tensor in onnx.load(out).graph.initializer]
    assert any("body.1.f.0" in name for name in names)
    assert not any(CHEAPEST in name for name in names)
    said = answer(capsys, "validate", path, "--runtime", "ort", "--images", str(folder / "photos"))
    assert said["mismatched_codes"] == 0


def test_report_and_table_say_what_is_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (folder / "run" / "report.html").read_text()
    assert "<th>without</th>" in page
    assert f"The network without {CHEAPEST}" in page
    capsys.readouterr()
    assert main(["front", str(folder / "run"), "--quiet"]) == 0
    assert "without" in capsys.readouterr().out
    assert all("dropped" in entry for entry in answer(capsys, "front", str(folder / "run"))["front"])


def test_another_budget_chooses_among_all_networks(folder: Path, results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    fastest = min(point.latency_s for point in results.points)
    said = answer(capsys, "front", str(folder / "run"), *named(folder), "--budget", f"latency={fastest * 1.01}s")
    assert said["dropped"]
    best = min(point.loss_db for point in results.points)
    said = answer(capsys, "front", str(folder / "run"), *named(folder), "--budget", f"loss={max(best, 0.0) + 1e-3:.4f}dB")
    assert said["chosen"]["predicted"]["loss_db"] + said["lost_db"] <= max(best, 0.0) + 2e-3
    assert "budget" in refusal(capsys, 4, "front", str(folder / "run"), *named(folder), "--budget", "latency=1us")


@pytest.mark.parametrize("decided", [True, False])
def test_a_stopped_run_ends_as_one_that_was_not(folder: Path, results: Results, decided: bool, tmp_path: Path) -> None:
    """Stopped in the last of its runs, or before anything was decided."""
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    for name in ("results.json", "report.html"):
        (run / name).unlink()
    last = [name for name in ("whole", "without-1", "without-2", "without-3") if (run / name).is_dir()][-1]
    lines = (run / last / "evaluations.jsonl").read_text().splitlines(keepends=True)
    (run / last / "evaluations.jsonl").write_text("".join(lines[:5]) + lines[5][:9])
    for name in ("results.json", "report.html"):
        (run / last / name).unlink()
    before = read_json(run / "blocks.json", "")
    if not decided:
        (run / "blocks.json").write_text(json.dumps(before | {"networks": {}, "looks": {}}))
    assert main(["optimize", "--resume", str(run), *named(folder), "--quiet", "--json"]) == 0
    again = Run(run).results
    assert read_json(run / "blocks.json", "")["networks"] == before["networks"]
    assert again.points == results.points
    assert again.chosen == results.chosen


def test_a_finished_run_is_not_taken_for_another(folder: Path, results: Results) -> None:
    run = folder / "run"
    asked = on_disk.request_of(on_disk.blocks(run).request, run / "blocks.json")
    again = replace(asked, model=named(folder)[1], run_dir=run, resume=True)
    assert variants.optimize(again) == results
    with pytest.raises(UsageError, match="seed"):
        variants.optimize(replace(again, seed=again.seed + 1))


def test_whoever_stops_a_run_is_told_its_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*given: Any) -> Results:
        raise KeyboardInterrupt

    monkeypatch.setattr(variants.pipeline, "optimize", stop)
    assert main([*words(folder), "--out", str(tmp_path / "run"), "--quiet"]) == 130
    assert f"--resume {tmp_path / 'run'}" in capsys.readouterr().err


def test_what_does_not_go_together_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "run")]
    assert "named beside" in refusal(capsys, 2, *words(folder), "--drop", CHEAPEST, *out)
    assert "one device" in refusal(capsys, 2, *words(folder), "--target", "jetson", *out)
    assert "--storage" in refusal(capsys, 2, *words(folder), "--storage", "postgresql://h/d", "--study", "s", *out)
    assert "no block" in refusal(capsys, 2, "optimize", "--network", "fsrcnn", "--drop", "auto", *out)
    assert "seed" in refusal(capsys, 2, "optimize", "--resume", str(folder / "run"), *named(folder), "--seed", "3")
    assert not (tmp_path / "run").exists()


def test_a_budget_that_only_a_smaller_network_meets(folder: Path, results: Results, tmp_path: Path) -> None:
    whole = [point.latency_s for point in results.points if point.origin.uniform is not None]
    limit = min(point.latency_s for point in results.points) * 1.02
    assert all(latency > limit for latency in whole)
    given = [*words(folder)[:-3], "--budget", f"latency={limit}s", "--quick", "--out", str(tmp_path / "run"), "--quiet", "--json"]
    assert main(given) == 0
    again = Run(tmp_path / "run").results
    plan = next(plan for plan in again.front if plan.name == again.chosen["budget"])
    assert plan.dropped
    assert plan.predicted.latency_s <= limit
    assert pipeline.Request(dropped=("auto",)).dropped == variants.AUTO
