"""Layers that a device's runtime hands to another processor are named, with their part of the latency, where a plan is priced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hwsearch.cli import main

NETWORK = '''
from torch import nn

class Net(nn.Module):
    """A normalization of tokens between two convolutions."""

    def __init__(self):
        super().__init__()
        self.head, self.norm, self.tail = nn.Conv2d(1, 16, 3, padding=1), nn.LayerNorm(16), nn.Conv2d(16, 4, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x):
        y = self.head(x)
        n, c, h, w = y.shape
        tokens = self.norm(y.flatten(2).transpose(1, 2))
        return self.shuffle(self.tail(tokens.transpose(1, 2).view(n, c, h, w)))
'''


def _estimated(folder: Path, target: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (folder / "net.py").write_text(NETWORK)
    words = ["estimate", "--model", f"{folder / 'net.py'}:Net", "--scale", "2", "--input", "24x32", "--target", target]
    assert main([*words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_an_estimate_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _estimated(tmp_path, "qcs6490-hexagon-litert", capsys)
    (there,) = [layer for layer in found["layers"] if layer["runs_on"]]
    assert (there["op"], there["runs_on"]) == ("layer_norm", "CPU")
    (said,) = found["remarks"]
    assert said.startswith(f"1 of {len(found['layers'])} layers run on the CPU (1 layer_norm: norm): ")
    assert there["latency_s"] > 0.3 * found["predicted"]["latency_s"]


def test_nothing_is_said_where_all_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _estimated(tmp_path, "qcs6490-hexagon", capsys)
    assert found["remarks"] == []
    assert {layer["runs_on"] for layer in found["layers"]} == {""}


def test_beside_an_array_they_are_told_to_be_compared_with_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _estimated(tmp_path, "ethos-u85-256", capsys)
    there = {layer["op"]: layer["latency_s"] for layer in found["layers"] if layer["runs_on"]}
    assert there.keys() == {"layer_norm"}
    (said,) = found["remarks"]
    assert said.startswith(f"1 of {len(found['layers'])} layers run on the Cortex-M55 (1 layer_norm: ")
    assert "no measurement was held against" in said
