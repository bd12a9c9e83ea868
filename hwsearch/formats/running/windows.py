"""Running a network whose input size is fixed on a picture of any size.

The picture is cut in windows that lie inside it, so that the network's own zero padding stands at the picture's border and
nowhere else.
"""

from __future__ import annotations

from hwmodels.errors import UsageError


def windows(length: int, side: int, halo: int, step: int = 1) -> list[tuple[int, int, int]]:
    """Windows of ``side`` pixels that cover ``length`` pixels from within: (start, first pixel to keep, end of what to keep).

    What is kept lies ``halo`` away from every end of its window that is not an end of the whole. Starts are multiples of
    ``step``.

    Raises:
        UsageError: a window that is larger than the whole, or too small for its halo, or no multiple of ``step``.
    """
    uncovered = f"windows of {side} pixels with a halo of {halo} do not cover {length} pixels"
    if side > length:
        raise UsageError(uncovered, f"Use pictures of at least {side} pixels a side.")
    if side < length and side - 2 * halo < step:
        raise UsageError(uncovered, f"Use windows of at least {2 * halo + step} pixels, or a smaller halo.")
    if (length - side) % step:
        raise UsageError(uncovered, f"Use windows that are shorter than the picture by a multiple of {step} pixels.")
    found, kept = [], 0
    while kept < length:
        start = min(max(kept - halo, 0) // step * step, length - side)
        end = length if start == length - side else start + side - halo
        found.append((start, kept, end))
        kept = end
    return found
