"""Direct convolution by pair products, for layers that Winograd's does not suit: any window and stride, no dilation, no groups.

Codes lie with channels last, so a row of the window is one run of codes in memory, and pairs run along it whatever the number
of channels.

A layer with few outputs would leave lanes of the vectors empty. Its weights are *folded* then: f neighbouring pixels become
one with f times as many outputs, whose window is wider by f - 1 strides, each output's weights standing at its own pixel's place
with zeros around them. The sums lie in memory as before.
"""

from __future__ import annotations

import numpy as np

from hwmodels.compiled import compiled
from hwsearch.quant.engine.kernels.bands import BAND_BYTES, BandConv, gather
from hwsearch.quant.engine.kernels.pair_products import LANES, PIXELS, packed, products
from hwsearch.quant.engine.proof import INT32_LIMIT
from hwsearch.quant.formats import TensorFormat
from hwsearch.quant.graph import LayerIntegers
from searchspaces.ir.graph import Node, pair

FOLDS = (1, 2, 4, 8)


def folded(weight: np.ndarray, times: int, stride: int) -> np.ndarray:
    """Weights ``[O, C, kh, kw]`` of ``times`` neighbouring pixels: ``[times * O, C, kh, kw + (times - 1) * stride]``."""
    outputs, channels, height, width = weight.shape
    wide = np.zeros((times, outputs, channels, height, width + (times - 1) * stride), weight.dtype)
    for i in range(times):
        wide[i, ..., i * stride : i * stride + width] = weight
    return wide.reshape(times * outputs, *wide.shape[2:])


def best_fold(weight: np.ndarray, stride: int) -> tuple[float, int]:
    """The fewest products per pixel, and the fold that has them, of those that leave no lane between pixels."""
    outputs, channels, height, width = weight.shape

    def products_of(times: int) -> float:
        depth = height * -(-(width + (times - 1) * stride) * channels // 2) * 2
        return depth * (-(-times * outputs // LANES) * LANES) / times

    return min((products_of(times), times) for times in FOLDS if times == 1 or times * outputs % LANES == 0)


@compiled
def _sums(
    x: np.ndarray, top: int, left: int, stride: int, step: int, pairs: int, window: int,
    w: np.ndarray, bias: np.ndarray, region: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """A band of sums ``out int32 [rows, pixels, lanes]``, whose window begins at (top, left) of ``x``.

    Args:
        stride, step: from one row of sums to the next in rows, from one pixel to the next in elements.
        pairs, window: of one row of the window, and its rows.
        region: int16 [rows of input, columns, C], for the inputs.
    """
    rows, width, lanes = out.shape
    line = region.shape[1] * region.shape[2]
    gather(x, top, left, region)
    for r in range(rows):
        products(region, r * stride * line, step, line, window, pairs, w, 0, bias, out, r * width * lanes, lanes, width)


class PairConv(BandConv):
    """A convolution without dilation and groups."""

    by = "by 16-bit pair products"

    @staticmethod
    def suits(node: Node, layer: LayerIntegers, source: TensorFormat, bound: int) -> bool:
        return node.attrs["groups"] == 1 and pair(node.attrs["dilation"]) == (1, 1) and bound <= INT32_LIMIT

    @staticmethod
    def work(node: Node, layer: LayerIntegers) -> float:
        return best_fold(layer.weight, pair(node.attrs["stride"])[1])[0]

    def __init__(self, node: Node, layer: LayerIntegers) -> None:
        super().__init__(node, layer)
        _, self._times = best_fold(layer.weight, self.stride[1])
        weight = folded(layer.weight, self._times, self.stride[1])
        outputs, _, height, self._width = weight.shape
        self._lanes = -(-outputs // LANES) * LANES
        self._weights = packed(weight.transpose(0, 2, 3, 1).reshape(outputs, height, -1))
        self._bias = np.zeros(self._lanes, np.int32)
        self._bias[:outputs] = np.tile(layer.bias, self._times)

    def band(self, height: int, width: int) -> tuple[int, int, int]:
        columns = -(-width // (PIXELS * self._times)) * PIXELS * self._times
        lanes = self._lanes // self._times
        row = columns * (4 * lanes + 2 * self.channels * self.stride[0] * self.stride[1])
        # At least as many rows as the window has: neighbouring bands both read the rows between them.
        return min(max(BAND_BYTES // row, self.window[0]), height), columns, lanes

    def workspace(self, rows: int, width: int) -> tuple[np.ndarray, ...]:
        _, columns, _ = self.band(rows, width)
        reach = (columns // self._times - 1) * self.stride[1] * self._times + self._width
        # One column more: an odd row's last pair reaches beyond its window.
        return (np.empty(((rows - 1) * self.stride[0] + self.window[0], reach + 1, self.channels), np.int16),)

    def sums(self, x: np.ndarray, first: int, workspace: tuple[np.ndarray, ...], out: np.ndarray) -> None:
        step = self.stride[1] * self._times * self.channels
        pairs = (self._width * self.channels + 1) // 2
        top = first * self.stride[0] - self.top
        sums = out.reshape(out.shape[0], -1, self._lanes)
        _sums(x, top, -self.left, self.stride[0], step, pairs, self.window[0], self._weights, self._bias, workspace[0], sums)
