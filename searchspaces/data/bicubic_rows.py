"""Enlarging by bicubic some rows at a time: the values of ``bicubic.imresize``, bit for bit, without the whole picture."""

from __future__ import annotations

import numpy as np

from hwmodels.compiled import compiled
from searchspaces.data.bicubic import taps
from searchspaces.data.scale import Scale, enlarged


class Enlargement:
    """The bicubic enlargement of pictures of one size by a scale that keeps its sides whole."""

    def __init__(self, height: int, width: int, scale: Scale) -> None:
        self.height, self.width, self.scale = enlarged(height, scale), enlarged(width, scale), scale
        self._down = taps(height, self.height, float(scale))
        self._across = taps(width, self.width, float(scale))

    def sees(self, top: int, bottom: int) -> tuple[int, int]:
        """First row, and the one behind the last, that rows ``top`` to ``bottom`` of the enlarged picture are made of."""
        rows = self._down[1][top:bottom]
        return int(rows.min()), int(rows.max()) + 1

    def rows(self, planes: np.ndarray, first: int, top: int, bottom: int) -> np.ndarray:
        """Rows ``top`` to ``bottom`` of the enlarged picture, ``float64 [bottom - top, width, C]``.

        Args:
            planes: ``float64 [rows, W, C]``, what ``sees`` asks for at least, of which the first is row ``first`` of the picture.
        """
        weights, index = self._down
        out = np.empty((bottom - top, self.width, planes.shape[2]))
        _enlarge(np.ascontiguousarray(planes), weights[top:bottom], index[top:bottom] - first, *self._across, out)
        return out


@compiled
def _enlarge(
    x: np.ndarray, down: np.ndarray, down_at: np.ndarray, across: np.ndarray, across_at: np.ndarray, out: np.ndarray
) -> None:
    """``x [h, w, C]`` to ``out [H, W, C]`` by weights and indices ``[H or W, taps]``: height before width, taps in order."""
    width, channels = x.shape[1], x.shape[2]
    line = np.empty((width, channels))
    for r in range(out.shape[0]):
        line[:] = 0.0
        for t in range(down.shape[1]):
            weight, row = down[r, t], x[down_at[r, t]]
            for p in range(width):
                for c in range(channels):
                    line[p, c] += weight * row[p, c]
        for p in range(out.shape[1]):
            for c in range(channels):
                total = 0.0
                for t in range(across.shape[1]):
                    total += across[p, t] * line[across_at[p, t], c]
                out[r, p, c] = total
