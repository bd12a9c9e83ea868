"""TFLite files where LiteRT is not installed, which is an extra: they are read and priced, and a search says what it needs."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from random_networks import float_graph, quantize

from hwsearch.cli import main
from hwsearch.formats.tflite import write


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.delitem(sys.modules, "ai_edge_litert.interpreter", raising=False)
    monkeypatch.setattr("hwsearch.formats.tflite.litert.version", version)
    return write.export(quantize(float_graph("edsr")), tmp_path / "net.tflite", size=(24, 32))


def test_it_is_read_and_priced(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file), "--target", "ethos-u55-128"]) == 0
    assert "Latency" in capsys.readouterr().out


def test_a_search_says_what_it_needs(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["optimize", "--quick", "--model", str(file), "--target", "jetson", "--out", str(tmp_path / "run")]) == 2
    assert 'pip install "hwsearch[tflite]"' in capsys.readouterr().err
