"""How far pixels see, beside what changes when a pixel does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hwsearch.formats.running.reach import coarsest_step, receptive_radius
from searchspaces.ir.graph import execute
from searchspaces.tracing.trace import trace

SIDE, MIDDLE = 48, 24
NETWORKS = {
    "stride": nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.PixelShuffle(2)),
    "wide stride": nn.Sequential(nn.Conv2d(1, 9, 5, stride=3, padding=1), nn.PixelShuffle(3)),
    "stride, enlarged": nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.PixelShuffle(4)),
    "blocks": nn.Sequential(nn.PixelUnshuffle(3), nn.Conv2d(9, 9, 3, padding=1), nn.PixelShuffle(3)),
    "dilated": nn.Sequential(nn.Conv2d(1, 4, 3, padding=2, dilation=2), nn.Conv2d(4, 1, 3, padding=1)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_no_pixel_sees_farther_and_some_see_as_far(name: str) -> None:
    torch.manual_seed(0)
    graph = trace(NETWORKS[name].eval(), 1, name)
    picture = torch.rand(1, 1, SIDE, SIDE)
    before, farthest = execute(graph, picture), 0
    for row in range(MIDDLE - 6, MIDDLE + 6):
        other = picture.clone()
        other[0, 0, row, MIDDLE] += 10.0
        changed = (execute(graph, other) != before)[0, 0].any(dim=1).nonzero()[:, 0] // (before.shape[2] // SIDE)
        farthest = max(farthest, int((changed - row).abs().max()))
    assert receptive_radius(graph) == farthest


def test_tiles_begin_at_pixels_of_every_tensor_along_both_sides() -> None:
    """A stride of 2 downwards and of 3 to the right: whole only at multiples of 6."""
    graph = trace(nn.Conv2d(1, 6, 3, stride=(2, 3), padding=1), 1, "unequal")
    assert coarsest_step(graph) == 6
