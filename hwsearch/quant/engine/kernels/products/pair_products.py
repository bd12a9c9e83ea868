"""Sums of products of 16-bit integers, two at a time: the inner loop of Winograd's convolution, and of direct ones whose codes
or CPUs have no quads. See ``word_products``.
"""

from __future__ import annotations

import numpy as np

from hwmodels.compiled import compiled
from hwsearch.quant.engine.kernels.cpu import LANES
from hwsearch.quant.engine.kernels.products import word_products
from hwsearch.quant.engine.kernels.products.word_products import BROAD, PAIR, PANEL, PIXELS, tile

_broad, _narrow = tile(PAIR, BROAD, 2), tile(PAIR, PIXELS, 1)


@compiled
def products(
    x: np.ndarray, x_at: int, x_step: int, row_step: int, rows: int, pairs: int,
    w: np.ndarray, w_at: int, start: np.ndarray, out: np.ndarray, out_at: int, out_step: int, pixels: int,
) -> None:  # fmt: skip
    """``out[p, o] = start[o] + sum over r < rows, i < 2 pairs of x[p, r, i] * w[o, r, i]``, in 32 bits that wrap around.

    All arrays are contiguous and seen as flat; places and steps count elements.

    Args:
        x: int16; pixel p, row r begins at ``x_at + p * x_step + r * row_step``. Odd rows are followed by one more element, any.
        w: int16, ``packed``, beginning at ``w_at``.
        start: int32, a multiple of ``LANES`` numbers, one per output.
        out: int32; pixel p begins at ``out_at + p * out_step``.
        pixels: rounded up to whole tiles of ``PIXELS``, which must be readable and writable.
    """
    depth = 2 * rows * pairs
    for o in range(0, start.size, PANEL):
        panel = w_at + o * depth
        if start.size - o > LANES:
            for p in range(0, pixels, BROAD):
                x_tile, out_tile = x_at + p * x_step, out_at + p * out_step + o
                _broad(x, x_tile, x_step, row_step, rows, pairs, w, panel, start, o, out, out_tile, out_step)
        else:
            for p in range(0, pixels, PIXELS):
                x_tile, out_tile = x_at + p * x_step, out_at + p * out_step + o
                _narrow(x, x_tile, x_step, row_step, rows, pairs, w, panel, start, o, out, out_tile, out_step)


def packed(weight: np.ndarray) -> np.ndarray:
    """Weights ``[O, rows, depth]`` as ``products`` reads them, int16."""
    return word_products.packed(weight, PAIR.size, np.int16)
