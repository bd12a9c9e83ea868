"""Documents as earlier versions wrote them: quality under the names of the first task's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from random_tables import chain
from synthetic_results import results

from hwmodels.errors import UsageError
from hwsearch.documents import earlier
from hwsearch.documents.plan import Plan
from hwsearch.documents.results import Results
from hwsearch.problem import budgets
from hwsearch.quality import log
from hwsearch.quality.evaluate import Score
from hwsearch.runs.on_disk import request_of

BEFORE = {"quality_db": "psnr_db", "loss_db": "psnr_loss_db", "second": "ssim", "baseline_db": "bicubic_psnr_db"}


def as_before(value: Any, inside: str = "") -> Any:
    """A document with the old names, wherever they stood."""
    if isinstance(value, list):
        return [as_before(one) for one in value]
    if not isinstance(value, dict):
        return value
    if inside == "budgets":
        return {"psnr_loss" if key == "loss" else key: one for key, one in value.items()}
    figures = "quality" not in value  # of results, which name what is measured, "second" is a name
    return {BEFORE.get(key, key) if figures else key: as_before(one, key) for key, one in value.items()}


def test_results_of_earlier_versions_are_read(tmp_path: Path) -> None:
    now = results(tmp_path).model_copy(update={"budgets": {"latency": 0.008, "loss": 0.3}})
    text = json.dumps(as_before(json.loads(now.model_dump_json())))
    assert all(name in text for name in [*BEFORE.values(), "psnr_loss"])
    assert "loss_db" not in text.replace("psnr_loss_db", "")
    assert Results.model_validate_json(text) == now


def test_plans_of_earlier_versions_keep_their_seal(tmp_path: Path) -> None:
    plan = next(plan for plan in results(tmp_path).front if plan.measured).sealed()
    read = Plan.model_validate_json(json.dumps(as_before(json.loads(plan.model_dump_json()))))
    assert read == plan
    assert read.edited == ()


def test_a_log_of_earlier_versions_is_gone_on_with(tmp_path: Path) -> None:
    space = chain(3, 0)[2]
    plan = space.uniform(8, 8)
    line = {"plan": list(plan), "score": {"psnr_db": 30.5, "psnr_loss_db": 0.5, "stderr_db": 0.01, "quantizer": "measured"}}
    (tmp_path / "evaluations.jsonl").write_text(json.dumps(line) + "\n")
    assert log.read(tmp_path / "evaluations.jsonl", space) == {plan: Score(30.5, 0.5, 0.01, earlier.USUAL_METHOD)}


def test_budgets_of_earlier_versions_are_read() -> None:
    saved = {"target": "jetson", "budgets": {"psnr_loss": 0.3, "latency": 0.008}}
    assert request_of(saved, Path("run.json")).budgets == {"loss": 0.3, "latency": 0.008}
    assert budgets.parse(["psnr_loss=0.3dB"]) == budgets.parse(["loss=0.3dB"]) == {"loss": 0.3}
    with pytest.raises(UsageError, match="twice"):
        budgets.parse(["psnr_loss=0.3dB", "loss=0.2dB"])
