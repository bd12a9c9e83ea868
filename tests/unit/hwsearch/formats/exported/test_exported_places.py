"""What is said of a program of torch.export names the lines and parts of the source that was exported."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hwsearch.formats.exported import read
from searchspaces.tracing.trace import trace


class Part(nn.Module):
    def __init__(self, refused: bool) -> None:
        super().__init__()
        self.conv, self.refused = nn.Conv2d(12, 12, 3, padding=1), refused

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.conv(x)) * x
        return torch.topk(y, 12, 1)[0] if self.refused else y


class Net(nn.Module):
    def __init__(self, refused: bool) -> None:
        super().__init__()
        self.first, self.body = nn.Conv2d(3, 12, 3, padding=1), nn.Sequential(Part(refused), nn.Sigmoid())
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.shuffle(self.body(self.first(x)))
        return found


def exported(module: nn.Module, file: Path) -> Path:
    torch.export.save(torch.export.export(module, (torch.rand(1, 3, 16, 16),)), file)
    return file


def test_a_refusal_names_the_source(tmp_path: Path) -> None:
    found = read.read(exported(Net(refused=True).eval(), tmp_path / "net.pt2"))
    (said,) = found.graph.uncounted
    line = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "torch.topk(y" in text)
    assert f"at body.0 ({Path(__file__).name}:{line})" in said


def test_nodes_have_the_names_that_the_module_gives(tmp_path: Path) -> None:
    module = Net(refused=False).eval()
    found = read.read(exported(module, tmp_path / "net.pt2"))
    assert [node.name for node in found.graph.nodes] == [node.name for node in trace(module, 3, "net").nodes]
