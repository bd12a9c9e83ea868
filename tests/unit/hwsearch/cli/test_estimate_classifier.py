"""A network that returns something else than a picture has a price, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from hwsearch.cli import main

CODE = """
from torch import nn

def build():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
"""


@pytest.fixture(params=["code", "torchscript", "onnx"])
def classifier(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "code":
        (tmp_path / "net.py").write_text(CODE)
        return f"{tmp_path / 'net.py'}:build"
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    ).eval()
    picture = torch.rand(1, 3, 32, 32)
    if request.param == "torchscript":
        torch.jit.trace(module, picture).save(str(tmp_path / "net.ts"))
        return str(tmp_path / "net.ts")
    torch.onnx.export(module, (picture,), str(tmp_path / "net.onnx"), dynamo=False)
    return str(tmp_path / "net.onnx")


def test_a_classifier_has_a_price(classifier: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["estimate", "--model", classifier, "--target", "jetson", "--input", "32x32", "--plan", "W8A8", "--json", "--quiet"]
    assert main([*asked, "--task", "classifier"]) == 0
    assert json.loads(capsys.readouterr().out)["input"] == [32, 32]


def test_without_its_task_it_is_told_how_to_ask(classifier: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--model", classifier, "--target", "jetson", "--plan", "W8A8", "--json", "--quiet"]) == 2
    assert "--task classifier" in json.loads(capsys.readouterr().out)["error"]["hint"]


def test_a_model_file_at_its_own_widths_takes_the_task_too(classifier: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--model", classifier, "--target", "jetson", "--task", "classifier", "--input", "32x32"]) == 0
    assert "Latency" in capsys.readouterr().out


def test_no_such_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--network", "fsrcnn", "--task", "clasifier"]) == 2
    assert "Did you mean classifier?" in capsys.readouterr().err
