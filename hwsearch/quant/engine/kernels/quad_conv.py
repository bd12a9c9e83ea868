"""Direct convolution of 8-bit codes by quad products, on CPUs with VNNI. See ``direct``.

The instruction takes codes without a sign, so it gets ``q`` and not ``q - z``; what lies outside the picture is then ``z``. As
``sum w (q - z) = sum w q - z sum w``, the second sum goes into the bias. Both may leave 32 bits, where they wrap around; the
result, whose bound is proven, does not.
"""

from __future__ import annotations

import numpy as np
import torch

from hwmodels.compiled import compiled
from hwmodels.numbers import INT8
from hwsearch.quant.engine.kernels.bands import gather
from hwsearch.quant.engine.kernels.cpu import multiplies_quads
from hwsearch.quant.engine.kernels.direct import DirectConv
from hwsearch.quant.engine.kernels.products.quad_products import packed, products
from hwsearch.quant.engine.kernels.products.word_products import QUAD
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node


@compiled
def _sums(
    x: np.ndarray, top: int, left: int, zero: int, stride: int, step: int, quads: int, window: int,
    w: np.ndarray, bias: np.ndarray, region: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """As those of ``pair_conv``; ``region`` is uint8, and ``bias`` has the sums of the weights in it."""
    rows, width, lanes = out.shape
    line = region.shape[1] * region.shape[2]
    gather(x, top, left, 0, zero, region)
    for r in range(rows):
        products(region, r * stride * line, step, line, window, quads, w, 0, bias, out, r * width * lanes, lanes, width)


class QuadConv(DirectConv):
    """A convolution of 8-bit codes by 8-bit weights."""

    by = "by 8-bit quad products"
    word = QUAD

    @classmethod
    def possible(cls) -> bool:
        return multiplies_quads()

    @classmethod
    def suits(cls, node: Node, layer: LayerIntegers, source: TensorFormat, bound: int) -> bool:
        largest, least = layer.weight.max(initial=0), layer.weight.min(initial=0)
        fits = least >= -INT8.middle and largest <= INT8.narrow_limit
        return source.carrier == torch.uint8 and bool(fits) and super().suits(node, layer, source, bound)

    def __init__(self, node: Node, layer: LayerIntegers, source: TensorFormat) -> None:
        super().__init__(node, layer, source)
        self._weights = packed(self._rows)
        shift = self._rows.astype(np.int64).sum(axis=(1, 2)) * self.origin  # the zero point
        start = self._bias.astype(np.int64)
        start[: len(shift)] -= shift
        self._start = start.astype(np.int32)  # wraps around

    def sums(self, x: np.ndarray, first: int, workspace: tuple[np.ndarray, ...], out: np.ndarray) -> None:
        step = self.stride[1] * self._times * self.channels
        top = first * self.stride[0] - self.top
        sums = out.reshape(out.shape[0], -1, self._lanes)
        _sums(
            x, top, -self.left, self.origin, self.stride[0], step, self._words, self._height,
            self._weights, self._start, workspace[0], sums,
        )  # fmt: skip
