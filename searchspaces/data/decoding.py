"""Decoding pictures: whole, as RGB of 8 bits, or some rows at a time, as they are stored.

What cannot be read becomes a message with something to do. Pillow decodes a picture at once and keeps a byte for each value of
a pixel, four for each pixel in colour. Rows are taken from a file, to which it went at once.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hwmodels import impostors
from hwmodels.errors import FileError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
"""What is decoded. Formats that Pillow hands to other programs (EPS, PDF) are left out on purpose."""
PHOTOS = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis"))
"""How such files begin, behind four bytes."""
MAX_PIXELS = 64_000_000

_ORIENTATION = 0x0112
_SIDEWAYS = {5, 6, 7, 8}
_FROM_THE_END = {3, 4, 7, 8}
"""Orientations whose first row is a column of what is stored, and those whose first row is the last of these."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What the camera's orientation tag (Exif 2.32, table 4) asks for."""

_BAND = 64
"""Rows that are taken out of a decoded picture at once."""

_log = logging.getLogger(__name__)


@contextmanager
def _messages(path: str | Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except Image.DecompressionBombError as error:
        raise FileError(f"{path}: {error}", "Crop the picture, or make it smaller.") from None
    except UnidentifiedImageError:
        impostors.check_file(Path(path), "a picture")
        if Path(path).read_bytes()[4:12] in PHOTOS:
            raise FileError(f"{path}: a HEIC or AVIF photo, which is not read", "Convert it to PNG or JPEG first.") from None
        raise FileError(f"{path}: this is not a picture", f"Formats that are read: {', '.join(FORMATS)}.") from None
    except FileNotFoundError:
        raise FileError(f"{path}: there is no such picture", "Check the path.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise FileError(f"{path}: the picture cannot be read ({error})", "It may be damaged: replace or leave it out.") from None


def _decoded(path: str | Path) -> tuple[Image.Image, bool, int]:
    """A picture as its file stores it, not turned; whether its values have 16 bits there; and how many pictures it is the first
    of."""
    with Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise FileError(
                f"{path}: {image.height}x{image.width} pixels (height x width), more than {MAX_PIXELS // 1_000_000} megapixels",
                "Crop the picture, or make it smaller.",
            )
        wide = any(";16" in str(tile[3]) for tile in image.tile)
        pictures = int(getattr(image, "n_frames", 1))
        image.load()
        return image, wide, pictures


def picture_size(path: str | Path) -> tuple[int, int]:
    """Height and width in pixels, as ``load_picture`` would give them, from the head of the file alone.

    Raises:
        FileError: not there, or not a picture.
    """
    with _messages(path), Image.open(path, formats=FORMATS) as image:
        turned = image.getexif().get(_ORIENTATION, 1) in _SIDEWAYS
        return (image.width, image.height) if turned else (image.height, image.width)


def load_picture(path: str | Path) -> np.ndarray:
    """Read a picture as ``uint8 [H, W, 3]``.

    Grey becomes RGB, palettes are resolved, 16 bits are rounded to 8, transparency is dropped (and said so in the log), and
    the camera's orientation tag is applied.

    Raises:
        FileError: not there, not a picture, truncated, of a pixel type that has no agreed range, or of more than 64 megapixels.
    """
    with _messages(path):
        image = ImageOps.exif_transpose(_decoded(path)[0])
        if image.mode.startswith("I"):
            eight = np.rint(_sixteen(image, path) / 257).astype(np.uint8)
            return np.repeat(eight[..., None], 3, axis=2)
        _check_range(image, path)
        if _transparent(image):
            _log.warning("%s: transparency dropped", path)
            if image.mode == "P":
                image = image.convert("RGBA")
        return np.asarray(image.convert("RGB"))


def _transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _check_range(image: Image.Image, path: str | Path) -> None:
    if image.mode == "F":
        raise FileError(f"{path}: floating-point pixels have no agreed range", "Save the picture with 8 or 16 bits per channel.")


def _sixteen(image: Image.Image, path: str | Path) -> np.ndarray:
    """The values of 16-bit grey, in whichever of Pillow's spellings."""
    grey = np.asarray(image).astype(np.float64)
    if grey.min() < 0 or grey.max() > 65535:
        raise FileError(f"{path}: 32-bit pixels have no agreed range", "Save the picture with 8 or 16 bits per channel.")
    return grey


class PictureRows:
    """A picture of which rows are taken, turned as the camera's orientation tag asks.

    Attributes:
        height, width: in pixels, turned.
        grey: one value a pixel instead of three.
        alpha: another value tells how opaque a pixel is.
        bits: of a value, 8 or 16.
        reduced: the file has 16 bits a value in colour, which Pillow reads as 8.
        pictures: that the file holds; this is the first.
        profile: what its colours mean, an ICC profile; empty where the file has none. It may be of colours that were converted.
    """

    def __init__(self, path: str | Path, store: IO[bytes]) -> None:
        """Decode a picture into ``store``, an empty file that is open for both ways: so its values take no memory.

        Raises:
            FileError: as for ``load_picture``.
            OSError: the store is full.
        """
        with _messages(path):
            image, wide, self.pictures = _decoded(path)
            orientation = image.getexif().get(_ORIENTATION, 1)
            _check_range(image, path)
        self.bits = 16 if image.mode.startswith("I") else 8
        self.grey = image.mode[0] in "1LI" and image.mode != "LAB"
        self.alpha = _transparent(image)
        self.reduced = wide and self.bits == 8
        self.profile: bytes = image.info.get("icc_profile") or b""
        self.height, self.width = image.size[:: 1 if orientation in _SIDEWAYS else -1]
        self._store = store
        for top in range(0, self.height, _BAND):
            store.write(self._turned(image, orientation, top, min(top + _BAND, self.height), path).tobytes())
        store.flush()

    def _turned(self, image: Image.Image, orientation: int, top: int, bottom: int, path: str | Path) -> np.ndarray:
        """Rows ``top`` to ``bottom`` of the picture that ``image`` is when it is turned."""
        if orientation in _FROM_THE_END:
            top, bottom = self.height - bottom, self.height - top
        part = image.crop((top, 0, bottom, image.height) if orientation in _SIDEWAYS else (0, top, image.width, bottom))
        if self.bits == 8:
            part = part.convert(("L" if self.grey else "RGB") + ("A" if self.alpha else ""))
        if (turn := _TURNS.get(orientation)) is not None:
            part = part.transpose(turn)
        return np.asarray(part) if self.bits == 8 else _sixteen(part, path).astype(self._type)

    @property
    def channels(self) -> int:
        """Values a pixel: of colour, and the one of transparency behind them."""
        return (1 if self.grey else 3) + self.alpha

    @property
    def _type(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        return np.dtype(np.uint8) if self.bits == 8 else np.dtype(np.uint16)

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """``uint8`` or ``uint16 [bottom - top, width, channels]``."""
        line = self.width * self.channels * self._type.itemsize
        found = os.pread(self._store.fileno(), (bottom - top) * line, top * line)
        return np.frombuffer(found, self._type).reshape(bottom - top, self.width, self.channels)
