"""Damage tables, scores and finished plans kept by content: used where the same would be found, and nowhere else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_job import NETWORK

from hwsearch.cli import main
from hwsearch.contracts.parts import tiny_calibration, tiny_pairs
from hwsearch.documents.reading import read_json
from hwsearch.plans import verify
from hwsearch.quality.evaluate import Evaluator
from hwsearch.quality.measurement import Measure
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.learn import polish
from hwsearch.runs import by_content, damage_cache
from searchspaces.data import pictures
from searchspaces.space import PlanRow
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Signature


@dataclass
class Ran:
    """One run: the proxies that it measured, the plans that it simulated, how often it looked at pictures (of plans, too), and
    what it did with chosen plans."""

    folder: Path
    measured: list[str] = field(default_factory=list)
    simulated: list[PlanRow] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)

    @property
    def front(self) -> list[Any]:
        front = read_json(self.folder / "results.json", "")["front"]
        return [(plan["weight_bits"], plan["activation_bits"], plan["measured"]) for plan in front]

    @property
    def proven(self) -> dict[str, bytes]:
        """Integers and exported files of the chosen plans."""
        files = (file for file in (self.folder / "plans").iterdir() if file.suffix in (".safetensors", ".onnx"))
        return {file.name: file.read_bytes() for file in files}

    @property
    def tables(self) -> dict[str, Any]:
        return {proxy: table["noise"] for proxy, table in read_json(self.folder / "damage.json", "")["tables"].items()}


@dataclass(frozen=True)
class Job:
    """Runs of one network on one set of photos."""

    folder: Path

    def run(self, name: str, target: str, home: str, *more: str) -> Ran:
        """A run that keeps what it finds in the folder ``home``, and what it did."""
        ran = Ran(self.folder / name)
        words = ["optimize", "--model", f"{self.folder / 'net.py'}:build", "--scale", "2", "--input", "24x32", "--force"]
        words += ["--weight-bits", "4,8", "--evaluations", "4", "--probes", "3", "--images", str(self.folder / "photos")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HWSEARCH_HOME", str(self.folder / home))
            patch.setattr(polish, "STEPS", 20)
            patch.setattr(ProxyInfo, "measure", noting(ran.measured, lambda info, *_: info.name, ProxyInfo.measure))
            patch.setattr(Measure, "__call__", noting(ran.simulated, lambda _, plan: plan, Measure.__call__))
            patch.setattr(Evaluator, "losses_db", noting(ran.looked, lambda *_: "looked", Evaluator.losses_db))
            for place, function in ((Calibration, "finished"), (verify, "prove")):
                patch.setattr(place, function, noting(ran.finished, lambda *_, done=function: done, getattr(place, function)))
            assert main([*words, "--target", target, "--out", str(ran.folder), "--quiet", *more]) == 0
        return ran


def noting(notes: list[Any], what: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*arguments: Any, **named: Any) -> Any:
        notes.append(what(*arguments))
        return function(*arguments, **named)

    return noted


@dataclass(frozen=True)
class Photos:
    """What of the pictures is in the name of a table."""

    sha256: str
    task: SuperResolution = field(default_factory=lambda: SuperResolution(Signature(2, 1)))


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("kept")
    (folder / "photos").mkdir()
    for i, photo in enumerate(pictures.shipped()[:3]):
        Image.fromarray(photo.rgb[:136, :144]).save(folder / "photos" / f"photo{i}.png")
    (folder / "net.py").write_text(NETWORK)
    return Job(folder)


@pytest.fixture(scope="module")
def first(job: Job) -> Ran:
    return job.run("first", "stm32h743", "home")


def test_what_the_first_run_measures_is_kept_in_one_table(job: Job, first: Ran) -> None:
    assert first.measured
    assert first.finished
    assert len(list((job.folder / "home" / "damage").glob("*.json"))) == 1


def test_the_same_run_again_measures_nothing_and_finds_the_same(job: Job, first: Ran) -> None:
    again = job.run("again", "stm32h743", "home")
    assert again.measured == again.simulated == again.looked == again.finished == []
    assert again.front == first.front
    assert again.proven == first.proven


def test_a_device_alike_measures_less_and_finds_what_it_would_find_alone(job: Job, first: Ran) -> None:
    shutil.copytree(job.folder / "home", job.folder / "second home")
    second = job.run("second", "stm32l4r5", "second home")
    assert second.measured == []
    assert len(second.simulated) < len(first.simulated)
    alone = job.run("alone", "stm32l4r5", "home", "--no-cache")
    assert alone.finished
    assert second.front == alone.front
    assert second.proven == alone.proven
    assert second.tables == alone.tables


def test_damaged_files_are_as_good_as_none_and_are_written_again(job: Job, first: Ran) -> None:
    home = job.folder / "damaged home"
    shutil.copytree(job.folder / "home", home)
    for kept in ("damage", "scores", "plans", "proofs"):
        files = [*(home / kept).iterdir()]
        assert files
        for file in files:
            file.write_bytes(file.read_bytes()[:-40])
    damaged = job.run("damaged", "stm32h743", home.name)
    assert damaged.measured == first.measured
    assert damaged.simulated
    assert damaged.finished
    assert damaged.proven == first.proven
    mended = job.run("mended", "stm32h743", home.name)
    assert mended.measured == mended.finished == []


def test_other_numbers_have_other_tables() -> None:
    """Of a network that differs in one weight, of other pictures, and of another seed."""
    calibration, photos = tiny_calibration(), Photos("a")
    traced = calibration._seen.graph
    node = traced.convs[0]
    weight = node.weights["weight"].clone()
    weight.view(-1)[0] += 1e-3
    changed = traced.replaced({node.name: replace(node, weights={**node.weights, "weight": weight})})
    lows, space = [pair.low for pair in tiny_pairs()], calibration.space
    other, same = (calibrate(graph, lows, space, method=calibration.method) for graph in (changed, traced))
    asked = [(calibration, photos, 0), (other, photos, 0), (calibration, Photos("b"), 0), (calibration, photos, 1)]
    keys = {damage_cache.key(found, seen, seed, ["fisher"]) for found, seen, seed in asked}  # type: ignore[arg-type]
    assert len(keys) == 4
    assert damage_cache.key(same, photos, 0, ["fisher"]) in keys  # type: ignore[arg-type]


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
