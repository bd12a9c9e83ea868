"""Patches that the shipped networks were trained on: low and high ones show the same place, turned alike; busy ones are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from searchspaces.data import pictures
from searchspaces.data.bicubic import imresize
from searchspaces.training.patches import PatchSampler, picture_pairs


def _numbered(height: int, width: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture that is bright on the right alone and of no symmetry, and the same with every pixel repeated."""
    random = np.random.default_rng(0)
    low = random.integers(0, 256, (height, width, 1)).astype(np.uint8)
    low[:, : width // 2] //= 64
    return low, low.repeat(scale, 0).repeat(scale, 1)


@pytest.mark.parametrize("scale", [2, 3])
def test_both_patches_show_the_same_place(scale: int) -> None:
    sampler = PatchSampler([_numbered(20, 30, scale)], scale=scale, patch=8, seed=0, candidates=1, area_power=1.0)
    low, high = sampler.batch(16)
    assert low.shape == (16, 1, 8, 8)
    assert np.array_equal(low.numpy().repeat(scale, 2).repeat(scale, 3), high.numpy())
    assert len({patch.numpy().tobytes() for patch in low}) == 16


def test_of_several_candidates_the_busiest_is_kept() -> None:
    pair = _numbered(24, 60, 2)
    spread = []
    for candidates in (1, 8):
        low, _ = PatchSampler([pair], scale=2, patch=8, seed=0, candidates=candidates, area_power=1.0).batch(32)
        spread.append(float(low.std(dim=(1, 2, 3)).mean()))
    assert spread[1] > spread[0]


def test_pairs_are_the_picture_at_several_sizes_and_its_bicubic_twin(tmp_path: Path) -> None:
    rgb = pictures.shipped()[0].rgb[:129, :160]
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    pairs = picture_pairs([tmp_path], scale=2, channels=3, long_sides=[64, 100, 150], drawings=1, seed=0)
    assert [high.shape for _, high in pairs] == [(52, 64, 3), (80, 100, 3), (480, 480, 3)]
    for low, high in pairs:
        assert np.array_equal(low, imresize(high, 1 / 2))
    (low, high), *_ = picture_pairs([tmp_path], scale=2, channels=1, long_sides=[], drawings=0, seed=0)
    assert (low.shape, high.shape) == ((64, 80, 1), (128, 160, 1))
