"""Networks of one's own that take pictures of one size alone, which is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwmodels.errors import FileError
from searchspaces.networks.registry import load_file
from searchspaces.tracing.trace import trace

NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, height, width):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)
        self.places = nn.Parameter(torch.rand(1, 12, height, width))
        self.enlarge = nn.PixelShuffle(2)

    def forward(self, x):
        return self.enlarge(self.conv(x) + self.places)
"""


def test_the_size_that_is_asked_for_is_tried(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(NETWORK)
    target = f"{file}:Net(height=45, width=80)"
    loaded = load_file(target, asked=(45, 80))
    assert (loaded.channels, loaded.scale) == (3, 2)
    assert trace(loaded.module, 3, "net", otherwise=(45, 80)).size == (45, 80)


def test_another_size_is_told_with_what_was_tried(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(NETWORK)
    target = f"{file}:Net(height=45, width=80)"
    with pytest.raises(FileError, match=r"(?s)from 8x8 to 256x256 pixels \(RuntimeError: .*--input HxW"):
        load_file(target)
    with pytest.raises(FileError, match=r"from 8x8 to 256x256 pixels and 45x81 "):
        load_file(target, asked=(45, 81))
    module = load_file(target, asked=(45, 80)).module
    with pytest.raises(FileError, match=r"up to 256x256 pixels, then 45x81: "):
        trace(module, 3, "net", otherwise=(45, 81))
