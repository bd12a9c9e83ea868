"""`hwsearch export`: every format by name, what it says of promotion, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lone_plan import lone_plan
from random_networks import float_graph, quantize

from hwsearch.cli import main
from hwsearch.documents.files import write_json
from hwsearch.formats.reading.readers import inspect
from hwsearch.formats.writing.exporters import EXPORTERS


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of 3-bit weights and 5-bit tensors on its own, without a run."""
    folder = tmp_path_factory.mktemp("plan")
    q = quantize(float_graph("fsrcnn-relu"), 3, 5)
    plan = lone_plan(folder, q, dict.fromkeys(q.graph.width_groups().values(), 5), q.graph.name)
    write_json(folder / "plan-01.json", plan.sealed())
    return folder / "plan-01.json"


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_format_is_written_under_the_plans_name(
    name: str, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(plan), "--to", name, "--json", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["file"] == f"plan-01{EXPORTERS[name].suffix}"
    assert [p.name for p in tmp_path.iterdir()] == [said["file"]]
    holds = EXPORTERS[name].holds
    assert bool(said["promoted"]) == (3 not in holds.weight_bits or 5 not in holds.tensor_bits)
    assert (said["quality"] is None) == (5 in holds.tensor_bits and not holds.stretched)
    assert said["weight_bytes"]["exported"] >= said["weight_bytes"]["plan"]


def test_the_command_says_what_became_wider_and_what_it_costs(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.onnx"
    assert main(["export", str(plan), "--to", "tensorrt", "--out", str(file), "--quiet"]) == 0
    said = capsys.readouterr().out
    for words in ("3 bits", "8 bits", "symmetric", "first_part.0", " dB", "measured on"):
        assert words in said
    facts = inspect(file).provenance
    assert facts is not None
    assert (facts["plan"], len(facts["plan_key"]), len(facts["integers_sha256"])) == ("plan-01", 16, 64)
    assert facts["promoted"].startswith("Promoted")
    assert main(["export", str(plan), "--to", "onnx", "--out", str(file), "--quiet"]) == 0
    assert "every integer keeps its value" in capsys.readouterr().out


def test_exporters_lists_what_each_format_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exporters", "--json"]) == 0
    found = {entry["name"]: entry["holds"] for entry in json.loads(capsys.readouterr().out)["exporters"]}
    assert set(found) == set(EXPORTERS)
    assert found["tensorrt"]["zero_points"] is False
