"""What a finished run prints: the document's shape, and a screen that fits."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import synthetic_results
from rich.console import Console

from hwsearch.cli import main, summary
from hwsearch.documents.files import write_json
from hwsearch.documents.plan import Counted
from hwsearch.documents.results import Results
from hwsearch.report import document as whole


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("run")
    return synthetic_results.results(folder).placed(folder)


def screen(results: Results, width: int) -> str:
    stream = io.StringIO()
    summary.render(results, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def test_the_document_has_the_published_shape(results: Results) -> None:
    document = whole.document(results)
    told = {"target", "network", "scale", "reference", "front", "proxies", "run_dir", "wall_s", "fps", "tilings", "trust"}
    assert told | {"notes", "versions", "resumed", "quality", "second"} == set(document)
    assert {"quality_db", "weight_bytes"} <= set(document["reference"])
    for entry in document["front"]:
        assert set(entry) == {
            *("plan", "file", "dropped", "branches", "weight_bits", "activation_bits"),
            *("tiling", "predicted", "counted", "headroom", "measured", "unproven", "trust"),
        }
        assert entry["predicted"].pop("loss_is") == "simulated"
        assert set(entry["predicted"]) == {"loss_db", "latency_s", "weight_bytes", "peak_activation_bytes", "energy_j"}
        assert entry["measured"] is None or set(entry["measured"]) == {"quality_db", "loss_db", "second", "near_db", "runtime"}
    assert {entry["measured"] is None for entry in document["front"]} == {True, False}
    assert all(set(check) == {"spearman"} for check in document["proxies"].values())
    assert Path(document["run_dir"]) == results.run_dir


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_screen_shows_every_plan_on_one_line(results: Results, width: int) -> None:
    text = screen(results, width)
    assert max(map(len, text.splitlines()[:20])) <= width
    for plan in results.front:
        (line,) = [line for line in text.splitlines() if line.startswith(f" {plan.name} ") and "×" in line and "ms" in line]
        assert f"{plan.predicted.latency_s * 1e3:.2f} ms" in line
    for name in ("report.html", "hwsearch explain", "hwsearch export", *(check.name for check in results.proxies)):
        assert name in text


def test_widths_of_hundreds_of_layers_are_counted(results: Results) -> None:
    plan = results.front[0]
    many = {f"layer{i}": (4, 8)[i % 7 < 5] for i in range(300)}
    long = results.model_copy(update={"front": [plan.model_copy(update={"weight_bits": many}), *results.front[1:]]})
    text = screen(long, 160)
    (line,) = [line for line in text.splitlines() if line.startswith(f" {plan.name} ")]
    assert "4 in 85, 8 in 215" in line
    assert "so many bits in so many layers" in text
    assert "so many bits in so many layers" not in screen(results, 160)


def test_what_was_done_to_the_network_is_said_once_where_it_is_the_same_for_all(results: Results) -> None:
    branched = [plan.model_copy(update={"branches": {"conv": 4}, "dropped": ["block2"]}) for plan in results.front]
    same = " ".join(screen(results.model_copy(update={"front": branched}), 200).split())
    assert same.count("conv=4") == 1
    assert "All plans are without block2 and with low-rank branches (conv=4)." in same
    mixed = screen(results.model_copy(update={"front": [results.front[0], *branched[1:]]}), 200)
    assert mixed.count("conv=4") == len(branched) - 1
    assert "All plans are" not in mixed
    assert "All plans are" not in screen(results, 200)


def test_a_plan_stands_beside_a_row_of_a_paper(results: Results) -> None:
    counted = Counted(mean_weight_bits=4.21, scope_weight_bits=4.0, compression=32 / 4.21, bitops=33.14e9)
    front = [plan.model_copy(update={"counted": counted, "scope": "not-first-last"}) for plan in results.front]
    text = " ".join(screen(results.model_copy(update={"front": front}), 200).split())
    name = results.chosen["budget"]
    assert f"{name} has 4.21 bits a weight (4 in the scope not-first-last), 7.60× fewer than fp32, and 33.1 GBitOPs." in text
    assert "BitOPs" not in screen(results, 200)


def test_compression_against_fp32_and_int8(results: Results) -> None:
    int8 = results.int8_weight_bytes
    assert int8 is not None
    plan = results.front[0]
    line = next(line for line in screen(results, 160).splitlines() if line.startswith(f" {plan.name} "))
    *_, smaller, than_int8 = line.split()
    assert float(smaller.rstrip("×")) == pytest.approx(results.reference.weight_bytes / plan.predicted.weight_bytes, rel=0.01)
    assert float(than_int8.rstrip("×")) == pytest.approx(int8 / plan.predicted.weight_bytes, rel=0.01)


def test_a_long_front_is_thinned_but_keeps_every_chosen_plan(results: Results) -> None:
    many = [results.front[0].model_copy(update={"name": f"plan-{i:03d}"}) for i in range(77)]
    long = results.model_copy(update={"front": many, "chosen": {"knee": "plan-001", "fastest": "plan-076", "budget": "plan-002"}})
    shown = [plan.name for plan in summary.shown_plans(long)]
    assert len(shown) == summary.ROWS
    assert {"plan-001", "plan-002", "plan-076"} <= set(shown)
    assert shown == sorted(shown)
    assert "57 more plans" in screen(long, 160)


def test_a_report_is_written_again_from_the_results(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    run = results.run_dir
    assert run is not None
    write_json(run / "results.json", results)
    (run / "report.html").unlink(missing_ok=True)
    assert main(["report", str(run), "--json"]) == 0
    assert Path(json.loads(capsys.readouterr().out)["report"]).read_text().startswith("<!doctype html>")
    assert main(["report", str(run)]) == 0
    assert results.front[0].name in capsys.readouterr().out


def test_a_report_of_no_run_or_an_unfinished_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 3
    (tmp_path / "run.json").write_text('{"schema_version": 1, "request": {}}')
    assert main(["report", str(tmp_path)]) == 3
    assert "--resume" in capsys.readouterr().err
    (tmp_path / "results.json").write_text('{"target": 3}')
    assert main(["report", str(tmp_path)]) == 3
