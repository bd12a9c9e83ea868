"""Direct convolution of 8-bit codes by matrix products, on CPUs with AMX: ``quad_conv`` with a larger tile."""

from __future__ import annotations

import numpy as np

from hwmodels.compiled import compiled
from hwsearch.quant.engine.kernels.bands import gather
from hwsearch.quant.engine.kernels.cpu import multiplies_tiles
from hwsearch.quant.engine.kernels.products.tile_products import ROWS, configuration, configure, products, release
from hwsearch.quant.engine.kernels.quad_conv import QuadConv
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node


@compiled
def _sums(
    x: np.ndarray, top: int, left: int, zero: int, stride: int, step: int, chunks: int, quads: int, config: np.ndarray,
    window: int, w: np.ndarray, bias: np.ndarray, region: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """As those of ``quad_conv``; a row of the window is so many chunks of so many quads, for which ``config`` is."""
    rows, width, lanes = out.shape
    line = region.shape[1] * region.shape[2]
    gather(x, top, left, 0, zero, region)
    configure(config)
    for r in range(rows):
        at, to = r * stride * line, r * width * lanes
        products(region, at, step, line, window, chunks, quads, w, 0, bias, out, to, lanes, width)
    release()


class TileConv(QuadConv):
    """A convolution of 8-bit codes by 8-bit weights."""

    by = "by 8-bit matrix products"
    pixels = ROWS

    @classmethod
    def possible(cls) -> bool:
        return multiplies_tiles()

    @classmethod
    def words(cls, least: int) -> int:
        chunks = -(-least // ROWS)
        return chunks * -(-least // chunks)

    def __init__(self, node: Node, layer: LayerIntegers, source: TensorFormat) -> None:
        if not self.possible():  # the operating system ends processes that it did not permit to use these registers
            raise ValueError("this CPU has no matrix products, or this process may not use them")
        super().__init__(node, layer, source)
        self._chunks = -(-self._words // ROWS)
        self._quads = self._words // self._chunks
        self._config = configuration(self._quads)

    def sums(self, x: np.ndarray, first: int, workspace: tuple[np.ndarray, ...], out: np.ndarray) -> None:
        step = self.stride[1] * self._times * self.channels
        top = first * self.stride[0] - self.top
        sums = out.reshape(out.shape[0], -1, self._lanes)
        _sums(
            x, top, -self.left, self.origin, self.stride[0], step, self._chunks, self._quads, self._config,
            self._height, self._weights, self._start, workspace[0], sums,
        )  # fmt: skip
