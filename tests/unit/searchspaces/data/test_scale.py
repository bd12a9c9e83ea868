"""Scales: how they are said and spelled, and which pixels of a pair belong together where they are no whole numbers."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hwmodels.errors import FileError, UsageError
from searchspaces.data import pictures
from searchspaces.data.bicubic import imresize
from searchspaces.data.pictures import Pair, Picture
from searchspaces.data.scale import FINEST, Scale, at_least, border, enlarged, exact, normal, scale_text, shrunk, spelled
from searchspaces.tasks.fidelity import Fidelity
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.restoration import PairFiles, read_pair
from searchspaces.tasks.task import Signature
from searchspaces.tasks.video import Clip

ALL = sorted({Fraction(n, d) for n, d in product(range(1, 65), range(1, FINEST + 1)) if Fraction(n, d) >= 1})
HALF = Fraction(3, 2)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2", 2),
        (" 2.0 ", 2),
        (2.0, 2),
        (3, 3),
        ("1.5", HALF),
        (1.5, HALF),
        ("6/4", HALF),
        ("4/3", Fraction(4, 3)),
        (1.1, Fraction(11, 10)),
    ],
)
def test_what_is_said(said: int | float | str, meant: Scale) -> None:
    assert exact(said) == meant
    assert type(exact(said)) is type(meant)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("0", "not above 0"),
        (-1, "not above 0"),
        ("nan", "no number"),
        (float("inf"), "no number"),
        ("1.5x", "no number"),
        ("1/0", "no number"),
        ("", "no number"),
        ("1_5", "no number"),
        ("1e999999999", "no number"),
        (True, "no number"),
        ("2/3", "must enlarge"),
        ("65", "too large"),
        (10**400, "too large"),
        ("1.3333", "Is 4/3 meant"),
        ("1000000/999999", "Is 1 meant"),
    ],
)
def test_what_is_no_scale(said: int | float | str, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        exact(said)
    assert why in f"{refused.value.message} {refused.value.hint}"


def test_every_scale_is_read_as_it_is_written() -> None:
    for scale in map(normal, ALL):
        assert exact(spelled(scale)) == exact(scale_text(scale)) == scale
        assert isinstance(spelled(scale), int) == (Fraction(scale).denominator == 1)
    assert [scale_text(normal(one)) for one in (Fraction(2), HALF, Fraction(9, 8), Fraction(4, 3))] == [
        "2",
        "1.5",
        "1.125",
        "4/3",
    ]


def test_sides_that_are_whole_before_and_behind() -> None:
    for scale, side in product(ALL, (16, 47, 64)):
        low = at_least(side, scale)
        assert side <= low < side + scale.denominator
        assert enlarged(low, scale) == low * scale
        assert (back := shrunk(side, scale)) * scale <= side < (back + scale.denominator) * scale
        assert border(scale) - 1 < scale <= border(scale)
    with pytest.raises(ValueError, match="no whole number"):
        enlarged(15, HALF)


def test_a_pair_is_cropped_to_what_shrinks_to_whole_pixels() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 34, 3), dtype=np.uint8)
    pair = pictures.make_pair("a", rgb, HALF, 3)
    assert pair.high.shape == (18, 33, 3)
    assert np.array_equal(pair.high, rgb[:18, :33])
    assert tuple(pair.low.shape) == (1, 3, 12, 22)
    small = imresize(rgb[:18, :33], 2 / 3)
    assert np.array_equal(pair.low[0].permute(1, 2, 0).numpy(), (small / 255).astype(np.float32))
    assert np.array_equal(pictures.make_pair("a", rgb, 3, 3).high, rgb[:18, :33])


def _ramp(scale: Fraction, height: int, width: int) -> Pair:
    """A pair whose values are places: a pixel of ``high`` says where it stands, one of ``low`` where what it becomes begins."""
    rows, columns = np.mgrid[: enlarged(height, scale), : enlarged(width, scale)]
    tall, wide = np.mgrid[:height, :width]
    low = torch.from_numpy(1000.0 * tall + wide)[None, None] * float(scale)
    return Pair("ramp", low, 1000.0 * rows + columns)


@pytest.mark.parametrize("scale", [HALF, Fraction(4, 3), Fraction(11, 10), Fraction(3)])
def test_cuts_of_both_pictures_show_the_same(scale: Fraction) -> None:
    step = scale.denominator
    pair = _ramp(scale, 40 * step, 50 * step)
    cuts = [pictures.window(pair, 33), pictures.window(pair, (32, 21)), *pictures.patches([pair], 8, 17, seed=1)]
    cuts += [*pictures.windows([pair], 32 * 32), pictures.fitted(pair, None, 7 * step)]
    for cut in cuts:
        height, width = cut.low.shape[2:]
        assert cut.high.shape == (height * scale, width * scale)
        assert float(cut.low[0, 0, 0, 0]) == pytest.approx(cut.high[0, 0])


def test_clips_are_cut_likewise() -> None:
    pair = _ramp(HALF, 40, 50)
    clip = Clip("clip", torch.cat([pair.low, pair.low]), np.stack([pair.high, pair.high]))
    for cut in (clip.middle(33, 21), clip.middle(100, 27), clip.window(4, 10, 12, 14)):
        height, width = cut.low.shape[2:]
        assert cut.high.shape == (2, height * HALF, width * HALF)
        assert float(cut.low[1, 0, 0, 0]) == pytest.approx(cut.high[1, 0, 0])


def test_crops_of_the_calibration_are_whole(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (150, 141, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    for crop in pictures.crops([Picture("a", tmp_path / "a.png")], Fraction(4, 3), 1, size=64):
        assert tuple(crop.low.shape) == (1, 1, 66, 66)
        assert crop.high.shape == (88, 88)
    with pytest.raises(FileError, match="smaller than a patch"):
        pictures.crops([Picture("a", tmp_path / "a.png")], Fraction(4, 3), 1, size=108)


def test_tasks_with_a_fractional_scale(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, size in (("low", (41, 30)), ("high", (63, 45)), ("even", (42, 30))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    contract = Signature(HALF, 3)
    files = PairFiles("a", tmp_path / "even.png", tmp_path / "high.png")
    pair = read_pair(files, contract)
    assert SuperResolution.of([pair]).contract.scale == HALF
    assert SuperResolution(contract).border == 2
    for low, scale in (("low", HALF), ("even", 2)):
        with pytest.raises(FileError, match=f"are not {scale_text(scale)} times the"):
            read_pair(PairFiles("a", tmp_path / f"{low}.png", files.high), Signature(scale, 3))
    task = Fidelity(contract)
    task._network = torch.nn.Upsample(scale_factor=1.5)
    alone = task.read(Picture("low", tmp_path / "low.png"))
    assert tuple(alone.low.shape[2:]) == (40, 30)
    assert alone.high.shape == (60, 45, 3)
