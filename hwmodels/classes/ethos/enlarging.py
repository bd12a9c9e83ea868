"""Enlargements on a documented array: pixels repeated, or interpolated (kinds and order read off ethos-u-vela 5.2.0).

The older arrays repeat pixels as a pooling of one pixel reads them, twice as many at a time; a U85 in its output unit, byte by
byte. Before an interpolation a QUANTIZE brings the picture to the codes of the result. A U85 then does it as it repeats pixels.
The others put a border around the picture and pass over the result four times, with windows of two by two pixels and each channel
alone, at the pace of 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from hwmodels.classes.ethos import tokens
from hwmodels.classes.ethos.blocks import CHANNELWISE, PAIRWISE, POOLING, Array, Between, Operation, Part
from hwmodels.workload import Tensor

PASSES = 4
"""Over the result of an interpolation."""


def enlarged(
    source: Tensor, target: Tensor, make: Callable[..., Operation], array: Array, element_bytes: int, *, smooth: bool
) -> list[Part]:
    """The operations of an enlargement of ``source`` to ``target``, by repeated pixels or ``smooth``.

    Args:
        make: operations of the layer, by kind and the output unit's cycles, as ``operations`` makes them.
    """
    other = float(array.other[int(element_bytes > 1)])
    sizes = tokens.sides(source.height, source.width, source.channels)
    copy = Part(make(POOLING, other, **tokens.ONE, **sizes), writes="near")
    if array.buffers[0]:
        paced = max(float(array.other[0]) * element_bytes, array.clamp)
        repeated = Part(make(PAIRWISE, paced, **tokens.ONE, nearest=1))
        return [copy, repeated._replace(reads="near")] if smooth else [repeated]
    if not smooth:
        return [*_doubled(source, target, partial(make, POOLING, other, **tokens.ONE, spread=2, nearest=1))]
    windows = make(CHANNELWISE, float(array.convolve[0]), kernel_h=2, kernel_w=2, stride=1)
    return [copy, copy._replace(reads="near"), Part(windows, times=PASSES, reads="near")]


def _doubled(source: Tensor, target: Tensor, make: Callable[..., Operation]) -> Iterator[Part]:
    """Twice as many rows and columns at a time."""
    rows, columns = source.height, source.width
    reads: Between = ""
    while rows < target.height or columns < target.width:
        before = {"in_h": rows, "in_w": columns}
        rows, columns = min(2 * rows, target.height), min(2 * columns, target.width)
        last = (rows, columns) == (target.height, target.width)
        yield Part(make(**before, out_h=rows, out_w=columns), reads=reads, writes="" if last else "near")
        reads = "near"
