"""Convolutions that compute their sums in bands of rows, so small that the sums are requantized before they leave the cache.

``x`` is a picture of codes ``[H, W, C]`` as the format of the source carries them, contiguous: ``q`` in uint8, or ``q - z`` in
int16. Outside of it the real value is zero. A band of sums is ``int32 [rows, columns,
lanes]``; columns and lanes are rounded up to what the kernel writes at once, and what lies beyond the output is meaningless.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import ClassVar

import numpy as np

from hwmodels.compiled import compiled
from hwsearch.quant.engine import buffers
from hwsearch.quant.engine.kernels.cpu import multiplies_pairs
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node, conv_of

Epilogue = Callable[[np.ndarray, np.ndarray], None]
"""Takes a band of sums to its rows of the output ``[<= rows, W, O]``."""

BAND_BYTES = 1 << 19
"""Of one band, about: half of the second-level cache of the CPU where it was chosen by measurement."""


class BandConv(ABC):
    """One convolution of codes to sums, bias included; ``by`` names its arithmetic for people."""

    by: ClassVar[str]

    def __init__(self, node: Node, layer: LayerIntegers, source: TensorFormat) -> None:
        self.name, self.origin = node.name, source.origin
        self.outputs, self.channels, *window = layer.weight.shape
        self.left, right, self.top, bottom = conv_of(node).padding
        self.stride = conv_of(node).strides
        self.window = (int(window[0]), int(window[1]))
        self._padding = (self.top + bottom, self.left + right)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the output.

        Raises:
            ValueError: the padded picture is smaller than the window.
        """
        padded = (height + self._padding[0], width + self._padding[1])
        if padded[0] < self.window[0] or padded[1] < self.window[1]:
            window, picture, room = (f"{rows}x{columns}" for rows, columns in (self.window, (height, width), padded))
            raise ValueError(f"layer {self.name!r}: its {window} window is larger than a {picture} picture, with padding {room}")
        across = zip(padded, self.window, self.stride, strict=True)
        rows, columns = ((n - k) // s + 1 for n, k, s in across)
        return rows, columns

    @classmethod
    def possible(cls) -> bool:
        """Whether this CPU has the instructions."""
        return multiplies_pairs()

    @classmethod
    @abstractmethod
    def suits(cls, node: Node, layer: LayerIntegers, source: TensorFormat, bound: int) -> bool:
        """Whether the sums of a layer, at most ``bound`` in magnitude, can be computed this way."""

    @classmethod
    @abstractmethod
    def work(cls, node: Node, layer: LayerIntegers) -> float:
        """The time a pixel takes, in products."""

    @abstractmethod
    def band(self, height: int, width: int) -> tuple[int, int, int]:
        """Rows, columns and lanes of a band of sums, for an output of ``height x width``."""

    @abstractmethod
    def workspace(self, rows: int, width: int) -> tuple[np.ndarray, ...]:
        """Memory that ``sums`` needs besides, for an output of this width."""

    @abstractmethod
    def sums(self, x: np.ndarray, first: int, workspace: tuple[np.ndarray, ...], out: np.ndarray) -> None:
        """Compute the band that begins at output row ``first``."""


def run_bands(conv: BandConv, x: np.ndarray, finish: Epilogue, out: np.ndarray, threads: int = 1) -> None:
    """Convolve ``x`` and write what ``finish`` makes of the sums to ``out [H', W', O]``."""
    height, width, _ = out.shape
    shape = conv.band(height, width)
    starts = range(0, height, shape[0])
    threads = max(min(threads, len(starts)), 1)

    def work(thread: int) -> None:
        sums, workspace = buffers.empty(shape, np.int32), conv.workspace(shape[0], width)
        for first in starts[thread::threads]:
            conv.sums(x, first, workspace, sums)
            finish(sums, out[first : first + shape[0]])

    if threads == 1:
        work(0)
    else:
        list(_pool(threads).map(work, range(threads)))


def all_sums(conv: BandConv, x: np.ndarray, threads: int = 1) -> np.ndarray:
    """The sums themselves, ``int32 [H', W', O]``."""
    out = np.empty((*conv.size(*x.shape[:2]), conv.outputs), np.int32)
    run_bands(conv, x, copy_sums, out, threads)
    return out


def copy_sums(sums: np.ndarray, out: np.ndarray) -> None:
    """The ``Epilogue`` that keeps the sums."""
    np.copyto(out, sums[tuple(map(slice, out.shape))])


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="bands")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads


@compiled
def gather(x: np.ndarray, top: int, left: int, less: int, outside: int, out: np.ndarray) -> None:
    """The part of ``x [H, W, C]`` that begins at (top, left), ``less`` subtracted, to ``out [h, w, C]``; ``outside`` beyond x."""
    height, width, channels = x.shape
    rows, columns, _ = out.shape
    begin = min(max(-left, 0), columns)
    end = max(min(width - left, columns), begin)
    for r in range(rows):
        line = out[r].reshape(-1)
        if 0 <= top + r < height:
            line[: begin * channels] = outside
            codes = x[top + r, left + begin : left + end].reshape(-1)
            inside = line[begin * channels : end * channels]
            for i in range(codes.size):
                inside[i] = codes[i] - less
            line[end * channels :] = outside
        else:
            line[:] = outside
