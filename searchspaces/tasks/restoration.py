"""Restoration: pairs of degraded and clean pictures from the user, who alone knows the degradation (noise, a camera).

Two ways to give pairs: a folder with ``low/`` and ``high/``, files of one name belong together; or a CSV file of two columns,
degraded and clean, paths beside the file. Clean pictures are ``scale`` times the size of degraded ones, 1 included.

Measured as in super-resolution, on the luma; at scale 1 no border is shaved. Networks of one channel get the BT.601 luma of
coloured pictures, not rounded, and of grey ones the values as they are, 0..255.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hwmodels.errors import FileError
from searchspaces.data import pictures
from searchspaces.data.bicubic import imresize
from searchspaces.data.decoding import picture_size
from searchspaces.data.luma import luma
from searchspaces.data.pictures import Pair, Picture
from searchspaces.data.scale import border, scale_text, shrunk
from searchspaces.tasks.image import CALIBRATION_CROPS, SEARCH_SIDE, SuperResolution
from searchspaces.tasks.task import Network, Samples, Signature

LOW, HIGH = "low", "high"
CROP_SIDE = 64
"""Input pixels of a calibration crop."""


@dataclass(frozen=True)
class PairFiles:
    """Two files of one scene. ``role``: as of ``Picture``; pairs have none."""

    name: str
    low: Path
    high: Path
    role: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.low, self.high)


class Restoration(SuperResolution):
    """Pairs from the user, through the network."""

    name = "restoration"
    summary = "pairs of degraded and clean pictures (folders low/ and high/, or a CSV of two columns), scale 1 or more"

    @property
    def border(self) -> int:
        return border(self.contract.scale) if self.contract.scale > 1 else 0

    @property
    def baseline_name(self) -> str:
        return "bicubic" if self.contract.scale > 1 else "the input"

    def samples(self, source: Path | None, seed: int, network: Network) -> Samples:
        split = pictures.split(self.entries(source), seed=seed)
        calibration, search, evaluation = self._read_roles(split)
        crops = pictures.patches(calibration, max(CALIBRATION_CROPS, len(calibration)), CROP_SIDE, seed)
        side = shrunk(SEARCH_SIDE, self.contract.scale)
        middles = [pictures.window(pair, side) for pair in search]
        return Samples(crops, [pair.name for pair in split.calibration], middles, evaluation)

    def entries(self, source: Path | None) -> Sequence[PairFiles]:
        if source is None:
            raise FileError(
                "restoration needs pairs of pictures", f"Give --images a folder with {LOW}/ and {HIGH}/, or a CSV file."
            )
        return pair_files(source)

    def _input_size(self, entry: PairFiles) -> tuple[int, int]:
        return picture_size(entry.low)

    def read(self, entry: PairFiles) -> Pair:
        return read_pair(entry, self.contract)


def is_pairs(source: Path) -> bool:
    """Whether pictures there come in pairs."""
    return source.suffix.lower() == ".csv" or all((source / side).is_dir() for side in (LOW, HIGH))


def pair_files(source: Path) -> list[PairFiles]:
    """The pairs of a folder or a CSV file, in the order of their names or lines; copies of a pair are left out.

    Raises:
        FileError: no pairs there; a picture without its partner; a file that cannot be read.
    """
    found = _of_csv(source) if source.suffix.lower() == ".csv" else _of_folder(source)
    return pictures.without_copies(found)


def _of_folder(source: Path) -> list[PairFiles]:
    if not is_pairs(source):
        raise FileError(
            f"{source} has no folders {LOW}/ and {HIGH}/", "Put degraded pictures into one, clean ones into the other."
        )
    low, high = ({picture.name: picture for picture in pictures.load_folder(source / side)} for side in (LOW, HIGH))
    for have, lack, missing in ((LOW, HIGH, low.keys() - high.keys()), (HIGH, LOW, high.keys() - low.keys())):
        if missing:
            raise FileError(
                f"{source}: no partner in {lack}/ for what {have}/ holds: {', '.join(sorted(missing)[:5])}",
                "Files of one name, without their endings, belong together.",
            )
    return [PairFiles(name, low[name].path, high[name].path) for name in low]


SEPARATORS = ",;\t"
"""Between the columns of a table; spreadsheets write a semicolon where a comma is one of decimals."""


def _of_csv(source: Path) -> list[PairFiles]:
    try:
        text = source.read_text(encoding="utf-8-sig")
        tables = [list(csv.reader(io.StringIO(text, newline=""), delimiter=mark)) for mark in SEPARATORS]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{source}: cannot be read as a table ({error})", "Write two columns: degraded, clean.") from None
    found_rows = [[row for row in table if any(cell.strip() for cell in row)] for table in tables]
    rows = next((found for found in found_rows if all(len(row) == 2 for row in found)), found_rows[0])
    if wrong := next((number for number, row in enumerate(rows, 1) if len(row) != 2), None):
        raise FileError(f"{source}: row {wrong} has {len(rows[wrong - 1])} column(s)", "Write two columns: degraded, clean.")
    if rows and not any(Path(cell.strip()).suffix.lower() in pictures.SUFFIXES for cell in rows[0]):
        rows = rows[1:]  # names of the columns
    if not rows:
        raise FileError(f"{source}: no pairs in it", "Write two columns: degraded, clean.")
    found = [PairFiles(Path(low.strip()).stem, source.parent / low.strip(), source.parent / high.strip()) for low, high in rows]
    names = [pair.name for pair in found]
    if len(set(names)) == len(names):
        return found
    return [PairFiles(f"{number:04d}-{pair.name}", pair.low, pair.high) for number, pair in enumerate(found, 1)]


def read_pair(files: PairFiles, contract: Signature) -> Pair:
    """Read both pictures as the network and the judge take them.

    Raises:
        FileError: a picture cannot be read, is too small, has one colour only, or the sizes do not fit the scale.
    """
    low, high = (Picture(files.name, path).rgb for path in (files.low, files.high))
    scale = contract.scale
    if high.shape[:2] != tuple(scale * side for side in low.shape[:2]):  # sides that no scale keeps whole are equal to none
        (h, w), (tall, wide) = low.shape[:2], high.shape[:2]
        raise FileError(
            f"{files.high}: {tall}x{wide} pixels (height x width) are not {scale_text(scale)} times the {h}x{w} of {files.low}",
            f"This network enlarges {scale_text(scale)} times: clean pictures must be exactly so much larger.",
        )
    if min(low.shape[:2]) < 16 or not np.ptp(low, axis=(0, 1)).any():
        raise FileError(
            f"{files.low}: too small or of one colour only", "Pictures must have 16x16 pixels, and something in them."
        )
    if contract.channels == 1:
        grey = all(np.array_equal(rgb[..., 0], rgb[..., k]) for rgb in (low, high) for k in (1, 2))
        low, high = (rgb[..., 0].astype(np.float64) if grey else luma(rgb) for rgb in (low, high))
        high = np.rint(high)
    if contract.input_kind == "upsampled":
        low = imresize(low, float(scale))
    planes = low[None] if low.ndim == 2 else low.transpose(2, 0, 1)
    x = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32)).div_(255)[None]
    return Pair(files.name, x, high)


TASK = Restoration
