"""Mistakes in plug-ins and in networks of one's own: told with file and line, as a file that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hwmodels.parts import plugins
from hwsearch.cli.app import main

TASK = """
import numpy as np
from dataclasses import replace
from searchspaces.tasks.image import SuperResolution

class Mine(SuperResolution):
    name = "mine"
    summary = "a test"

    def samples(self, source, seed, network):
        found = super().samples(source, seed, network)
        {}

TASK = Mine
"""
METHOD = """
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.static import Static

INFO = MethodInfo(title="Mine", summary="a test", source="a test")

def ends(spread, number):
    return spread.nothing

def observe(seen):
    {}
"""
READER = """
from hwsearch.formats.reading.readers import ReaderInfo

def read(path):
    {}

READER = ReaderInfo("mine", "a test", (".mine",), reads=read)
"""
EXPORTER = """
from hwsearch.formats.writing.exporters import ExporterInfo

def export(qgraph, path, *, metadata):
    {}

EXPORTER = ExporterInfo("mine", "a test", ".mine", export)
"""
NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(x) + self.bias

def build():
    return nn.Sequence()
"""
SEARCH = ("optimize", "--network", "fsrcnn", "--target", "stm32h743", "--quick", "--quiet", "--no-cache")


@pytest.fixture(autouse=True)
def _no_plugins() -> Iterator[None]:
    yield
    plugins.use([])


@pytest.mark.parametrize(
    ("text", "line", "words", "told"),
    [
        (TASK, "return found.nothing", (*SEARCH, "--task", "mine"), ", line 12: AttributeError: "),
        (TASK, "return None", (*SEARCH, "--task", "mine"), "the task mine gave NoneType, not Samples"),
        (
            TASK,
            "return found._replace(search=[replace(one, low=one.low.numpy()) for one in found.search])",
            (*SEARCH, "--task", "mine"),
            "a sample for the search of the task mine gave ndarray, not Tensor",
        ),
        (TASK, "return found._replace(search=[])", (*SEARCH, "--task", "mine"), "the task mine gave no samples for the search"),
        (METHOD, "return Static(seen, ends)", (*SEARCH, "--method", "part"), ", line 8: AttributeError: "),
        (METHOD, "return None", (*SEARCH, "--method", "part"), "observe of the method part gave NoneType, not Method"),
        (READER, "return path.nothing", ("inspect", "a.mine"), ", line 5: AttributeError: "),
        (READER, "return None", ("inspect", "a.mine"), "the reader mine gave NoneType, not Inspected"),
        (EXPORTER, "return qgraph.nothing", ("export", "abpn_x3-w4a8", "--to", "mine"), ", line 5: AttributeError: "),
        (EXPORTER, "return path", ("export", "abpn_x3-w4a8", "--to", "mine"), "the exporter mine said that it wrote "),
        (NETWORK, "", ("estimate", "--model", "part.py:build", "--target", "stm32h743"), ", line 13: build() failed"),
        (NETWORK, "", ("estimate", "--model", "part.py:Net", "--target", "stm32h743"), ", line 10)"),
    ],
)
def test_it_is_told_where(
    text: str,
    line: str,
    words: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("part.py").write_text(text.format(line) if line else text)
    Path("a.mine").write_text("x")
    own = [] if "--model" in words else ["--plugin", "part.py"]
    assert main([*own, *words]) == 3
    said = capsys.readouterr().err
    assert (f"{tmp_path / 'part.py'}{told}" if told.startswith(", line") else told) in said, said
    assert "a bug in hwsearch" not in said


def test_what_is_wrong_and_nobody_knows_where_may_be_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("part.py").write_text(READER.format("return None").replace('(".mine",)', "1"))
    assert main(["--plugin", "part.py", "inspect", "a.mine"]) == 1
    said = capsys.readouterr().err
    assert "this is a bug in hwsearch, or comes of what part.py gave (" in said
    assert "hwsearch.contracts" in said
