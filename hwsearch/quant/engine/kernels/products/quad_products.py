"""Sums of products of unsigned bytes and bytes with signs, four at a time: the inner loop of direct convolutions of 8-bit codes
on CPUs with VNNI. See ``word_products``.
"""

from __future__ import annotations

import numpy as np

from hwmodels.compiled import compiled
from hwsearch.quant.engine.kernels.cpu import LANES
from hwsearch.quant.engine.kernels.products import word_products
from hwsearch.quant.engine.kernels.products.word_products import BROAD, PANEL, PIXELS, QUAD, tile

_broad, _narrow = tile(QUAD, BROAD, 2), tile(QUAD, PIXELS, 1)


@compiled
def products(
    x: np.ndarray, x_at: int, x_step: int, row_step: int, rows: int, quads: int,
    w: np.ndarray, w_at: int, start: np.ndarray, out: np.ndarray, out_at: int, out_step: int, pixels: int,
) -> None:  # fmt: skip
    """As ``pair_products.products``, with ``x`` uint8 and ``w`` int8; rows are followed by what fills their last quad, any."""
    depth = 4 * rows * quads
    for o in range(0, start.size, PANEL):
        panel = w_at + o * depth
        if start.size - o > LANES:
            for p in range(0, pixels, BROAD):
                x_tile, out_tile = x_at + p * x_step, out_at + p * out_step + o
                _broad(x, x_tile, x_step, row_step, rows, quads, w, panel, start, o, out, out_tile, out_step)
        else:
            for p in range(0, pixels, PIXELS):
                x_tile, out_tile = x_at + p * x_step, out_at + p * out_step + o
                _narrow(x, x_tile, x_step, row_step, rows, quads, w, panel, start, o, out, out_tile, out_step)


def packed(weight: np.ndarray) -> np.ndarray:
    """Weights ``[O, rows, depth]`` as ``products`` reads them, int8."""
    return word_products.packed(weight, QUAD.size, np.int8)
