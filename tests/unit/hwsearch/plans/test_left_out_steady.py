"""A network that blows up without a block on some pictures is of no use, whatever it loses on others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hwsearch.documents.configuration import Rewritings, Rewritten
from hwsearch.documents.files import write_json
from hwsearch.pipeline import block_losses, joined
from hwsearch.problem.network import found_network
from hwsearch.problem.pictures import choose_pictures
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.runs import on_disk

NETWORK = """
import torch
from torch import nn

class Limit(nn.Module):
    def __init__(self, most=0.8):
        super().__init__()
        self.most = most
        self.own = nn.Conv2d(1, 1, 1)
        nn.init.zeros_(self.own.weight), nn.init.zeros_(self.own.bias)

    def forward(self, x):
        return x.clamp(max=self.most) + self.own(x)

class Net(nn.Module):
    def __init__(self, scale=2):
        super().__init__()
        self.head, self.body, self.tail = nn.Conv2d(1, 1, 1), nn.Sequential(Limit(), Limit(), Limit(9.0)), nn.Conv2d(1, 4, 1)
        self.shuffle = nn.PixelShuffle(scale)
        with torch.no_grad():
            for layer in (self.head, self.tail):
                layer.weight.fill_(1.0), layer.bias.zero_()

    def forward(self, x):
        y = self.body(self.head(x))
        return self.shuffle(self.tail(y + 1e4 * torch.relu(y - 0.9)))
"""


@pytest.mark.parametrize(("light", "blows_up"), [(0.5, False), (1.0, True)])
def test_a_network_that_blows_up_on_a_crop_is_passed_over(light: float, blows_up: bool, tmp_path: Path) -> None:
    """Both limits have to go for it, and all pictures of the search are dark."""
    (tmp_path / "net.py").write_text(NETWORK)
    random = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(random.integers(40, 90, (136, 136, 3), dtype=np.uint8)).save(tmp_path / f"photo{i}.png")
    request = Request(model=f"{tmp_path / 'net.py'}:Net", scale=2, images=tmp_path, target="host", force=True)
    found = found_network(request)
    problem = pose(request, found)
    photos = choose_pictures(request, found)
    crop = replace(photos.crops[0], low=torch.full((1, 1, 24, 24), light))
    loss_db = block_losses.looks(request, found, problem, replace(photos, crops=[crop]), 10.0)
    assert loss_db(("body.0",)) == pytest.approx(0.0, abs=1e-6)
    assert (loss_db(("body.0", "body.1")) == float("inf")) == blows_up


def test_what_blows_up_is_written_down_and_read_back(tmp_path: Path) -> None:
    known = Rewritings(schema_version=1, request={}, looks={"a": 0.1, "b": None}, networks={"whole": _none()})
    write_json(tmp_path / on_disk.BLOCKS, known)
    assert on_disk.blocks(tmp_path).looks == {"a": 0.1, "b": None}
    said = joined._about(known, {}, [])
    assert "2 blocks were left out alone" in said[0]
    assert "Without b the network blows up" in said[0]


def _none() -> Rewritten:
    return Rewritten(blocks=[], lost_db=0.0, evaluations=0, probes=0)
