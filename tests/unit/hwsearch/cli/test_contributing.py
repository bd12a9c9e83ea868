"""The walk-throughs of CONTRIBUTING.md, executed as they stand there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[4] / "CONTRIBUTING.md").read_text()


def walk_through(name: str) -> str:
    """The code block between the markers of one walk-through."""
    match = re.search(rf"<!-- walk-through: {re.escape(name)} -->\n```\w*\n(.*?)```\n<!-- end -->", TEXT, re.DOTALL)
    assert match, f"CONTRIBUTING.md has no walk-through {name!r}"
    return match[1]


def run(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_commands(name: str, folder: Path) -> str:
    output = ""
    for line in walk_through(name).splitlines():
        command, *arguments = shlex.split(line)
        assert command == "hwsearch"
        output += run([sys.executable, "-m", "hwsearch", *arguments], folder)
    return output


def test_every_walk_through_is_executed_here():
    names = set(re.findall(r"<!-- walk-through: (.*?) -->", TEXT))
    assert names == {
        "device",
        "device commands",
        "device contract",
        "network",
        "network commands",
        "network contract",
        "proxy",
        "exporter",
    }


def test_add_a_device(tmp_path: Path):
    (tmp_path / "my_board.toml").write_text(walk_through("device"))
    output = run_commands("device commands", tmp_path)
    assert "first_part.0" in output
    (tmp_path / "contract.py").write_text(walk_through("device contract"))
    run([sys.executable, "contract.py"], tmp_path)


def test_add_a_network(tmp_path: Path):
    (tmp_path / "my_net.py").write_text(walk_through("network"))
    output = run_commands("network commands", tmp_path)
    assert "tail" in output
    (tmp_path / "contract.py").write_text(walk_through("network contract"))
    run([sys.executable, "contract.py"], tmp_path)


@pytest.mark.parametrize("name", ["proxy", "exporter"])
def test_add_a_proxy_or_an_exporter(name: str, tmp_path: Path):
    (tmp_path / "mine.py").write_text(walk_through(name))
    run([sys.executable, "mine.py"], tmp_path)
