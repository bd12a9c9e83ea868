"""The size of a picture, told by the head of its file."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hwmodels.errors import FileError
from searchspaces.data.decoding import load_picture, picture_size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_that_of_the_picture_as_it_is_read(tmp_path: Path, orientation: int) -> None:
    file = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (30, 20)).save(file, exif=exif)
    assert picture_size(file) == load_picture(file).shape[:2] == ((30, 20) if orientation >= 5 else (20, 30))


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    file = tmp_path / "text.png"
    file.write_text("no picture")
    with pytest.raises(FileError, match="this is not a picture"):
        picture_size(file)


@pytest.mark.parametrize("brand", [b"heic", b"avif"])
def test_photos_of_other_formats_are_named(brand: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(40))
    with pytest.raises(FileError, match="HEIC or AVIF"):
        load_picture(path)
