"""Pictures: what is read, what is refused and how, the shipped photos, splits, pairs and crops."""

from __future__ import annotations

import csv
import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hwmodels.errors import FileError
from searchspaces.data import decoding, pictures
from searchspaces.data.bicubic import imresize
from searchspaces.data.decoding import load_picture
from searchspaces.data.luma import luma
from searchspaces.data.pictures import Picture, crops, load_folder, make_pair, pairs, shipped, split
from searchspaces.tasks.restoration import PairFiles

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def _saved(folder: Path, image: Image.Image, name: str = "a.png") -> Path:
    image.save(folder / name)
    return folder / name


def test_kinds_of_pixels(tmp_path: Path) -> None:
    grey = RGB[..., 0]
    assert np.array_equal(load_picture(_saved(tmp_path, Image.fromarray(RGB))), RGB)
    assert np.array_equal(load_picture(_saved(tmp_path, Image.fromarray(grey))), np.repeat(grey[..., None], 3, axis=2))
    sixteen = Image.fromarray(np.minimum(grey * 257.0 + 100, 65535).astype(np.uint16))
    assert np.array_equal(load_picture(_saved(tmp_path, sixteen))[..., 1], grey)
    palette = Image.fromarray(RGB // 128 * 128).quantize(8)
    assert np.array_equal(load_picture(_saved(tmp_path, palette)), np.asarray(palette.convert("RGB")))
    black_and_white = Image.fromarray(grey > 127)
    assert set(np.unique(load_picture(_saved(tmp_path, black_and_white)))) == {0, 255}


def _png16(rgb: np.ndarray) -> bytes:
    """A PNG of 16 bits per channel, written by hand because Pillow writes none in colour."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = rgb.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_sixteen_bits_in_colour(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png16(RGB.astype(np.uint16) * 257))
    assert np.array_equal(load_picture(tmp_path / "a.png"), RGB)


def test_transparency_is_dropped_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    alpha = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(load_picture(_saved(tmp_path, Image.fromarray(alpha))), RGB)
    assert "transparency dropped" in caplog.text


def test_orientation_of_the_camera(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(load_picture(tmp_path / "a.png"), np.rot90(RGB, -1))


def test_what_is_not_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(FileError, match="not a picture"):
        load_picture(text)
    with pytest.raises(FileError, match=r"missing\.png"):
        load_picture(tmp_path / "missing.png")
    whole = _saved(tmp_path, Image.fromarray(RGB)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match="cannot be read"):
        load_picture(tmp_path / "cut.png")
    with pytest.raises(FileError, match="no agreed range"):
        load_picture(_saved(tmp_path, Image.fromarray(RGB[..., 0].astype(np.float32)), "a.tiff"))
    monkeypatch.setattr(decoding, "MAX_PIXELS", 500)
    with pytest.raises(FileError, match=r"20x30 pixels .* more than"):
        load_picture(tmp_path / "a.png")


def test_decompression_bomb(tmp_path: Path) -> None:
    """A picture of 400 million pixels in a file of a few hundred kilobytes is refused before it is decoded."""
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(FileError, match="pixels"):
        load_picture(tmp_path / "bomb.png")


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not a folder"):
        load_folder(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(FileError, match="no pictures"):
        load_folder(tmp_path)
    (tmp_path / "sub").mkdir()
    _saved(tmp_path / "sub", Image.fromarray(RGB), "b.PNG")
    _saved(tmp_path, Image.fromarray(RGB), "c.jpg")
    found = load_folder(tmp_path)
    assert [picture.name for picture in found] == ["c", "sub/b"]
    assert found[1].rgb.shape == RGB.shape


def test_copies_of_a_picture_are_one(tmp_path: Path) -> None:
    """Else what is measured on may be a copy of what ranges are set on."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "a (copy).png").write_bytes((tmp_path / "a.png").read_bytes())
    assert len(pictures.load_folder(tmp_path)) == 4
    assert [picture.name for picture in pictures.load_distinct(tmp_path)] == ["a", "b", "c"]
    names = {"one": ("a", "b"), "other": ("a", "c"), "copy": ("again/a (copy)", "b"), "lost": ("nowhere", "b")}
    files = [PairFiles(name, *(tmp_path / f"{part}.png" for part in parts)) for name, parts in names.items()]
    assert [pair.name for pair in pictures.without_copies(files)] == ["one", "other", "lost"]


def test_pixels_are_known_again_in_another_format(tmp_path: Path) -> None:
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(tmp_path / "a.png")
    Image.open(tmp_path / "a.png").save(tmp_path / "a.bmp")
    one, other = pictures.load_folder(tmp_path)
    assert one.path != other.path
    assert one.pixels_sha256 == other.pixels_sha256


def test_shipped_photos() -> None:
    """All attributed under licences that allow shipping, small, and large enough for 64-pixel patches at every scale."""
    with open(pictures.PHOTOS / "SOURCES.tsv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    assert {row["file"] for row in rows} == {path.name for path in pictures.PHOTOS.glob("*.png")}
    for row in rows:
        assert row["licence"] in ("CC0-1.0", "CC-BY-4.0")
        assert all(row[key] for key in ("author", "source_package", "path_in_package", "changes", "licence_url"))
    assert sum(path.stat().st_size for path in pictures.PHOTOS.glob("*.png")) < 1_000_000
    roles = split(shipped())
    assert [len(part) for part in roles] == [3, 2, 3]
    for picture in shipped():
        height, width, _ = picture.rgb.shape
        assert height % 12 == width % 12 == 0
        assert min(height, width) >= (256 if picture.role == "calibration" else 240)


def _listed(count: int) -> list[Picture]:
    return [Picture(f"p{i}", Path(f"p{i}.png")) for i in range(count)]


@pytest.mark.parametrize("count", [3, 4, 10, 100])
def test_split_is_disjoint_and_repeatable(count: int) -> None:
    parts = split(_listed(count), seed=5)
    names = [picture.name for part in parts for picture in part]
    assert len(names) == len(set(names)) <= count
    assert all(parts)
    assert parts == split(_listed(count), seed=5)
    if count > 3:
        assert len({split(_listed(count), seed=seed) for seed in range(6)}) > 1
    if count <= 10:
        assert len(names) == count


def test_too_few_pictures_to_split() -> None:
    with pytest.raises(FileError, match="at least three"):
        split(_listed(2))


def test_pairs_follow_the_protocol() -> None:
    rgb = make_pair("x", RGB, 3, 3)
    assert rgb.low.shape == (1, 3, 6, 10)
    assert np.array_equal(rgb.high, RGB[:18, :30])
    assert np.array_equal((rgb.low[0].permute(1, 2, 0) * 255).round().numpy(), imresize(RGB[:18, :30], 1 / 3))
    y = make_pair("x", RGB, 3, 1)
    assert y.high.shape == (18, 30)
    assert np.array_equal(y.high, np.rint(luma(RGB[:18])))
    assert torch.allclose(y.low[0, 0], torch.from_numpy(imresize(y.high, 1 / 3) / 255).float())
    assert float((y.low * 255 - (y.low * 255).round()).abs().max()) > 0.1  # not rounded
    up = make_pair("x", RGB, 3, 1, "upsampled")
    assert up.low.shape == (1, 1, 18, 30)
    assert torch.allclose(up.low[0, 0], torch.from_numpy(imresize(imresize(y.high, 1 / 3), 3) / 255).float())


def test_pairs_of_the_middle() -> None:
    (pair,) = pairs(shipped()[:1], 2, 1, side=64)
    assert pair.low.shape == (1, 1, 32, 32)
    whole = shipped()[0].rgb
    top, left = ((length - 64) // 2 for length in whole.shape[:2])
    assert np.array_equal(pair.high, np.rint(luma(whole[top : top + 64, left : left + 64])))


@pytest.mark.parametrize(("scale", "channels", "kind"), [(2, 1, "low"), (3, 3, "low"), (4, 3, "low"), (2, 1, "upsampled")])
def test_crops_cover_all_pictures(scale: int, channels: int, kind: pictures.InputKind) -> None:
    calibration = split(shipped()).calibration
    made = crops(calibration, scale, channels, kind, count=16, seed=3)
    assert len(made) == 16
    side = 64 * scale if kind == "upsampled" else 64
    assert all(pair.low.shape == (1, channels, side, side) for pair in made)
    counts = [sum(pair.name.startswith(f"{picture.name}#") for pair in made) for picture in calibration]
    assert sorted(counts) == [5, 5, 6]
    again = crops(calibration, scale, channels, kind, count=16, seed=3)
    assert all(torch.equal(a.low, b.low) for a, b in zip(made, again, strict=True))
    assert not torch.equal(made[0].low, crops(calibration, scale, channels, kind, count=16, seed=4)[0].low)
    assert len(crops(calibration, scale, channels, kind, count=1)) == 3


def test_smaller_than_a_patch(tmp_path: Path) -> None:
    small = Picture("a", _saved(tmp_path, Image.fromarray(RGB)))
    with pytest.raises(FileError, match="smaller than a patch") as caught:
        crops([small], 2, 3)
    assert "128x128" in caught.value.hint
    with pytest.raises(FileError, match="smaller than a patch"):
        pairs([small], 2, 3)


def test_what_a_computer_hides_is_no_picture(tmp_path: Path) -> None:
    for name in ("a.png", "._a.png", ".thumbnails/b.png", "__MACOSX/._a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(RGB).save(tmp_path / name)
    assert [picture.name for picture in load_folder(tmp_path)] == ["a"]


def test_all_pictures_that_cannot_be_used_are_named_at_once(tmp_path: Path) -> None:
    good = Picture("good", _saved(tmp_path, Image.fromarray(np.tile(RGB, (8, 8, 1)))))
    bad = []
    for name, side in (("x", 3), ("y", 7)):
        bad.append(Picture(name, tmp_path / f"{name}.png"))
        Image.fromarray(RGB[:side, :side]).save(bad[-1].path)
    (tmp_path / "z.png").write_text("no picture")
    bad.append(Picture("z", tmp_path / "z.png"))
    for use in (pairs, crops):
        with pytest.raises(FileError, match="3 pictures cannot be used") as caught:
            use([bad[0], good, *bad[1:]], 2, 3)
        assert all(f"{name}.png: " in caught.value.message for name in "xyz")
        assert "at least" in str(caught.value.hint)
    crops([good], 2, 3)


def test_pairs_are_cut_to_what_a_network_takes() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (88, 72, 3), dtype=np.uint8)
    pair = pictures.make_pair("p", rgb, 2, 3)
    cut = pictures.fitted(pair, None, 8)
    assert tuple(cut.low.shape[2:]) == (40, 32)
    assert torch.equal(cut.low, pair.low[:, :, 2:42, 2:34])
    np.testing.assert_array_equal(cut.high, pair.high[4:84, 4:68])
    assert pictures.fitted(pair, (44, 36)) is pair
    assert tuple(pictures.fitted(pair, (20, 30)).low.shape[2:]) == (20, 30)
    with pytest.raises(FileError, match=r"44x36 pixels .* after degradation, less than the 44x40"):
        pictures.fitted(pair, (44, 40))
    assert [one.low.shape[2] % 8 for one in pictures.windows([cut, cut], 900.0, 8)] == [0]
    assert len(pictures.fewer([pair] * 5, 3.5 * pair.low[0, 0].numel())) == 3
