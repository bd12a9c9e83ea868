"""Networks that return more than a picture: the picture is taken, and that is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hwmodels.errors import UsageError
from searchspaces.ir.graph import execute
from searchspaces.networks.registry import load_file
from searchspaces.tracing.trace import trace

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.judge = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 2)

    def forward(self, x):
        y = self.body(x)
        return RETURNED
"""


@pytest.mark.parametrize(
    ("returned", "scale", "said"),
    [
        ("(y, self.judge(y.mean((2, 3))))", 1, "returns 2 results; the picture among them, number 1, is taken"),
        ("[y, y.repeat_interleave(2, 2).repeat_interleave(2, 3)]", 2, "number 2, is taken"),
        ("{'quality': self.judge(y.mean((2, 3))), 'sr': y}", 1, "'sr', is taken"),
    ],
)
def test_the_picture_is_taken(returned: str, scale: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(SOURCE.replace("RETURNED", returned))
    loaded = load_file(f"{tmp_path / 'net.py'}:Net")
    assert loaded.scale == scale
    assert any(said in remark for remark in loaded.remarks)
    graph, x = trace(loaded.module, 3, "net"), torch.rand(1, 3, 21, 18)
    assert [node.name for node in graph.convs] == ["body"]
    with torch.no_grad():
        assert torch.allclose(execute(graph, x), loaded.module(x), atol=1e-6)


def test_no_picture_among_them(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(SOURCE.replace("RETURNED", "(self.judge(y.mean((2, 3))), y[0])"))
    with pytest.raises(UsageError, match="becomes tuple"):
        load_file(f"{tmp_path / 'net.py'}:Net")
