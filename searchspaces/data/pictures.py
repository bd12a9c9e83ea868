"""Pictures: reading them, splitting them into disjoint roles, and making low/high-resolution pairs by the literature's protocol.

Luma networks learn on the rounded Y of the original and see a bicubic Y that was not rounded; RGB networks see 8-bit pictures.
Pictures are read when they are used, so that a folder of a thousand costs no memory.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import FileError
from searchspaces.data.bicubic import imresize
from searchspaces.data.decoding import load_picture, picture_size
from searchspaces.data.luma import luma
from searchspaces.data.scale import Scale, at_least, between, enlarged
from searchspaces.data.together import together

InputKind = Literal["low", "upsampled"]
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"}
SMALLEST_WINDOW = 32
"""Input pixels a side."""
PHOTOS = Path(__file__).parents[1] / "photos"
_NOWHERE = -1
"""The length of a file that is not there."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One picture in both resolutions.

    ``low``: ``[1, C, h, w]`` float32 in 0..1, what the network receives. ``high``: 0..255, the rounded luma ``[H, W]`` for
    networks of one channel, RGB ``[H, W, 3]`` for networks of three.
    """

    name: str
    low: Tensor
    high: np.ndarray


@dataclass(frozen=True)
class Picture:
    """A picture file; ``rgb`` reads it. ``role`` is set on the pictures that ship with the package."""

    name: str
    path: Path
    role: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    @property
    def rgb(self) -> np.ndarray:
        """``uint8 [H, W, 3]``, read anew at every access."""
        return load_picture(self.path)

    @property
    def pixels_sha256(self) -> bytes:
        """Of size and pixels, however the file stores them."""
        rgb = self.rgb
        return hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).digest()


class Entry(Protocol):
    """What can be split: a picture, or several files that belong together. ``role`` is empty where it has none yet."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...


class Filed(Protocol):
    """What lies in files."""

    @property
    def files(self) -> tuple[Path, ...]: ...


E = TypeVar("E", bound=Entry)
F = TypeVar("F", bound=Filed)


class Split(NamedTuple, Generic[E]):
    """Disjoint pictures: ranges are set on the first, plans compared on the second, results measured on the third."""

    calibration: tuple[E, ...]
    search: tuple[E, ...]
    evaluation: tuple[E, ...]


def load_distinct(path: str | Path) -> list[Picture]:
    """``load_folder``, copies of a file left out.

    Raises:
        FileError: not a folder, or no pictures in it.
    """
    return without_copies(load_folder(path))


def load_folder(path: str | Path) -> list[Picture]:
    """The pictures of a folder and its sub-folders, in the order of their names; hidden ones, as computers leave beside others
    (``._photo.jpg``), are passed over.

    Raises:
        FileError: not a folder, or no pictures in it.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileError(f"{path}: not a folder", "Pass a folder with pictures.")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    files = [p for p in found if not any(part.startswith((".", "__MACOSX")) for part in p.relative_to(folder).parts)]
    if not files:
        raise FileError(f"{path}: no pictures in this folder", f"Endings that are read: {', '.join(sorted(SUFFIXES))}.")
    return [Picture(file.relative_to(folder).with_suffix("").as_posix(), file) for file in files]


def without_copies(entries: Sequence[F]) -> list[F]:
    """The entries whose files no earlier one has, byte for byte: what is measured on must be no copy of what ranges are set on.
    Read are only files of one size. What is not there is no copy: whoever reads it tells."""
    lengths = [tuple(_length(path) for path in entry.files) for entry in entries]
    common, seen, found = Counter(lengths), set[tuple[bytes, ...]](), list[F]()
    for entry, length in zip(entries, lengths, strict=True):
        if common[length] > 1 and _NOWHERE not in length:
            digest = tuple(hashlib.sha256(path.read_bytes()).digest() for path in entry.files)
            if digest in seen:
                continue
            seen.add(digest)
        found.append(entry)
    return found


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else _NOWHERE


def shipped() -> list[Picture]:
    """The photos that come with the package; ``photos/SOURCES.tsv`` has their authors and licences."""
    with open(PHOTOS / "SOURCES.tsv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    return [Picture(Path(row["file"]).stem, PHOTOS / row["file"], row["role"]) for row in rows]


def split(pictures: Sequence[E], seed: int = 0) -> Split[E]:
    """Give every picture one role. Shipped photos keep theirs; others are drawn at random: a quarter (8 at most) to the
    search, a third (16 at most) to the evaluation, 32 of the rest at most to the calibration.

    Raises:
        FileError: fewer than three pictures.
    """
    if pictures and all(picture.role for picture in pictures):

        def of(role: str) -> tuple[E, ...]:
            return tuple(picture for picture in pictures if picture.role == role)

        return Split(of("calibration"), of("search"), of("evaluation"))
    if len(pictures) < 3:
        raise FileError(
            f"{len(pictures)} picture(s) cannot be split into calibration, search and evaluation",
            "Give a folder with at least three pictures, copies of one file not counted; more are better.",
        )
    order = np.random.default_rng(seed).permutation(len(pictures))
    search = max(1, min(8, len(pictures) // 4))
    evaluation = max(1, min(16, len(pictures) // 3))

    def take(start: int, stop: int) -> tuple[E, ...]:
        return tuple(pictures[i] for i in sorted(order[start:stop]))

    first = search + evaluation
    return Split(take(first, first + 32), take(0, search), take(search, first))


def make_pair(name: str, rgb: np.ndarray, scale: Scale, channels: int, input_kind: InputKind = "low") -> Pair:
    """Degrade a picture ``uint8 [H, W, 3]``: cropped at the right and the bottom to what shrinks to whole pixels, shrunk by
    MATLAB's bicubic.

    Args:
        channels: 1 works on the rounded luma and does not round the small picture; 3 rounds it to 8 bits.
        input_kind: "upsampled" enlarges the small picture again by bicubic; the network then has factor 1.
    """
    step = scale.numerator
    high = rgb[: rgb.shape[0] // step * step, : rgb.shape[1] // step * step]
    if channels == 1:
        high = np.rint(luma(high))
    low = imresize(high, float(1 / scale))
    if input_kind == "upsampled":
        low = imresize(low, float(scale))
    planes = low[None] if low.ndim == 2 else low.transpose(2, 0, 1)
    return Pair(name, torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32)).div_(255)[None], high)


def pairs(
    pictures: Sequence[Picture], scale: Scale, channels: int, input_kind: InputKind = "low", side: int | None = None
) -> list[Pair]:
    """``make_pair`` of every picture; only the middle ``side`` x ``side`` pixels (high resolution) when ``side`` is given.

    Raises:
        FileError: pictures cannot be read, or are smaller than 16 low-resolution pixels: all of them are named.
    """
    edge = enlarged(at_least(16, scale), scale)

    def made(picture: Picture) -> Pair:
        rgb = _in_colours(picture, edge)
        if side is not None:
            top, left = (max(0, (length - side) // 2) for length in rgb.shape[:2])
            rgb = rgb[top : top + side, left : left + side]
        return make_pair(picture.name, rgb, scale, channels, input_kind)

    return together(partial(made, picture) for picture in pictures)


def crops(
    pictures: Sequence[Picture],
    scale: Scale,
    channels: int,
    input_kind: InputKind = "low",
    count: int = 16,
    size: int = 64,
    seed: int = 0,
) -> list[Pair]:
    """Random patches of ``size`` low-resolution pixels a side, or of the next larger side that a fractional scale keeps whole;
    the same number (plus or minus one) from every picture.

    At least ``count``, and at least one of every picture. A patch is degraded as if it were a picture of its own.

    Raises:
        FileError: pictures cannot be read, or are smaller than a patch: all of them are named.
    """
    rng = np.random.default_rng(seed)
    total, edge = max(count, len(pictures)), enlarged(at_least(size, scale), scale)

    def made(i: int, picture: Picture) -> list[Pair]:
        rgb, patches = _in_colours(picture, edge), []
        for n in range(total // len(pictures) + (i < total % len(pictures))):
            top, left = (int(rng.integers(0, length - edge + 1)) for length in rgb.shape[:2])
            patch = rgb[top : top + edge, left : left + edge]
            patches.append(make_pair(f"{picture.name}#{n}", patch, scale, channels, input_kind))
        return patches

    return [pair for patches in together(partial(made, *numbered) for numbered in enumerate(pictures)) for pair in patches]


def _in_colours(picture: Picture, edge: int) -> np.ndarray:
    """The picture ``uint8 [H, W, 3]``, which must have more than one colour, and sides of ``edge`` pixels; by its head, so that
    a small one is not decoded."""
    height, width = picture_size(picture.path)
    if min(height, width) < edge:
        raise FileError(
            f"{picture.path}: {height}x{width} pixels (height x width) are smaller than a patch",
            f"Pictures must be at least {edge}x{edge} pixels here.",
        )
    rgb = picture.rgb
    if rgb.min() == rgb.max():
        raise FileError(f"{picture.path}: the picture has one colour only", "It says nothing about quality; take it out.")
    return rgb


def patches(pairs: Sequence[Pair], count: int, size: int, seed: int = 0) -> list[Pair]:
    """Random windows of ``size`` input pixels a side (or the whole length, where that is less) out of pairs, ``count`` in all."""
    rng = np.random.default_rng(seed)
    made = []
    for n in range(count):
        pair = pairs[n % len(pairs)]
        height, width = pair.low.shape[2:]
        scale = between(pair.high.shape[0], height)
        step = scale.denominator
        h, w = min(at_least(size, scale), height), min(at_least(size, scale), width)
        top, left = (int(rng.integers(0, side // step + 1)) * step for side in (height - h, width - w))
        made.append(_cut(pair, f"{pair.name}#{n}", (top, left), (h, w)))
    return made


def fitted(pair: Pair, only: tuple[int, int] | None, multiple: int = 1) -> Pair:
    """The middle of a pair, of the (height, width) ``only``, or of the largest sides that are multiples; itself where it fits.

    Raises:
        FileError: it is smaller than that.
    """
    height, width = pair.low.shape[2:]
    wanted = only or (height // multiple * multiple, width // multiple * multiple)
    if wanted == (height, width):
        return pair
    if only is None and not min(wanted):
        only = (multiple, multiple)
    if only is not None and (height < only[0] or width < only[1]):
        raise FileError(
            f"{pair.name}: {height}x{width} pixels (height x width) after degradation, less than the {only[0]}x{only[1]} needed",
            "Give --input a smaller size, where the network is for the one size that is priced, or larger pictures (--images).",
        )
    return window(pair, wanted)


def fewer(pairs: Sequence[Pair], pixels: float) -> list[Pair]:
    """As many of the pictures, whole, as have about ``pixels`` low-resolution pixels in all; at least one."""
    count = int(np.clip(pixels // pairs[0].low[0, 0].numel(), 1, len(pairs)))
    return [pairs[i] for i in np.linspace(0, len(pairs) - 1, count).round().astype(int)]


def windows(pairs: Sequence[Pair], pixels: float, multiple: int = 1) -> list[Pair]:
    """The pictures cut down to about ``pixels`` low-resolution pixels in all: smaller windows from their middle first, then
    fewer. Sides are multiples of ``multiple`` where those of the pictures are."""
    side = int(np.sqrt(max(pixels, 1.0) / len(pairs)))
    count = len(pairs) if side >= SMALLEST_WINDOW else max(1, int(pixels / SMALLEST_WINDOW**2))
    side = -(-max(side, SMALLEST_WINDOW) // multiple) * multiple
    picked = [pairs[i] for i in np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)]
    return [window(pair, side) for pair in picked]


def window(pair: Pair, side: int | tuple[int, int]) -> Pair:
    """The middle of a pair, ``side`` input pixels a side (or height and width), the whole length where that is less;
    with a fractional scale as much of it as is enlarged to whole pixels."""
    height, width = pair.low.shape[2:]
    tall, wide = side if isinstance(side, tuple) else (side, side)
    step = between(pair.high.shape[0], height).denominator
    h, w = min(tall, height) // step * step, min(wide, width) // step * step
    top, left = (height - h) // 2 // step * step, (width - w) // 2 // step * step
    return _cut(pair, pair.name, (top, left), (h, w))


def _cut(pair: Pair, name: str, at: tuple[int, int], size: tuple[int, int]) -> Pair:
    """A part of a pair, in input pixels whose multiples are whole."""
    scale = between(pair.high.shape[0], pair.low.shape[2])
    (top, left), (height, width) = at, size
    rows, columns = (
        slice(enlarged(first, scale), enlarged(first + side, scale)) for first, side in ((top, height), (left, width))
    )
    return Pair(name, pair.low[:, :, top : top + height, left : left + width].contiguous(), pair.high[rows, columns])
