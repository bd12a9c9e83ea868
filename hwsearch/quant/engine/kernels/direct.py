"""Direct convolution in bands, for any window and stride, without dilation and groups: what pairs, quads and tiles share.

Codes lie with channels last, so a row of the window is one run of codes in memory, and words run along it whatever the number
of channels.

A layer with few outputs would leave lanes of the vectors empty. Its weights are *folded* then: f neighbouring pixels become
one with f times as many outputs, whose window is wider by f - 1 strides, each output's weights standing at its own pixel's place
with zeros around them. The sums lie in memory as before.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hwsearch.quant.engine import buffers
from hwsearch.quant.engine.kernels.bands import BAND_BYTES, BandConv
from hwsearch.quant.engine.kernels.cpu import LANES
from hwsearch.quant.engine.kernels.products.word_products import PIXELS, Word
from hwsearch.quant.engine.proof import INT32_LIMIT
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node, conv_of

FOLDS = tuple(1 << i for i in range(LANES.bit_length()))
"""Up to a single output in each lane."""


def folded(weight: np.ndarray, times: int, stride: int) -> np.ndarray:
    """Weights ``[O, C, kh, kw]`` of ``times`` neighbouring pixels: ``[times * O, C, kh, kw + (times - 1) * stride]``."""
    outputs, channels, height, width = weight.shape
    wide = np.zeros((times, outputs, channels, height, width + (times - 1) * stride), weight.dtype)
    for i in range(times):
        wide[i, ..., i * stride : i * stride + width] = weight
    return wide.reshape(times * outputs, *wide.shape[2:])


def best_fold(weight: np.ndarray, stride: int, word: int) -> tuple[float, int]:
    """The fewest products per pixel, in whole words, and the fold that has them, of those that leave no lane between pixels."""
    outputs, channels, height, width = weight.shape

    def products_of(times: int) -> float:
        depth = height * -(-(width + (times - 1) * stride) * channels // word) * word
        found: float = depth * (-(-times * outputs // LANES) * LANES) / times
        return found

    return min((products_of(times), times) for times in FOLDS if times == 1 or times * outputs % LANES == 0)


class DirectConv(BandConv):
    """A convolution without dilation and groups, by words of one kind."""

    word: ClassVar[Word]
    pixels: ClassVar[int] = PIXELS
    """That are written at once."""

    @classmethod
    def suits(cls, node: Node, layer: LayerIntegers, source: TensorFormat, bound: int) -> bool:
        return conv_of(node).groups == 1 and conv_of(node).dilations == (1, 1) and bound <= INT32_LIMIT

    @classmethod
    def work(cls, node: Node, layer: LayerIntegers) -> float:
        return best_fold(layer.weight, conv_of(node).strides[1], cls.word.size)[0]

    def __init__(self, node: Node, layer: LayerIntegers, source: TensorFormat) -> None:
        super().__init__(node, layer, source)
        _, self._times = best_fold(layer.weight, self.stride[1], self.word.size)
        weight = folded(layer.weight, self._times, self.stride[1])
        outputs, _, self._height, self._width = weight.shape
        self._lanes = -(-outputs // LANES) * LANES
        rows = weight.transpose(0, 2, 3, 1).reshape(outputs, self._height, -1)
        self._words = self.words(-(-rows.shape[2] // self.word.size))
        surplus = self._words * self.word.size - rows.shape[2]
        self._rows = np.pad(rows, ((0, 0), (0, 0), (0, surplus)))
        self._line_end = -(-surplus // self.channels)
        """Columns beyond the window of the last pixel into which its last words may reach."""
        self._bias = np.zeros(self._lanes, np.int32)
        self._bias[:outputs] = np.tile(layer.bias, self._times)
        self._dtype = np.dtype(str(self.word.codes))

    @classmethod
    def words(cls, least: int) -> int:
        """Words of one row of the window that are multiplied, where there are at least so many."""
        return least

    def band(self, height: int, width: int) -> tuple[int, int, int]:
        columns = -(-width // (self.pixels * self._times)) * self.pixels * self._times
        lanes = self._lanes // self._times
        row = columns * (4 * lanes + self._dtype.itemsize * self.channels * self.stride[0] * self.stride[1])
        # At least as many rows as the window has: neighbouring bands both read the rows between them.
        return min(max(BAND_BYTES // row, self.window[0]), height), columns, lanes

    def workspace(self, rows: int, width: int) -> tuple[np.ndarray, ...]:
        _, columns, _ = self.band(rows, width)
        reach = (columns // self._times - 1) * self.stride[1] * self._times + self._width
        shape = ((rows - 1) * self.stride[0] + self.window[0], reach + self._line_end, self.channels)
        return (buffers.empty(shape, self._dtype),)
