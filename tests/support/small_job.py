"""One small run for two devices, of a network that is a file of code, and how its commands are asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hwsearch.cli import main
from searchspaces.data import pictures

NETWORK = '''
import torch
from torch import nn

class Net(nn.Module):
    """Repeats every pixel with a residual block between, and a little noise: something to quantize."""

    def __init__(self):
        super().__init__()
        self.head, self.one, self.two = (nn.Conv2d(i, 4, 3, padding=1) for i in (1, 4, 4))
        self.tail, self.shuffle, self.relu = nn.Conv2d(4, 4, 3, padding=1), nn.PixelShuffle(2), nn.ReLU()

    def forward(self, x):
        x = self.relu(self.head(x))
        return self.shuffle(self.tail(x + self.two(self.relu(self.one(x)))))

def build():
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        for layer in (net.head, net.one, net.two, net.tail):
            layer.weight.mul_(0.2)
            layer.bias.zero_()
        net.head.weight[0, 0, 1, 1] = 1.0
        net.tail.weight[:, 0, 1, 1] = 1.0
    return net
'''
TARGETS = ("stm32h743", "stm32l4r5")
"""Two microcontrollers whose widths mean the same."""


@dataclass(frozen=True)
class Job:
    """One run for two devices; ``words`` of its command without the folder; ``measured``: the proxies, each time one was."""

    folder: Path
    words: tuple[str, ...]
    measured: list[str]

    @property
    def model(self) -> str:
        """The code of the network, as the person names it."""
        return f"{self.folder / 'net.py'}:build"

    def plan(self, target: str, name: str) -> str:
        return str(self.folder / "run" / target / "plans" / f"{name}.json")


def laid_out(folder: Path, network: str = NETWORK, photos: int = 3, size: tuple[int, int] = (136, 144)) -> Path:
    """``folder`` with the code of a network in ``net.py``, and in ``photos/`` pieces of shipped photos of ``size``."""
    folder.mkdir(exist_ok=True)
    (folder / "net.py").write_text(network)
    (folder / "photos").mkdir()
    for i, photo in enumerate(pictures.shipped()[:photos]):
        Image.fromarray(photo.rgb[: size[0], : size[1]]).save(folder / "photos" / f"photo{i}.png")
    return folder


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def refusal(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    capsys.readouterr()
    assert main([*words, "--json", "--quiet"]) == code
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["hint"]
    return f"{error['message']}\n{error['hint']}"
