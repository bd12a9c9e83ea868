"""Windows of the calibration pictures."""

from __future__ import annotations

import torch

from hwsearch.quant.observe.crops import squares, trimmed


def test_squares_tile_a_picture() -> None:
    crop = torch.arange(2 * 7 * 9.0).view(1, 2, 7, 9)
    windows = squares(crop, 3, 4)
    assert windows.shape == (4, 2, 3, 4)
    assert torch.equal(windows[3], crop[0, :, 3:6, 4:8])
    assert torch.equal(windows[0], crop[0, :, :3, :4])


def test_large_networks_see_less_of_every_picture() -> None:
    crops = [torch.full((1, 1, 96, 128), float(i)) for i in range(5)]
    pixels = 96 * 128 * 5
    assert trimmed(crops, 10.0, 10.0 * pixels, 0) == crops
    seen = trimmed(crops, 10.0, 10.0 * pixels / 3, 0)
    assert [float(crop.mean()) for crop in seen] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert 0.9 * pixels / 3 < sum(crop.numel() for crop in seen) <= pixels / 3
    assert all(crop.shape == (1, 1, 48, 48) for crop in trimmed(crops, 10.0, 1.0, 0))
