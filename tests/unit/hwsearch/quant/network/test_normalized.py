"""Ranges of each picture and channel in integers: by hand, against real numbers, and through a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hwmodels.numbers import INT16, Int
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.normalized import PARTS, Normalized


def test_one_channel_by_hand() -> None:
    """Two bits between -30 and 90: steps of 40. With ends at a quarter and three quarters, 0 and 60: steps of 20."""
    codes = torch.tensor([-30, -11, -9, 29, 31, 55, 90]).view(1, 1, 1, 7)
    assert Normalized(Int(2)).stored(codes).flatten().tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert Normalized(Int(2)).projected(codes).flatten().tolist() == [-30, -30, 10, 10, 50, 50, 90]
    inner = Normalized(Int(2), PARTS // 4, 3 * PARTS // 4)
    assert inner.projected(codes).flatten().tolist() == [0, 0, 0, 20, 40, 60, 60]


def test_channels_and_pictures_are_each_their_own() -> None:
    codes = torch.randint(-20000, 20000, (2, 3, 5, 4), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    grid = Normalized(Int(4), 100, PARTS - 1000)
    whole = grid.projected(codes)
    assert whole.dtype == torch.int16
    for n in range(2):
        for c in range(3):
            assert torch.equal(grid.projected(codes[n : n + 1, c : c + 1]), whole[n : n + 1, c : c + 1])
            assert len(whole[n, c].unique()) <= 16


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("ends", [(-1.0, 1.0), (-0.9, 0.7)])
def test_integers_are_the_published_equations_up_to_one_step_of_16_bits(bits: int, ends: tuple[float, float]) -> None:
    """t = 2 (x - min) / (max - min) - 1, rounded between the two ends, and back."""
    x = np.random.default_rng(1).normal(size=(1, 2, 6, 6))
    low, high = (x.reshape(1, 2, -1).min(-1)[..., None, None], x.reshape(1, 2, -1).max(-1)[..., None, None])
    t = np.clip(2 * (x - low) / (high - low) - 1, *ends)
    step = (ends[1] - ends[0]) / (2**bits - 1)
    back = (np.rint((t - ends[0]) / step) * step + ends[0] + 1) / 2 * (high - low) + low
    low_part, high_part = (round((end + 1) / 2 * PARTS) for end in ends)
    fmt = TensorFormat(INT16, 2.0**-12, INT16.middle, 0, INT16.last_code, normalized=Normalized(Int(bits), low_part, high_part))
    apart = np.abs(fmt.fake(torch.from_numpy(x).float()).numpy() - back) / 2.0**-12
    # A value half-way between two codes may go to the other one.
    assert (apart <= 2).mean() > 0.98
    assert fmt.bits == bits


def test_a_constant_channel_stays_what_it_is() -> None:
    codes = torch.full((1, 2, 3, 3), 7)
    assert torch.equal(Normalized(Int(2), 1000, 2000).projected(codes), codes)
