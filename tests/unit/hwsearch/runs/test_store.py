"""The run directory: never overwritten, locked, written whole or not at all, and resumed only by the same request."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from hwmodels.errors import FileError, UsageError
from hwmodels.parts import plugins
from hwsearch.documents import files
from hwsearch.pipeline import several_devices
from hwsearch.pipeline.optimize import optimize
from hwsearch.problem.request import Request
from hwsearch.runs.directory import RunDirectory
from hwsearch.runs.interrupted import Interrupted
from hwsearch.runs.run import Run


@dataclass(frozen=True)
class Asked:
    """Shaped like a request."""

    network: str = "fsrcnn"
    methods: tuple[str, ...] = ("output_noise",)
    weights: Path | None = None
    input_size: tuple[int, int] | None = (36, 64)
    seed: int = 0
    run_dir: Path | None = None
    resume: bool = False


def test_default_place_is_named_after_the_run_and_never_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    now = datetime(2031, 2, 3, 4, 5, 6)
    with (
        RunDirectory.create(label="my net-x2-./a b.toml", now=now) as first,
        RunDirectory.create(label=first.path.name[:3], now=now),
    ):
        assert first.path.parent == tmp_path / "runs"
        assert first.path.name == "my-net-x2-.-a-b.toml-20310203-040506"
    with RunDirectory.create(label="net", now=now) as one, RunDirectory.create(label="net", now=now) as two:
        assert (one.path.name, two.path.name) == ("net-20310203-040506", "net-20310203-040506-2")


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_text("x")
    with pytest.raises(FileError, match="not empty") as refused:
        RunDirectory.create(tmp_path)
    assert "--resume" not in refused.value.hint
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(FileError, match="not empty") as refused:
        RunDirectory.create(tmp_path)
    assert f"--resume {tmp_path}" in refused.value.hint
    assert (tmp_path / "photo.png").read_text() == "x"


def test_two_processes_cannot_use_one_directory(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        run.write_configuration(Asked(), {})
        load = "from pathlib import Path; from hwsearch.runs.directory import RunDirectory"
        script = f"{load}; RunDirectory.open(Path({str(run.path)!r}))"
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert other.returncode != 0
        assert "another process works in" in other.stderr
        with pytest.raises(FileError, match="another process"):
            RunDirectory.open(run.path)
    RunDirectory.open(run.path).close()


def test_resume_wants_the_same_request_and_says_every_difference(tmp_path: Path) -> None:
    asked = Asked(weights=Path("/w.safetensors"))
    with RunDirectory.create(tmp_path / "run") as run:
        run.write_configuration(asked, {"weights_sha256": "aa", "versions": {"numpy": "1"}})
    with RunDirectory.open(tmp_path / "run") as run:
        moved = Asked(weights=Path("/w.safetensors"), run_dir=Path("/elsewhere"), resume=True)
        run.check_same(moved, {"weights_sha256": "aa", "versions": {"numpy": "2"}})
        with pytest.raises(UsageError) as refused:
            run.check_same(Asked(seed=1, weights=Path("/w.safetensors")), {"weights_sha256": "bb"})
    assert "seed: was 0, is 1" in refused.value.message
    assert "weights_sha256: was 'aa', is 'bb'" in refused.value.message


def test_a_field_that_an_earlier_version_did_not_have_differs_where_it_says_something(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Later(Asked):
        input_channels: tuple[str, ...] = ()

    with RunDirectory.create(tmp_path / "run") as run:
        run.write_configuration(Asked(), {})
        run.check_same(Later())
        with pytest.raises(UsageError, match="input_channels: was None, is"):
            run.check_same(Later(input_channels=("unshuffle:2",)))


def test_saved_request_comes_back_in_the_types_it_had(tmp_path: Path) -> None:
    asked = Asked(weights=Path("/w.safetensors"))
    with RunDirectory.create(tmp_path / "run") as run:
        run.write_configuration(asked, {})
    saved = Run(tmp_path / "run").same({"seed": 0, "input_size": (36, 64)})
    assert (saved["weights"], saved["input_size"], saved["seed"]) == (asked.weights, asked.input_size, 0)
    with pytest.raises(UsageError, match="seed: was 0, is 7"):
        Run(tmp_path / "run").same({"seed": 7})


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 99, "request": {}}', '{"schema_version": 1}'])
def test_a_damaged_configuration_is_a_file_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(FileError):
        RunDirectory.open(tmp_path)


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: None])
def test_what_is_no_run_cannot_be_resumed(tmp_path: Path, make: object) -> None:
    make(tmp_path / "run")  # type: ignore[operator]
    with pytest.raises(FileError) as refused:
        RunDirectory.open(tmp_path / "run")
    assert "hwsearch optimize" in refused.value.hint


def test_a_place_below_a_file_is_a_file_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError) as refused:
        RunDirectory.create(tmp_path / "file" / "run")
    assert "--out" in refused.value.hint


def test_ctrl_c_says_where_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stopped, RunDirectory.create(tmp_path / "run"):
        raise KeyboardInterrupt
    assert stopped.value.run_dir == tmp_path / "run"


def test_a_full_disk_inside_the_run_is_a_file_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="disk is full"), RunDirectory.create(tmp_path / "run"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_documents_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    files.write_json(path, {"a": 1})

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="disk is full") as refused:
        files.write_json(path, {"a": 2})
    assert "--resume" in refused.value.hint
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.replacing(tmp_path / "plan.onnx") as temporary:  # noqa: PT012
        temporary.write_bytes(b"half")
        assert temporary.suffix == ".onnx"
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_json_has_no_infinity() -> None:
    assert files.jsonable({"a": float("inf"), "b": (1, Path("x"))}) == {"a": None, "b": [1, "x"]}


def test_a_run_asks_for_its_plugins_and_executes_none(tmp_path: Path) -> None:
    """``run.json`` of somebody else names a file that lies there; it stays unexecuted until a person names it."""
    mine, trace = tmp_path / "mine.py", tmp_path / "executed"
    mine.write_text(f"open({str(trace)!r}, 'w')\n")
    plugins.use([mine])
    try:
        with RunDirectory.create(tmp_path / "run") as run:
            run.write_configuration(Asked(), {})
            run.check_same(Asked())
        plugins.use([])
        with pytest.raises(UsageError, match=r"mine\.py .* is not given"):
            Run(tmp_path / "run").same({})
        with RunDirectory.open(tmp_path / "run") as run, pytest.raises(UsageError, match=r"hwsearch --plugin mine\.py"):
            run.check_same(Asked())
        assert not trace.exists()
        plugins.use([mine])
        assert Run(tmp_path / "run").same({})["network"] == "fsrcnn"
        mine.write_text("# harmless\n")
        plugins.use([mine])
        with pytest.raises(UsageError, match="has changed since"):
            Run(tmp_path / "run").same({})
    finally:
        plugins.use([])
    with RunDirectory.create(tmp_path / "plain") as run:
        run.write_configuration(Asked(), {})
        assert "plugins" not in json.loads(run.configuration_path.read_text())


@pytest.mark.parametrize("targets", [("jetson",), ("jetson", "hexagon")])
def test_a_folder_that_holds_something_is_refused_before_the_network_is_looked_at(
    targets: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    request = Request(model=str(tmp_path / "no_such_network.onnx"), target=targets[0], run_dir=tmp_path)
    with pytest.raises(FileError, match="is not empty"):
        optimize(request) if len(targets) == 1 else several_devices.optimize(targets, request)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
