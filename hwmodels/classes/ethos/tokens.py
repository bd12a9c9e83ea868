"""What attention asks of a documented array: softmaxes, and products of two tensors.

Arm's compiler (ethos-u-vela 5.2.0, Apache-2.0: decomposition of softmax and of matrix products) takes a softmax of 8 bits apart:
the largest value of each row, differences to it, exponentials from a table, their sum, its reciprocal by three rounds of Newton's
method, products, a rounding shift; between them stand words of 32 bits. Kinds, sizes and order of the passes are read off its
output. A U85 chains several, and its output unit takes as much longer; it turns rows and values for the largest value. On the
others one addition is of a constant as large as the tensor, which comes from where the weights are. At 16 bits a U85 sums halves
of words and takes the reciprocal from a table; the others' softmaxes of 16 bits are priced as those of 8.

A product of two tensors multiplies one with every row of the other, element by element, and sums the words over the channels.
The words pass through the memory of feature maps, whose latency a block waits for; the compiler counts their traffic by elements.
The U85 takes a product as a convolution, batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from hwmodels.classes.ethos.blocks import (
    BRICK,
    CONVOLUTION,
    PAIRWISE,
    POOLING,
    PRODUCT,
    TURN,
    Array,
    Between,
    Operation,
    Part,
    up,
)
from hwmodels.classes.ethos.terms import ALL, NONE, Placement
from hwmodels.workload import Contract, Tensor

ROW_PASSES = 21
"""Passes over one value a row: the reciprocal of a sum."""
ROW_CYCLES, ROW_WORDS = (41, 13), (17, 6)
"""On a U85, which chains them, at 8 and 16 bits: multiples of the output unit's cycles for one element, words that they read."""
SUM_CYCLES = 0.14
"""Of a U85 of any size, a value."""
ISSUE_CYCLES = 4.1
"""Of a value of 32 bits on the older arrays; a quarter of it and of the output unit's time is the least that a value takes."""
WRITTEN_BYTES = 8
"""What one core of the older arrays writes a cycle, at the most."""
WORD_BYTES = 4
ONE = {"kernel_h": 1, "kernel_w": 1, "stride": 1}

Make = Callable[..., Operation]
"""Operations of a layer by kind, cycles of the output unit and sizes, as ``operations`` makes them."""


def sides(rows: int, columns: int, channels: int, end: str = "") -> dict[str, int]:
    """Sizes of an operation's input and output (``end``: "in" or "out" alone)."""
    found = {"h": rows, "w": columns, "c": channels}
    return {f"{which}_{axis}": side for which in ([end] if end else ["in", "out"]) for axis, side in found.items()}


def passes(source: Tensor, make: Make, array: Array) -> list[Part]:
    """The operations of a softmax over the rows, one a pixel, of ``source``, in their order."""
    values, rows = source.channels, source.height * source.width
    if array.buffers[0] > 0:
        sizes = (1, 1, *source.sizes) if source.sizes[-1] == values else (1, rows, 1, values)
        chained = _wide if make(PAIRWISE, 0.0, **ONE).in_bytes > 1 else _narrow
        return chained(prod(sizes[:-2]), sizes[-2], values, make, array)

    def over(count: int, channels: int, finish: float, inputs: int = 1) -> Operation:
        made = make(PAIRWISE, finish, inputs, **ONE, **sides(count, 1, channels))
        return made._replace(in_bytes=WORD_BYTES, out_bytes=WORD_BYTES, in_brick=False, out_brick=False)

    word = max(float(array.multiply[0]), (ISSUE_CYCLES / array.cores + float(array.multiply[0])) / 4)
    in_row = sides(rows, values, 1, "in") | sides(rows, 1, 1, "out")
    # The bytes of a word as channels.
    words = sides(rows, 1, WORD_BYTES * values, "in") | sides(rows, 1, 1, "out")
    made = make(PAIRWISE, 0.0, **ONE)
    plain = {"in_brick": False, "out_brick": False}
    # Runs of 16 words fill half of a burst of the constant.
    constant = float(2 * WORD_BYTES * rows * values)
    return [
        Part(make(POOLING, 0.0, kernel_h=1, kernel_w=values, stride=1, **in_row)._replace(**plain), writes="near"),
        Part(over(rows, values, float(array.add[0]), 2)._replace(in_bytes=made.in_bytes), writes="exponentials"),
        Part(over(rows, values, word), reads="exponentials", writes="summed"),
        Part(make(CONVOLUTION, 0.0, **ONE, **words)._replace(in_bytes=1, **plain), reads="summed", writes="near"),
        Part(over(ROW_PASSES * rows, 1, word, 2), reads="exponentials", writes="near"),
        Part(over(rows, values, word, 2), reads="exponentials", writes="near"),
        Part(over(rows, values, word), constant_bytes=constant, reads="exponentials", writes="near"),
        Part(over(rows, values, word)._replace(out_bytes=made.out_bytes), reads="exponentials"),
    ]


class _Passes:
    """Passes of a U85 over ``height`` x ``width`` rows of ``values``."""

    def __init__(self, height: int, width: int, values: int, make: Make) -> None:
        self.height, self.width, self.values, self.make = height, width, values, make

    def over(self, channels: int, finish: float, in_bytes: int = WORD_BYTES, out_bytes: int = WORD_BYTES) -> Operation:
        """One value after the other, from bricks to bricks."""
        made = self.make(PAIRWISE, finish, **ONE, **sides(self.height, self.width, channels))
        return made._replace(in_bytes=in_bytes, out_bytes=out_bytes, in_brick=True, out_brick=True)

    def largest(self, array: Array, wide: bool) -> list[Part]:
        """The largest value of each row: that of the pixels of a channel, where rows are turned into channels; else that of a
        window as long as the row."""
        other, count = float(array.other[int(wide)]), self.height * self.width
        inner, middle = (self.width, self.height) if self.width > 1 else (self.height, 1)
        if wide or self.values == 1 or inner < BRICK:
            in_row = sides(count, self.values, 1, "in") | sides(count, 1, 1, "out")
            row = self.make(POOLING, other, kernel_h=1, kernel_w=self.values, stride=1, **in_row)
            return [Part(row._replace(in_brick=False, out_brick=False), writes="near")]
        sizes = sides(self.height, self.width, self.values, "in") | sides(self.values, middle, inner, "out")
        turned = self.make(TURN, max(other, array.clamp), **ONE, **sizes)
        sizes = sides(self.values, middle, inner, "in") | sides(1, middle, inner, "out")
        pooled = self.make(POOLING, other, kernel_h=self.values, kernel_w=1, stride=1, **sizes)
        return [
            Part(turned._replace(out_bytes=1, out_brick=True), writes="near"),
            Part(pooled._replace(out_bytes=1, in_brick=True, out_brick=False), reads="near", writes="near"),
        ]


def _narrow(height: int, width: int, values: int, make: Make, array: Array) -> list[Part]:
    """The passes of a U85 at 8 bits."""
    unit, own, made = float(array.add[0]), _Passes(height, width, values, make), make(PAIRWISE, 0.0, **ONE)
    row = own.over(1, ROW_CYCLES[0] * unit, in_bytes=ROW_WORDS[0] * WORD_BYTES)
    last = own.over(values, 4 * unit, out_bytes=made.out_bytes)
    return [
        *own.largest(array, wide=False),
        Part(own.over(values, unit, in_bytes=made.in_bytes)._replace(in_brick=made.in_brick), writes="exponentials"),
        Part(own.over(values, 2 * unit)._replace(out_brick=False), reads="exponentials", writes="summed"),
        Part(own.over(values, SUM_CYCLES, out_bytes=1)._replace(out_brick=False), reads="summed", writes="near"),
        Part(row._replace(in_brick=False, out_brick=False), reads="exponentials", writes="near"),
        # One value a row is fetched as a brick.
        Part(own.over(BRICK, 0.0, out_bytes=0), reads="exponentials", writes="near"),
        Part(last._replace(out_brick=made.out_brick), reads="exponentials"),
    ]


def _wide(height: int, width: int, values: int, make: Make, array: Array) -> list[Part]:
    """The passes of a U85 at 16 bits."""
    unit, own, made = float(array.add[0]), _Passes(height, width, values, make), make(PAIRWISE, 0.0, **ONE)
    size = made.in_bytes
    row = own.over(1, ROW_CYCLES[1] * unit, in_bytes=ROW_WORDS[1] * WORD_BYTES)
    return [
        *own.largest(array, wide=True),
        Part(own.over(values, 6 * unit, size, size)._replace(in_brick=made.in_brick), writes="exponentials"),
        Part(own.over(values, SUM_CYCLES, size, 1)._replace(out_brick=False), reads="exponentials", writes="near"),
        Part(row._replace(in_brick=False, out_brick=False), reads="exponentials", writes="near"),
        Part(own.over(BRICK, 0.0, size, 0), reads="exponentials", writes="near"),
        Part(own.over(values, 4 * unit, size, made.out_bytes), reads="exponentials"),
    ]


def product(work: Contract, target: Tensor, make: Make, array: Array) -> list[Part]:
    """The operations of a product of two tensors, ``depth`` products a value of ``target``. One in which what goes into a sum
    lies scattered is turned before."""
    count, depth = target.elements, work.depth
    batch, across = max(1, prod(target.sizes[:-2])), target.sizes[-1]
    pixels, separate = count // batch // across, array.buffers[0] > 0
    found: list[Part] = []
    for scattered, side in zip(work.scattered, (pixels, across), strict=True):
        if scattered:
            finish = max(float(array.other[0]), array.clamp) if separate else 0.0
            turned = make(TURN, finish, **ONE, **sides(batch, depth, side, "in"), **sides(batch, side, depth, "out"))
            found.append(Part(turned._replace(in_brick=False, out_brick=separate), writes="near"))
    reads: Between = "near" if all(work.scattered) else ""
    if separate:
        sizes = sides(1, pixels, depth, "in") | sides(1, pixels, across, "out")
        multiplied = make(PRODUCT, float(array.convolve[0]), **ONE, **sizes)
        if work.scattered[0]:
            multiplied = multiplied._replace(in_brick=True)
        return [*found, Part(multiplied, times=batch, reads=reads)]
    # One row of the other operand after the other is multiplied with all of the first, and the words of each are summed.
    wide, plain = int(make(PAIRWISE, 0.0, **ONE).in_bytes > 1), {"in_brick": False, "out_brick": False}
    finish = max(float(array.multiply[wide]), WORD_BYTES / WRITTEN_BYTES / array.cores)
    multiplied = make(PAIRWISE, finish, **ONE, **sides(1, pixels, depth))._replace(out_bytes=1, word_bytes=WORD_BYTES, **plain)
    sizes = sides(1, pixels, depth, "in") | sides(1, pixels, 1, "out")
    summed = make(PRODUCT, float(array.convolve[wide]), **ONE, **sizes)._replace(word_bytes=1, **plain)
    rows = batch * across
    return [*found, Part(multiplied, times=rows, reads=reads, writes="outside"), Part(summed, times=rows, reads="outside")]


class Words(NamedTuple):
    """Whether what lies between the passes of a softmax is on chip (see ``Part.reads``)."""

    exponentials: bool
    summed: bool
    near: bool = True
    outside: bool = False


def words_of(source: Tensor, array: Array, capacity: float) -> Words:
    """Which words of the softmax of ``source`` fit on chip: both, or those that are read more often, or the others."""
    rows, values = source.height * source.width, source.channels
    summed = float(WORD_BYTES * rows * values)
    exponentials = float(WORD_BYTES * rows * up(values, BRICK)) if array.buffers[0] > 0 else summed
    together = exponentials + summed <= capacity
    return Words(together or exponentials <= capacity, together or exponentials > capacity >= summed)


def placed(part: Part, place: Placement, words: Words) -> Placement:
    """Where a part of a layer that is at ``place`` reads and writes."""
    if part.reads:
        place = place._replace(near=ALL if getattr(words, part.reads) else NONE)
    return place._replace(kept=getattr(words, part.writes)) if part.writes else place
