"""A run of which a proof fails: nothing that was searched is lost, the plan is not proven, and the operator at fault is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from small_job import answer, laid_out, refusal

from hwmodels.errors import FileError
from hwsearch.cli import main
from hwsearch.documents.plan import Plan
from hwsearch.documents.results import Results
from hwsearch.formats.onnx import ort, write
from hwsearch.plans import plan_file
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from hwsearch.runs.run import Run

FAULTY = "head"
to_model = write.to_model


def wrong(q: QuantizedGraph) -> QuantizedGraph:
    """The same network with another bias in the layer ``FAULTY``."""
    layer = q.layers[FAULTY]
    assert isinstance(layer, LayerIntegers)
    return replace(q, layers={**q.layers, FAULTY: replace(layer, bias=layer.bias + (1 << 20))})


def words(folder: Path, *more: str) -> list[str]:
    laid_out(folder)
    found = ["optimize", "--model", f"{folder / 'net.py'}:build", "--scale", "2", "--input", "24x32", "--force", "--no-cache"]
    found += ["--images", str(folder / "photos"), "--target", "stm32h743", "--probes", "8", "--evaluations", "8"]
    return [*found, "--out", str(folder / "run"), *more]


def run_with(monkeypatch: pytest.MonkeyPatch, folder: Path, faulty: int | None, *more: str) -> tuple[int, Results]:
    """The exit code and the results of a run whose first ``faulty`` exported files (None: all) hold a wrong bias."""
    made: list[str] = []

    def planted(q: QuantizedGraph, metadata: Any = None) -> onnx.ModelProto:
        if metadata is None:  # something else than a proof asks
            return to_model(q)
        made.append(metadata["plan"])
        return to_model(wrong(q) if faulty is None or len(made) <= faulty else q, metadata)

    monkeypatch.setattr(write, "to_model", planted)
    code = main(words(folder, *more))
    monkeypatch.undo()
    return code, Run(folder / "run").results


def test_a_failed_proof_is_told_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, results = run_with(monkeypatch, tmp_path, 1)
    said = " ".join(capsys.readouterr().out.split())
    assert code == 5
    (plan,) = [plan for plan in results.front if plan.unproven is not None]
    assert plan.measured is None
    assert plan.unproven is not None
    assert plan.unproven.operator == FAULTY
    assert 0 < plan.unproven.differing <= plan.unproven.codes
    assert plan.unproven.largest > 0
    others = [other for other in results.front if other.name in results.chosen.values() and other is not plan]
    assert others
    assert all(other.measured is not None for other in others)
    proven, unproven = (next(line for line in said.split("Chosen and ") if line.startswith(word)) for word in ("proven", "NOT"))
    assert plan.name not in proven
    assert all(other.name in proven for other in others)
    assert unproven.startswith(f"NOT PROVEN: {plan.name} ")
    last = said[said.rindex(f"{plan.name} is NOT PROVEN") :]
    assert f"{FAULTY} (conv, " in last
    assert f"{plan.unproven.differing:,} of {plan.unproven.codes:,} codes" in last
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"{plan.name} is NOT PROVEN" in page


def test_who_comes_back_to_it_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no plan is proven: resumed, asked again, validated, exported."""
    code, results = run_with(monkeypatch, tmp_path, None, "--quick", "--json", "--quiet")
    assert code == 5
    (name,) = {*results.chosen.values()}
    file = tmp_path / "run" / "plans" / f"{name}.json"
    assert plan_file.load(file).unproven == results.unproven[0].unproven
    capsys.readouterr()
    model = ("--model", f"{tmp_path / 'net.py'}:build")
    assert main(["optimize", "--resume", str(tmp_path / "run"), "--quiet", *model]) == 5
    said = capsys.readouterr().out
    assert "Chosen and proven" not in said
    assert f"hwsearch validate {file}" in said
    assert "hwsearch export" not in said
    assert FAULTY in refusal(capsys, 5, "validate", str(file))
    told = answer(capsys, "front", str(tmp_path / "run"))
    assert [entry["unproven"]["operator"] for entry in told["front"] if entry["plan"] == name] == [FAULTY]
    out = tmp_path / "x.onnx"
    assert main(["export", str(file), "--to", "onnx", "--out", str(out)]) == 0
    assert f"{name} is NOT PROVEN" in capsys.readouterr().err


def test_a_plan_chosen_again_is_written_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, tmp_path, 0, "--quick")[0] == 0
    monkeypatch.setattr(write, "to_model", lambda q, metadata=None: to_model(wrong(q), metadata))
    out = tmp_path / "again.json"
    model = ("--model", f"{tmp_path / 'net.py'}:build")
    refused = refusal(capsys, 5, "front", str(tmp_path / "run"), "--budget", "weights=1kB", "--out", str(out), *model)
    assert "again is NOT PROVEN" in refused
    assert FAULTY in refused
    found = plan_file.load(out)
    assert found.measured is None
    assert found.unproven is not None
    assert found.unproven.operator == FAULTY


def test_a_runtime_that_stops_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> Any:
        raise FileError("the model: ONNX Runtime cannot load it: no such operator")

    monkeypatch.setattr(ort, "run_onnx", stopped)
    assert main(words(tmp_path, "--quick")) == 5
    (plan,) = Run(tmp_path / "run").results.unproven
    assert plan.not_proven == f"{plan.name} is NOT PROVEN: the model: ONNX Runtime cannot load it: no such operator"


def test_no_document_is_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, results = run_with(monkeypatch, tmp_path, 1)
    measured = next(plan for plan in results.front if plan.measured is not None)
    with pytest.raises(ValueError, match="not proven has no measured quality"):
        Plan.model_validate(measured.model_dump() | {"unproven": {"reason": "codes differ"}})
