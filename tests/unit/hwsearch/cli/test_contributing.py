"""The walk-throughs of CONTRIBUTING.md, executed as they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PAGES = sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PARTS = {
    "network": ("my_net.py", "my-net"),
    "task": ("my_task.py", "compressed-pictures"),
    "proxy": ("my_proxy.py", "my_step"),
    "method": ("my_method.py", "my_method"),
    "exporter": ("my_exporter.py", "my-widths"),
    "operator": ("my_operator.py", "selu"),
    "reader": ("my_reader.py", "points"),
}
"""Part -> the file it is saved in, and the name under which it is found."""
ONE_BY_ONE = """
import json, sys
from hwsearch.cli import main
sys.exit(max(main(words) for words in json.loads(sys.argv[1])))
"""
BESIDE = {"operator": ("operator network", "my_selu_net.py"), "reader": ("reader file", "tiny.points")}
"""Part -> what else its commands read, and the file that it is saved in."""


def walk_through(name: str) -> str:
    """The code block between the markers of one walk-through."""
    match = re.search(rf"<!-- walk-through: {re.escape(name)} -->\n```\w*\n(.*?)```\n<!-- end -->", TEXT, re.DOTALL)
    assert match, f"CONTRIBUTING.md has no walk-through {name!r}"
    return match[1]


def run(arguments: list[str], folder: Path) -> str:
    """In ``folder``, which nothing but its own files and the packages under test can be imported from."""
    settings = {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "HWSEARCH_HOME": os.devnull, "COLUMNS": "200"}
    environment = {key: value for key, value in os.environ.items() if key != "HWSEARCH_PLUGINS"} | settings
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_commands(name: str, folder: Path) -> str:
    """One after the other in one process, which loads torch once."""
    lines = [shlex.split(line) for line in walk_through(name).splitlines()]
    assert {command for command, *_ in lines} == {"hwsearch"}
    return run([sys.executable, "-c", ONE_BY_ONE, json.dumps([arguments for _, *arguments in lines])], folder)


def test_every_walk_through_is_executed_here():
    names = set(re.findall(r"<!-- walk-through: (.*?) -->", TEXT))
    parts = {part + what for part in ("device", *PARTS) for what in ("", " commands", " contract")}
    assert names == parts | {"package", "package commands"} | {walk for walk, _ in BESIDE.values()}


def test_add_a_device(tmp_path: Path):
    (tmp_path / "my_board.toml").write_text(walk_through("device"))
    output = run_commands("device commands", tmp_path)
    assert "first_part.0" in output
    (tmp_path / "contract.py").write_text(walk_through("device contract"))
    run([sys.executable, "contract.py"], tmp_path)


@pytest.mark.parametrize("part", PARTS)
def test_add_a_part(part: str, tmp_path: Path):
    """Saved, found by the command line under its name, and in keeping with its contract."""
    file, name = PARTS[part]
    (tmp_path / file).write_text(walk_through(part))
    if part in BESIDE:
        walk, beside = BESIDE[part]
        (tmp_path / beside).write_text(walk_through(walk))
    assert name in run_commands(f"{part} commands", tmp_path)
    (tmp_path / "contract.py").write_text(walk_through(f"{part} contract"))
    run([sys.executable, "contract.py"], tmp_path)


def test_share_parts_as_a_package(tmp_path: Path):
    """Laid out as an installer does it: the modules, and beside them the metadata with the entry points."""
    for part, (file, _) in PARTS.items():
        (tmp_path / file).write_text(walk_through(part))
    project = tomllib.loads(walk_through("package"))
    assert {f"{module}.py" for module in project["tool"]["setuptools"]["py-modules"]} == {file for file, _ in PARTS.values()}
    metadata = tmp_path / "my_parts-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-parts\nVersion: 1.0\n")
    groups = project["project"]["entry-points"].items()
    lines = [f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in entries.items()) for group, entries in groups]
    (metadata / "entry_points.txt").write_text("\n\n".join(lines) + "\n")
    output = run_commands("package commands", tmp_path)
    assert all(name in output for _, name in PARTS.values())


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *PAGES])
def test_paths_that_a_document_names_exist(document: str) -> None:
    """Those in backticks that begin with a folder of the repository; a word in capitals, such as ``KIND``, stands for any."""
    named = re.findall(r"`((?:tests|hwmodels|searchspaces|hwsearch|docs|reports)/[\w./-]+)`", (ROOT / document).read_text())
    certain = [path for path in named if not re.search(r"(?<![a-z])[A-Z]{2,}", path)]
    assert [path for path in certain if not (ROOT / path).exists()] == []
