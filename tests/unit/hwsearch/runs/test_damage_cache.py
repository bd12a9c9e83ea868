"""Damage tables, scores and finished plans kept by content: used where the same would be found, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_job import NETWORK

from hwsearch.cli import main
from hwsearch.documents.reading import read_json
from hwsearch.plans import verify
from hwsearch.quality.evaluate import Evaluator, Score
from hwsearch.quality.measurement import Measure
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.learn import polish
from hwsearch.runs import by_content, damage_cache
from searchspaces.data import pictures
from searchspaces.space import PlanRow


def test_a_second_device_measures_no_proxy_and_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWSEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(polish, "STEPS", 20)
    (tmp_path / "photos").mkdir()
    for i, photo in enumerate(pictures.shipped()[:3]):
        Image.fromarray(photo.rgb[:136, :144]).save(tmp_path / "photos" / f"photo{i}.png")
    (tmp_path / "net.py").write_text(NETWORK)
    measured: list[str] = []
    measure = ProxyInfo.measure

    def counted(info: ProxyInfo, *arguments: Any) -> Any:
        measured.append(info.name)
        return measure(info, *arguments)

    monkeypatch.setattr(ProxyInfo, "measure", counted)
    simulated: list[PlanRow] = []
    simulate = Measure.__call__

    def noted(measuring: Measure, plan: PlanRow) -> Score:
        simulated.append(plan)
        return simulate(measuring, plan)

    monkeypatch.setattr(Measure, "__call__", noted)
    looked: list[str] = []  # plans on patches, and on pictures
    monkeypatch.setattr(Evaluator, "losses_db", counting(looked, Evaluator.losses_db))
    finished: list[str] = []  # what was done with chosen plans
    for place, name in ((Calibration, "finished"), (verify, "prove")):
        monkeypatch.setattr(place, name, counting(finished, getattr(place, name)))

    def run(name: str, target: str, *more: str) -> list[str]:
        """The proxies that a run measures."""
        measured.clear()
        simulated.clear()
        finished.clear()
        looked.clear()
        words = ["optimize", "--model", f"{tmp_path / 'net.py'}:build", "--scale", "2", "--input", "24x32", "--force"]
        words += ["--weight-bits", "4,8", "--evaluations", "4", "--probes", "3", "--images", str(tmp_path / "photos")]
        assert main([*words, "--target", target, "--out", str(tmp_path / name), "--quiet", *more]) == 0
        return list(measured)

    def front(name: str) -> list[Any]:
        results = read_json(tmp_path / name / "results.json", "")
        return [(plan["weight_bits"], plan["activation_bits"], plan["measured"]) for plan in results["front"]]

    def proven(name: str) -> dict[str, bytes]:
        """Integers and exported files of the chosen plans."""
        return {
            file.name: file.read_bytes()
            for file in (tmp_path / name / "plans").iterdir()
            if file.suffix in (".safetensors", ".onnx")
        }

    assert run("first", "stm32h743")
    assert finished
    assert len(list((tmp_path / "home" / "damage").glob("*.json"))) == 1
    whole = len(simulated)
    assert run("second", "stm32l4r5") == []
    assert len(simulated) < whole
    assert run("again", "stm32h743") == []
    assert simulated == []
    assert finished == looked == []
    assert front("again") == front("first")
    assert proven("again") == proven("first")
    assert run("anew", "stm32l4r5", "--no-cache")
    assert finished
    assert front("second") == front("anew")
    assert proven("second") == proven("anew")
    tables = [read_json(tmp_path / name / "damage.json", "")["tables"] for name in ("second", "anew")]
    for proxy, table in tables[0].items():
        assert np.array_equal(table["noise"], tables[1][proxy]["noise"])
    # Other numbers, other tables: of a network that differs in one weight, and of another seed.
    (tmp_path / "net.py").write_text(NETWORK.replace("mul_(0.2)", "mul_(0.201)"))
    assert run("other", "stm32h743")
    assert run("seed", "stm32h743", "--seed", "1")
    # A damaged file is as good as none.
    for kept in ("damage", "scores", "plans", "proofs"):
        files = [*(tmp_path / "home" / kept).iterdir()]
        assert files
        for file in files:
            file.write_bytes(file.read_bytes()[:-40])
    assert run("damaged", "stm32h743")
    assert simulated
    assert finished
    damaged = proven("damaged")
    assert run("mended", "stm32h743") == finished == []
    assert proven("mended") == damaged


def counting(calls: list[str], function: Any) -> Any:
    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(function.__name__)
        return function(*arguments, **named)

    return counted


def test_the_oldest_files_go(tmp_path: Path) -> None:
    room = by_content.Room(files=3, bytes=100)
    for number in range(5):
        by_content.keep(tmp_path, f"{number}.json", lambda path: path.write_bytes(bytes(10)), room)
        os.utime(tmp_path / f"{number}.json", (number, number))
    assert {file.name for file in tmp_path.iterdir()} == {"2.json", "3.json", "4.json"}
    by_content.keep(tmp_path, "large.json", lambda path: path.write_bytes(bytes(85)), room)
    assert {file.name for file in tmp_path.iterdir()} == {"4.json", "large.json"}
    by_content.keep(tmp_path, "huge.json", lambda path: path.write_bytes(bytes(500)), room)
    assert {file.name for file in tmp_path.iterdir()} == {"huge.json"}


def test_without_a_place_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HWSEARCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert damage_cache.folder() == tmp_path / "hwsearch" / "damage"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HWSEARCH_HOME", str(tmp_path / "file"))
    damage_cache.save("x", {}, None)  # type: ignore[arg-type]  # the folder cannot be made, so nothing is looked at
    assert damage_cache.load("x", None) is None  # type: ignore[arg-type]
