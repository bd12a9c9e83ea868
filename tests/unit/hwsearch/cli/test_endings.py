"""Endings that are nobody's bug: an output that cannot be written, a folder that is gone, a signal of the system."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).parents[4]
Done = subprocess.CompletedProcess[bytes]
LIST = [sys.executable, "-m", "hwsearch", "devices"]


def run(words: list[str], stdout: IO[str] | int = subprocess.PIPE, cwd: Path | None = None, encoding: str = "utf-8") -> Done:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    return subprocess.run(words, check=False, stdout=stdout, stderr=subprocess.PIPE, env=environment, cwd=cwd, timeout=120)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_full_output_is_a_file_that_cannot_be_written(more: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = run([*LIST, *more], stdout=full)
    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[0] == "hwsearch: the output cannot be written: no space left on device"
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("closing", ["1>&-", "2>&-", "1>&- 2>&-", "0<&-"])
def test_closed_streams_end_quietly(closing: str) -> None:
    done = run(["sh", "-c", f"exec {' '.join(LIST)} {closing}"])
    assert done.returncode == 0
    assert done.stderr == b""


def test_an_error_without_anybody_to_read_it_keeps_its_exit_code() -> None:
    assert run(["sh", "-c", f"exec {' '.join(LIST)} show nothing 2>&-"]).returncode == 2
    assert run(["sh", "-c", f"exec {' '.join(LIST)} show nothing 2>/dev/full"]).returncode == 2


def test_a_reader_that_stops_early_is_no_error() -> None:
    done = run(["bash", "-c", f"{' '.join(LIST)} | head -1; exit ${{PIPESTATUS[0]}}"])
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_that_knows_few_characters(encoding: str) -> None:
    words = [sys.executable, "-m", "hwsearch", "estimate", "--network", "fsrcnn", "--input", "24x32", "--target", "stm32h743"]
    done = run(words, encoding=encoding)
    assert done.returncode == 0, done.stderr
    assert {"ascii": b" us", "latin-1": b" \xb5s"}[encoding] in done.stdout  # microseconds
    text = run([*LIST, "--json"], encoding=encoding).stdout.decode(encoding)
    assert json.loads(text) == json.loads(run([*LIST, "--json"], encoding="utf-8").stdout)


def test_a_deleted_folder(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = run(["sh", "-c", f"rmdir {gone}; exec {' '.join(LIST)}"], cwd=gone)
    assert done.returncode == 3
    assert done.stderr.decode().splitlines() == ["hwsearch: the current folder is gone", "Change to another one: cd."]


SLEEPER = """
import importlib, sys, time
app = importlib.import_module("hwsearch.cli.app")
def work(words):
    print("begun", flush=True)
    time.sleep(60)
    return 0
app._run = work
sys.exit(app.main(["devices"]))
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_as_an_interrupted_command(stop: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    usual = "default_int_handler" if stop == signal.SIGINT else "SIG_DFL"
    first = f"import signal; signal.signal({int(stop)}, signal.{usual})\n"  # nohup, under which tests may run, is inherited
    process = subprocess.Popen(
        [sys.executable, "-c", first + SLEEPER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(stop)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.startswith("hwsearch: interrupted\n")


def test_nohup_stays_in_force() -> None:
    process = subprocess.Popen(
        ["sh", "-c", """trap '' HUP; exec "$0" -c "$1" """, sys.executable, SLEEPER.replace("60", "3")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 0


def test_what_a_network_prints_stays_out_of_the_document(tmp_path: Path) -> None:
    lines = ("from torch import nn", "print('imported')", "def build():", "    print('built')", "    return nn.Conv2d(1, 1, 1)")
    (tmp_path / "net.py").write_text("\n".join(lines))
    words = ["estimate", "--model", "net.py:build", "--target", "stm32h743", "--input", "12x16", "--plan", "W8A8", "--json"]
    done = run([sys.executable, "-m", "hwsearch", *words], cwd=tmp_path)
    assert json.loads(done.stdout)["target"] == "stm32h743"
    assert done.stderr.decode().splitlines()[:2] == ["imported", "built"]
