"""Rows of pictures: the same values as the whole picture, in every orientation and every kind of pixels; bicubic by rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from hwmodels.errors import FileError
from searchspaces.data.bicubic import imresize
from searchspaces.data.bicubic_rows import Enlargement
from searchspaces.data.decoding import PictureRows

RGBA = np.random.default_rng(0).integers(0, 256, (150, 37, 4), dtype=np.uint8)
GREY = RGBA[..., 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_as_the_camera_says(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGBA[..., :3]).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    with (tmp_path / "store").open("w+b") as store:
        found = PictureRows(tmp_path / "a.png", store)
        assert (found.height, found.width) == expected.shape[:2]
        assert np.array_equal(found.rows(0, found.height), expected)
        assert np.array_equal(found.rows(11, 17), expected[11:17])


def _palette_with_transparency() -> Image.Image:
    image = Image.fromarray(RGBA[..., :3] // 128 * 128).quantize(8)
    image.info["transparency"] = 3
    return image


KINDS: dict[str, tuple[Image.Image, np.ndarray]] = {
    "grey": (Image.fromarray(GREY), GREY[..., None]),
    "grey and alpha": (Image.fromarray(RGBA[..., :2]), RGBA[..., :2]),
    "colour": (Image.fromarray(RGBA[..., :3]), RGBA[..., :3]),
    "colour and alpha": (Image.fromarray(RGBA), RGBA),
    "16 bits": (Image.fromarray(GREY.astype(np.uint16) * 200 + 7), GREY[..., None].astype(np.uint16) * 200 + 7),
    "black and white": (Image.fromarray(GREY > 127), (GREY[..., None] > 127) * np.uint8(255)),
    "palette": (_palette_with_transparency(), np.asarray(_palette_with_transparency().convert("RGBA"))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_pixels(tmp_path: Path, kind: str) -> None:
    image, expected = KINDS[kind]
    image.save(tmp_path / "a.png")
    with (tmp_path / "store").open("w+b") as store:
        found = PictureRows(tmp_path / "a.png", store)
        assert (found.channels, found.bits) == (expected.shape[2], expected.itemsize * 8)
        assert np.array_equal(found.rows(60, 140), expected[60:140])


def test_pixels_without_a_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "float.tiff")
    Image.fromarray(GREY.astype(np.int32) << 20).save(tmp_path / "int.tiff")
    for name in ("float", "int"):
        with (tmp_path / "store").open("w+b") as store, pytest.raises(FileError, match="agreed range"):
            PictureRows(tmp_path / f"{name}.tiff", store)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_by_rows_is_bicubic(scale: int) -> None:
    planes = np.random.default_rng(1).uniform(0, 255, (21, 13, 2))
    whole = imresize(planes, scale)
    by_rows = Enlargement(21, 13, scale)
    assert (by_rows.height, by_rows.width) == whole.shape[:2]
    for top, bottom in ((0, 5), (5, 6), (30, 21 * scale), (0, 21 * scale)):
        first, last = by_rows.sees(top, bottom)
        assert np.array_equal(by_rows.rows(planes[first:last], first, top, bottom), whole[top:bottom])
