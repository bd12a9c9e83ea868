"""Direct convolution by pair products, for layers that Winograd's does not suit, on any CPU with AVX2. See ``direct``."""

from __future__ import annotations

import numpy as np

from hwmodels.compiled import compiled
from hwsearch.quant.engine.kernels.bands import gather
from hwsearch.quant.engine.kernels.direct import DirectConv
from hwsearch.quant.engine.kernels.products.pair_products import packed, products
from hwsearch.quant.engine.kernels.products.word_products import PAIR
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node


@compiled
def _sums(
    x: np.ndarray, top: int, left: int, origin: int, stride: int, step: int, pairs: int, window: int,
    w: np.ndarray, bias: np.ndarray, region: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """A band of sums ``out int32 [rows, pixels, lanes]``, whose window begins at (top, left) of ``x``.

    Args:
        origin: to subtract from the codes of ``x``.
        stride, step: from one row of sums to the next in rows, from one pixel to the next in elements.
        pairs, window: of one row of the window, and its rows.
        region: int16 [rows of input, columns, C], for the inputs.
    """
    rows, width, lanes = out.shape
    line = region.shape[1] * region.shape[2]
    gather(x, top, left, origin, 0, region)
    for r in range(rows):
        products(region, r * stride * line, step, line, window, pairs, w, 0, bias, out, r * width * lanes, lanes, width)


class PairConv(DirectConv):
    """A convolution of codes that fit 16 bits."""

    by = "by 16-bit pair products"
    word = PAIR

    def __init__(self, node: Node, layer: LayerIntegers, source: TensorFormat) -> None:
        super().__init__(node, layer, source)
        self._weights = packed(self._rows)

    def sums(self, x: np.ndarray, first: int, workspace: tuple[np.ndarray, ...], out: np.ndarray) -> None:
        step = self.stride[1] * self._times * self.channels
        top = first * self.stride[0] - self.top
        sums = out.reshape(out.shape[0], -1, self._lanes)
        _sums(
            x, top, -self.left, self.origin, self.stride[0], step, self._words, self._height,
            self._weights, self._bias, workspace[0], sums,
        )  # fmt: skip
