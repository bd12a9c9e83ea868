"""Bilinear interpolation of codes, as TFLite's kernels compute it.

Both kernels weigh whole codes by whole numbers, so that only the last division rounds. They differ in where they say that a pixel
lies and how they round:

* "whole", TFLite's own kernel (LiteRT's reference kernel, its 16-bit kernel and TFLite Micro): the step from one pixel to the
  next is a whole number of 1024ths of an input pixel, ``(1024 n + m/2) / m`` for m pixels of n, so what it is off by adds up
  from pixel to pixel. Halves are rounded away from zero.
* "float", XNNPACK's, at 8 bits: places in single precision, the way between two pixels rounded to 2048ths. Halves go up.

Found by comparing random shapes with the runtimes. The first pixel's centre lies half a step in, as PyTorch has it, or, with
corners aligned, on the corner.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from hwmodels.compiled import compiled
from hwsearch.quant.engine.operators.limits import RuntimeLimit

Places = Literal["whole", "float"]
UNITS: dict[Places, int] = {"whole": 1 << 10, "float": 1 << 11}
"""Parts of the way from one pixel to the next that are told apart."""
FARTHEST = 0.25
"""Pixels of the input by which a place may be off: beyond, another picture is computed, and the kernel may read past the end."""


class Between(NamedTuple):
    """For each pixel of a side of the output the two of the input between which it lies, and the weight of the second."""

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray


def _step(before: int, after: int, corners: bool, *, unit: int) -> int:
    """From one pixel of ``after`` to the next, in parts of a pixel of ``before``."""
    if corners and after > 1:
        before, after = before - 1, after - 1
    return (unit * before + after // 2) // after


def follows(before: int, after: int, corners: bool, places: Places) -> bool:
    """Whether the kernel puts all of ``after`` pixels about where they belong among ``before`` (``FARTHEST``)."""
    if places == "float" or after == 1:
        return True
    unit = UNITS[places]
    exact = (before - 1) / (after - 1) if corners else before / after
    return abs(_step(before, after, corners, unit=unit) - unit * exact) * (after - 1) <= unit * FARTHEST


def between(before: int, after: int, corners: bool, places: Places) -> Between:
    """Where ``after`` pixels lie among ``before``."""
    unit = UNITS[places]
    if places == "whole":
        step = _step(before, after, corners, unit=unit)
        at = np.arange(after, dtype=np.int64) * step + (0 if corners else step // 2 - unit // 2)
        first = np.maximum(at, 0) // unit
        second = np.minimum(-(-at // unit), before - 1)
        return Between(first, np.maximum(second, first), at - unit * first)
    real, less = np.float32, int(corners and after > 1)
    pitch = real(before - less) / real(after - less)
    start = real(0) if corners else real(0.5) * pitch - real(0.5)
    lies = np.clip(np.arange(after).astype(real) * pitch + start, real(0), real(before - 1))
    first = lies.astype(np.int64)
    weight = np.rint((lies - first.astype(real)) * real(unit)).astype(np.int64)
    return Between(first, np.minimum(first + 1, before - 1), weight)


@compiled
def _interpolate(
    x: np.ndarray, rows: tuple[np.ndarray, ...], columns: tuple[np.ndarray, ...], unit: int, away: bool, out: np.ndarray
) -> None:
    """``x [C, H, W]`` to ``out [C, sH, sW]``; ``away``: halves go away from zero, otherwise up."""
    above, below, down = rows
    left, right, across = columns
    square = unit * unit
    half = square // 2
    for c in range(out.shape[0]):
        for i in range(out.shape[1]):
            top, bottom, v = x[c, above[i]], x[c, below[i]], down[i]
            for j in range(out.shape[2]):
                a, b, w = left[j], right[j], across[j]
                upper = np.int64(top[a]) * (unit - w) + np.int64(top[b]) * w
                lower = np.int64(bottom[a]) * (unit - w) + np.int64(bottom[b]) * w
                total = upper * (unit - v) + lower * v
                if away and total < 0:
                    out[c, i, j] = -((half - total) // square)
                else:
                    out[c, i, j] = (total + half) // square


def interpolate(x: np.ndarray, size: tuple[int, int], *, corners: bool, places: Places) -> np.ndarray:
    """Codes ``[N, C, H, W]`` at another ``size`` (rows, columns), on the same grid and between the same bounds.

    Args:
        corners: outermost pixels lie on one another (``align_corners``).
    Raises:
        RuntimeLimit: so many pixels that their places run away (see ``follows``).
    """
    sides = x.shape[2:]
    if not all(follows(n, m, corners, places) for n, m in zip(sides, size, strict=True)):
        raise RuntimeLimit(f"a resize of {sides} to {size}: the kernel's steps of 1024ths lead elsewhere")
    rows, columns = (between(n, m, corners, places) for n, m in zip(sides, size, strict=True))
    out = np.empty((*x.shape[:2], *size), x.dtype)
    for picture, result in zip(np.ascontiguousarray(x), out, strict=True):
        _interpolate(picture, tuple(rows), tuple(columns), UNITS[places], places == "whole", result)
    return out
