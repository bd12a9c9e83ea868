"""Fuzzed documents of runs and plans: refused with a reason, or read and usable; never another exception."""

from __future__ import annotations

import random
from pathlib import Path

import file_fuzzer
import synthetic_results
from random_tables import space_of

from hwmodels.errors import FileError
from hwsearch.documents.files import jsonable, write_json
from hwsearch.plans import plan_file
from hwsearch.problem.request import Request
from hwsearch.quality import log
from hwsearch.report import document, html
from hwsearch.runs.run import Run


def test_plans(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_json(path, synthetic_results.FRONT[0].sealed())
    whole = path.read_bytes()
    assert plan_file.load(path).name == "plan-01"
    tally = file_fuzzer.Tally()
    for seed in range(240):
        path.write_bytes(file_fuzzer.damaged_document(whole, random.Random(seed)))
        with tally.judging(FileError):
            plan_file.load(path)
    tally.check()


def test_configurations(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    asked = jsonable(Request(input_size=(24, 32), pins={"head": 8}, budgets={"latency": 0.01}))
    write_json(path, {"schema_version": 1, "request": asked, "provenance": {"versions": {"torch": "2"}, "state_sha256": "ab"}})
    whole = path.read_bytes()
    assert Run(tmp_path).request.input_size == (24, 32)
    tally = file_fuzzer.Tally()
    for seed in range(240):
        path.write_bytes(file_fuzzer.damaged_document(whole, random.Random(seed)))
        run = Run(tmp_path, "somebody.py:net")
        for ask in (lambda run=run: run.budgets, lambda run=run: run.same({"model": None}), lambda run=run: run.seed):
            with tally.judging(FileError):
                ask()
    tally.check()


def test_logs(tmp_path: Path) -> None:
    path = tmp_path / "evaluations.jsonl"
    scores = {"quality_db": 30.0, "loss_db": 0.1, "stderr_db": 0.01, "method": "output_noise"}
    space = space_of(2, 1, (2, 4, 6, 8), (4, 8, 16))
    lines = [log._line(space.row([at, 1, 2]), scores).encode() for at in range(4)]
    path.write_bytes(b"".join(lines))
    assert len(log.read(path, space)) == 4
    tally = file_fuzzer.Tally()
    for seed in range(240):
        rng = random.Random(seed)
        path.write_bytes(b"".join([lines[0], file_fuzzer.damaged_document(lines[1], rng) + b"\n", *lines[2:]]))
        with tally.judging(FileError):
            assert len(log.read(path, space)) >= 3
    tally.check()


def test_results(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(tmp_path / "run.json", {"schema_version": 1, "request": {}})
    whole = synthetic_results.results(tmp_path)
    write_json(path, whole.model_copy(update={"points": whole.points[:3]}))
    data = path.read_bytes()
    assert Run(tmp_path).results.network == "fsrcnn"
    tally = file_fuzzer.Tally()
    for seed in range(160):
        path.write_bytes(file_fuzzer.damaged_document(data, random.Random(seed)))
        with tally.judging(FileError):
            found = Run(tmp_path).results
            document.document(found)
            if seed % 20 == 0:
                html.write(found, tmp_path)
    tally.check()
