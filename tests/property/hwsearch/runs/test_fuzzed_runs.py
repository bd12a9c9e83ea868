"""Fuzzed documents of runs and plans: refused with a reason, or read and usable; never another exception."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import file_fuzzer
import pytest
import synthetic_results
from random_tables import space_of

from hwmodels.errors import FileError
from hwsearch.documents.files import jsonable, write_json
from hwsearch.plans import plan_file
from hwsearch.problem.pose import Request
from hwsearch.quality import log
from hwsearch.report import document, html
from hwsearch.runs.run import Run

BATCHES = 4


@pytest.mark.parametrize("batch", range(BATCHES))
def test_plans(batch: int, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_json(path, synthetic_results.FRONT[0].sealed())
    whole = path.read_bytes()
    assert plan_file.load(path).name == "plan-01"
    for seed in range(60):
        path.write_bytes(file_fuzzer.damaged_document(whole, random.Random(1000 * batch + seed)))
        with contextlib.suppress(FileError):
            plan_file.load(path)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_configurations(batch: int, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    asked = jsonable(Request(input_size=(24, 32), pins={"head": 8}, budgets={"latency": 0.01}))
    write_json(path, {"schema_version": 1, "request": asked, "provenance": {"versions": {"torch": "2"}, "state_sha256": "ab"}})
    whole = path.read_bytes()
    assert Run(tmp_path).request.input_size == (24, 32)
    for seed in range(60):
        path.write_bytes(file_fuzzer.damaged_document(whole, random.Random(1000 * batch + seed)))
        run = Run(tmp_path, "somebody.py:net")
        for ask in (lambda run=run: run.budgets, lambda run=run: run.same({"model": None}), lambda run=run: run.seed):
            with contextlib.suppress(FileError):
                ask()


@pytest.mark.parametrize("batch", range(BATCHES))
def test_logs(batch: int, tmp_path: Path) -> None:
    path = tmp_path / "evaluations.jsonl"
    scores = {"quality_db": 30.0, "loss_db": 0.1, "stderr_db": 0.01, "method": "output_noise"}
    space = space_of(2, 1, (2, 4, 6, 8), (4, 8, 16))
    lines = [log._line(space.row([at, 1, 2]), scores).encode() for at in range(4)]
    path.write_bytes(b"".join(lines))
    assert len(log.read(path, space)) == 4
    for seed in range(60):
        rng = random.Random(1000 * batch + seed)
        path.write_bytes(b"".join([lines[0], file_fuzzer.damaged_document(lines[1], rng) + b"\n", *lines[2:]]))
        with contextlib.suppress(FileError):
            assert len(log.read(path, space)) >= 3


@pytest.mark.parametrize("batch", range(BATCHES))
def test_results(batch: int, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(tmp_path / "run.json", {"schema_version": 1, "request": {}})
    whole = synthetic_results.results(tmp_path)
    write_json(path, whole.model_copy(update={"points": whole.points[:3]}))
    data = path.read_bytes()
    assert Run(tmp_path).results.network == "fsrcnn"
    for seed in range(40):
        path.write_bytes(file_fuzzer.damaged_document(data, random.Random(1000 * batch + seed)))
        with contextlib.suppress(FileError):
            found = Run(tmp_path).results
            document.document(found)
            if seed % 20 == 0:
                html.write(found, tmp_path)
