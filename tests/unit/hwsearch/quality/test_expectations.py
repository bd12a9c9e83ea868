"""A network below the baseline: which other values and colours it is tried with, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwmodels.errors import UsageError
from hwsearch.pipeline import expectations
from hwsearch.problem.network import load_network
from hwsearch.problem.pictures import choose_pictures
from hwsearch.problem.request import Request
from hwsearch.quality import baseline
from hwsearch.quality.baseline import Standing
from hwsearch.quality.evaluate import Evaluator

NETWORK = """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.conv.weight.data = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.2, 0, 0.8]]).view(3, 3, 1, 1)

    def forward(self, x):  # a shift of dark values, which are all of them where it is fed 0..1
        big = F.interpolate(x + 20 * torch.relu(2 - x), scale_factor=2, mode="bilinear")
        return {output}

def build():
    return Net().eval()
"""


def _measured(tmp_path: Path, output: str, **said: str) -> dict[str, float]:
    path = tmp_path / "net.py"
    path.write_text(NETWORK.replace("{output}", output))
    request = Request(model=f"{path}:build", scale=2, **said)  # type: ignore[arg-type]  # texts
    network = load_network(request)
    photos = choose_pictures(request, network)
    evaluator = Evaluator(network.module, photos.search[:2], photos.task)
    found = dict(expectations.measured(request, evaluator))
    return found | {"as it is": evaluator.float_db}


def test_the_range_and_the_order_that_a_network_expects_are_found(tmp_path: Path) -> None:
    found = _measured(tmp_path, "big")
    assert max(found, key=lambda options: found[options]) == "--range 0..255"
    assert found["--range 0..255"] > found["as it is"] + 5
    found = _measured(tmp_path, "big / 255")
    assert max(found, key=lambda options: found[options]) == "--range 0..255:0..1"


def test_options_are_said_so_that_they_can_be_typed(tmp_path: Path) -> None:
    """What was asked for is not tried again; what changes is named, and what stays and is no default."""
    assert "--range 0..255" not in _measured(tmp_path, "big", value_range="0..255")
    found = _measured(tmp_path, "big", order="bgr")
    assert max(found, key=lambda options: found[options]) == "--range 0..255 --order rgb"
    found = _measured(tmp_path, "big", value_range="-1..1")
    assert {"--range 0..255", "--range -1..1 --order bgr", "--range 0..1"} <= found.keys()


def test_what_is_said() -> None:
    poor = Standing(12.0, 31.0, "bicubic", "dB")
    with pytest.raises(UsageError) as refused:
        baseline.check(poor, lambda: {"--range 0..255": 33.5, "--order bgr": 12.1}, force=False)
    assert refused.value.hint.startswith("With --range 0..255 it reaches 33.50 dB: say so. If it is meant")
    with pytest.raises(UsageError) as refused:
        baseline.check(poor, lambda: {"--range 0..255": 20.0}, force=False)
    assert refused.value.hint.startswith("With --range 0..255 it reaches 20.00 dB, which is still below. Likely causes")
    for others in ({}, {"--range 0..255": 12.5}):
        with pytest.raises(UsageError) as refused:
            baseline.check(poor, lambda others=others: others, force=False)  # type: ignore[misc]
        assert refused.value.hint.startswith("Likely causes")
    baseline.check(poor, lambda: pytest.fail("not asked"), force=True)
    baseline.check(Standing(32.0, 31.0, "bicubic", "dB"), lambda: pytest.fail("not asked"), force=False)
