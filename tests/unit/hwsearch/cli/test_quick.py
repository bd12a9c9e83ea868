"""A quick run: one proxy, few plans simulated, one proven, and nothing claimed beyond that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_job import laid_out

from hwsearch.cli import main


def quick(tmp_path: Path) -> list[str]:
    """The command of a quick run of a small network, in the folder ``run``."""
    laid_out(tmp_path)
    words = ["optimize", "--quick", "--model", f"{tmp_path / 'net.py'}:build", "--scale", "2", "--input", "24x32", "--force"]
    return [*words, "--images", str(tmp_path / "photos"), "--target", "stm32h743", "--out", str(tmp_path / "run")]


@pytest.mark.parametrize("budget", [(), ("--budget", "weights=700B")])
def test_a_quick_run_proves_the_one_plan_that_it_names(
    budget: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*quick(tmp_path), *budget, "--json", "--quiet"]) == 0
    capsys.readouterr()
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert list(results["chosen"]) == ["budget" if budget else "knee"]
    (name,) = results["chosen"].values()
    assert [plan["name"] for plan in results["front"] if plan["measured"]] == [name]
    assert [plan["name"] for plan in results["front"] if plan["integers"]] == [name]
    assert len(results["proxies"]) == 1
    assert results["evaluations"] <= 24
    assert any("quick run" in note for note in results["notes"])
    assert not any("polished together" in note for note in results["notes"])
    assert main(["report", str(tmp_path / "run"), "--quiet"]) == 0
    assert f"Chosen and proven: {name} " in capsys.readouterr().out


def test_nothing_is_said_of_ranking_where_there_is_one_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*quick(tmp_path), "--weight-bits", "8", "--activation-bits", "8", "--quiet"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Too few plans of different losses were drawn" in text
    assert "Spearman" not in text
    report = (tmp_path / "run" / "report.html").read_text()
    assert "too few plans to rank" in report
    assert "Spearman 0.000" not in report
