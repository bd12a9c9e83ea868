"""Moves of codes between channels and pixels, channels last; torch's take as long as a convolution."""

from __future__ import annotations

import numpy as np

from hwmodels.compiled import compiled


@compiled
def shuffle(x: np.ndarray, factor: int, out: np.ndarray) -> None:
    """``x [H, W, C f^2]`` to ``out [f H, f W, C]``: channel ``(c f + i) f + j`` becomes row i and column j of a block."""
    rows, columns, channels = x.shape
    block = factor * factor
    for r in range(rows):
        for channel in range(channels):
            c, place = channel // block, channel % block
            line = out[r * factor + place // factor, place % factor :: factor, c]
            for p in range(columns):  # along a row: short loops over channels cost more than what they copy
                line[p] = x[r, p, channel]
