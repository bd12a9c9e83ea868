"""From the values of a picture to what a network reads, and from what it writes back to values.

Networks of one channel enlarge the luma; chroma is enlarged by bicubic, as viewers do. Values of pictures are 0..255 here,
whatever their bits; networks read and write 0..1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hwmodels.compiled import compiled
from searchspaces.data.luma import BT601_LUMA

_TO_YCBCR = np.array([BT601_LUMA, [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255.0
_TO_RGB = np.linalg.inv(_TO_YCBCR)
_OFFSET = np.array([16.0, 128.0, 128.0])
_GREY = np.array([0.299, 0.587, 0.114])
"""What of red, green and blue is brightness (Rec. 601), where a network of three channels enlarges a grey picture."""


def values(colour: np.ndarray, bits: int, luma_only: bool) -> np.ndarray:
    """What is enlarged of ``colour`` (grey ``[h, W, 1]`` or RGB ``[h, W, 3]``, of so many bits), ``float64 [h, W, C]`` in 0..255.

    BT.601, not rounded, for a network of one channel: Y (16..235), and behind it Cb and Cr (16..240) where the picture has
    colours. Else RGB, grey being three alike.
    """
    unit = 255.0 / ((1 << bits) - 1)
    height, width, stored = colour.shape
    out = np.empty((height, width, 3 if stored == 3 or not luma_only else 1))
    if luma_only:
        _ycbcr(colour, unit, _TO_YCBCR, _OFFSET, out)
    else:
        np.multiply(colour, unit, out=out)
    return out


def to_network(planes: np.ndarray) -> Tensor:
    """``float64 [h, W, C]`` in 0..255 as a network reads it, ``float32 [1, C, h, W]``."""
    return torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1), dtype=np.float32)).div_(255)[None]


def colours(y: np.ndarray, chroma: np.ndarray | None, grey: bool, bits: int) -> np.ndarray:
    """The values of a picture, ``[h, W, 1 or 3]`` of so many ``bits``.

    Args:
        y: what the network wrote, ``float32 [C, h, W]``.
        chroma: Cb and Cr, ``float64 [h, W, 2]`` in 0..255, beside a luma; None: there is none.
    """
    peak = (1 << bits) - 1
    steps = np.rint(np.clip(y, np.float32(0), np.float32(1)) * np.float32(peak))
    out = np.empty((*y.shape[1:], 1 if grey else 3), np.uint8 if bits == 8 else np.uint16)
    if chroma is not None:
        _join(steps[0], chroma, _TO_RGB, peak / 255.0, out)
    elif len(y) == 1:
        _rounded((steps.transpose(1, 2, 0).astype(np.float64) - 16.0 * peak / 255.0) * (255.0 / 219.0), peak, out)
    elif grey:
        _rounded((steps.transpose(1, 2, 0).astype(np.float64) @ _GREY)[..., None], peak, out)
    else:
        out[:] = steps.transpose(1, 2, 0)
    return out


def rounded(plane: np.ndarray, bits: int) -> np.ndarray:
    """Values ``float64 [h, W, C]`` in 0..255 as integers of so many bits."""
    peak = (1 << bits) - 1
    out = np.empty(plane.shape, np.uint8 if bits == 8 else np.uint16)
    _rounded(plane * (peak / 255.0), peak, out)
    return out


def _rounded(wanted: np.ndarray, peak: int, out: np.ndarray) -> None:
    out[:] = np.clip(np.rint(wanted), 0, peak)


@compiled
def _join(luma: np.ndarray, chroma: np.ndarray, matrix: np.ndarray, unit: float, out: np.ndarray) -> None:
    """RGB ``out [h, W, 3]`` of ``luma float32 [h, W]``, in units of the output, and chroma; ``unit`` is their ratio."""
    peak = 255.0 * unit
    for r in range(luma.shape[0]):
        for p in range(luma.shape[1]):
            y = np.float64(luma[r, p]) / unit - 16.0
            blue, red = chroma[r, p, 0] - 128.0, chroma[r, p, 1] - 128.0
            for c in range(3):
                value = np.rint((y * matrix[c, 0] + blue * matrix[c, 1] + red * matrix[c, 2]) * unit)
                out[r, p, c] = min(max(value, 0.0), peak)


@compiled
def _ycbcr(colour: np.ndarray, unit: float, matrix: np.ndarray, offset: np.ndarray, out: np.ndarray) -> None:
    """``out [h, w, 1 or 3]``, Y or YCbCr, of ``colour [h, w, 1 or 3]``; one value stands for three alike."""
    green, blue = min(1, colour.shape[2] - 1), min(2, colour.shape[2] - 1)
    for r in range(out.shape[0]):
        for p in range(out.shape[1]):
            for c in range(out.shape[2]):
                total = colour[r, p, 0] * unit * matrix[c, 0] + colour[r, p, green] * unit * matrix[c, 1]
                out[r, p, c] = total + colour[r, p, blue] * unit * matrix[c, 2] + offset[c]
