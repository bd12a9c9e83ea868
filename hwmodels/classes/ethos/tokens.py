"""What attention asks of a documented array: softmaxes, and products of two tensors.

A softmax is passes over all values and passes over one value a row, in 32-bit integers.

Arm's compiler (ethos-u-vela 5.2.0) takes an 8-bit softmax apart: the largest value of each row, differences to it, exponentials
from a table, their sum, its reciprocal by three rounds of Newton's method, products, a rounding shift. Kinds, sizes and order of
the passes are read off its output for rows of 32 and 64 values on nine systems. The U85 chains several of them, and its output
unit takes twice as long for each further one; its largest value and sum are taken at a rate of their own. A softmax of 16 bits
goes another way, which is not modelled: it is priced as this one.

Not modelled: on a U55 the last addition reads and writes value by value, in a burst each, which takes 8 cycles a value: there
softmaxes are a fifth to a half too cheap.

A product of two tensors multiplies element by element and sums the words, which the compiler's estimate moves as bytes; the U85
takes it as a convolution. Not modelled: a U65 waits some 16 cycles for each value of the result, which products of fewer than 64
values do not hide.
"""

from __future__ import annotations

from collections.abc import Callable

from hwmodels.classes.ethos.blocks import CONVOLUTION, PAIRWISE, POOLING, Array, Operation, up
from hwmodels.classes.ethos.terms import ALL, Placement
from hwmodels.workload import Tensor

ROW_PASSES = 21
"""Passes over one value a row: the reciprocal of a sum."""
ROW_CYCLES = 41
"""On the U85, where they are chained: multiples of the output unit's cycles for one element."""
LARGEST_CYCLES, SUM_CYCLES = 0.28, 0.14
"""Of a U85 of any size, a value."""
ISSUE_CYCLES = 4.1
"""Of a value of 32 bits on the older arrays; a quarter of it and of the output unit's time is the least that a value takes."""
PRODUCT_ISSUE_CYCLES = 1.7
"""The same of a product of two values of 8 bits."""
SUMMED, SUMMED_CYCLES = 32, 0.25
"""Words are summed so many at a time, in so many cycles each."""
WORD_BYTES = 4


def passes(source: Tensor, make: Callable[..., Operation], array: Array) -> list[Operation]:
    """The operations for the rows, one a pixel, of ``source``, in their order; ``make`` is that of ``operations``."""
    values, rows = source.channels, source.height * source.width
    one = {"kernel_h": 1, "kernel_w": 1, "stride": 1}

    def over(
        count: int, channels: int, finish: float, inputs: int = 1, in_bytes: int = WORD_BYTES, out_bytes: int = WORD_BYTES
    ) -> Operation:
        shape = {"in_h": count, "in_w": 1, "in_c": channels, "out_h": count, "out_w": 1, "out_c": channels}
        made = make(PAIRWISE, finish, inputs, **one, **shape)
        return made._replace(in_bytes=in_bytes, out_bytes=out_bytes)

    unit, written = float(array.add[0]), make(PAIRWISE, 0.0, **one).out_bytes
    read = make(PAIRWISE, 0.0, **one).in_bytes
    if array.buffers[0] > 0:
        found = [
            over(rows, values, LARGEST_CYCLES, in_bytes=read, out_bytes=1),
            over(rows, values, unit, 2, in_bytes=read),
            over(rows, values, 2 * unit),
            over(rows, values, SUM_CYCLES, out_bytes=1),
            over(rows, 1, ROW_CYCLES * unit),
            over(rows, values, 4 * unit, 2, out_bytes=written),
        ]
    else:
        word = max(float(array.multiply[0]), (ISSUE_CYCLES / array.cores + float(array.multiply[0])) / 4)
        in_row = {"in_h": rows, "in_w": values, "in_c": 1, "out_h": rows, "out_w": 1, "out_c": 1}
        summed = {"in_h": rows, "in_w": 1, "in_c": WORD_BYTES * values, "out_h": rows, "out_w": 1, "out_c": 1}
        found = [
            make(POOLING, 0.0, kernel_h=1, kernel_w=values, stride=1, **in_row),
            over(rows, values, unit, 2, in_bytes=read),
            over(rows, values, word),
            make(CONVOLUTION, 0.0, **one, **summed)._replace(in_bytes=1),  # the bytes of a word as channels
            over(ROW_PASSES * rows, 1, word, 2),
            over(rows, values, word, 2),
            over(rows, values, word),
            over(rows, values, word, out_bytes=written),
        ]
    return [operation._replace(in_brick=False, out_brick=False) for operation in found]


def product(depth: int, target: Tensor, make: Callable[..., Operation], array: Array) -> list[Operation]:
    """The operations for a product of two tensors, ``depth`` products a value of ``target``."""
    one, count = {"kernel_h": 1, "kernel_w": 1, "stride": 1}, target.elements
    if array.buffers[0] > 0:
        pixels = target.height * target.width
        across = 2 if pixels % 2 == 0 else 1
        shape = {"in_h": pixels // across, "in_w": across, "out_h": pixels // across, "out_w": across}
        return [make(CONVOLUTION, float(array.convolve[0]), in_c=depth, **one, **shape)]
    finish = max(float(array.multiply[0]), (PRODUCT_ISSUE_CYCLES / array.cores + float(array.multiply[0])) / 4)
    finish += SUMMED_CYCLES * up(depth, SUMMED) / depth
    shape = {"in_h": count, "in_w": 1, "in_c": depth, "out_h": count, "out_w": 1, "out_c": depth}
    # The row of one operand stays while it meets all of the other.
    return [make(PAIRWISE, finish, **one, **shape)._replace(in_brick=False, out_brick=False, out_bytes=1)]


def between(number: int, count: int, place: Placement, inside: bool) -> Placement:
    """Where pass ``number`` of ``count`` of a softmax reads and writes: the first two read what enters, the last writes what
    leaves; ``inside``: what lies between is on chip."""
    near = ALL if inside and number >= 2 else place.near
    return place._replace(near=near, kept=place.kept if number == count - 1 else inside or place.kept)
