"""Room that weights take on the chip of a documented array while they are copied there from where they are stored.

A copy is made beside the operation before, which hides it; then it lies on the chip during both, if the operation before leaves
room. What takes longer than that operation is copied in slices of output channels: a first one while the operation before works
(16 channels if there is none), each further one while the array multiplies the slice before it. Two buffers take the slices by
turns, so only the largest two are on the chip together. Where even a slice finds no room, the weights are read from where they
are stored.

The rules follow the scheduler of Arm's compiler (ethos-u-vela 5.2.0, Apache-2.0: weight buffering), in own words. A slice's share
of the encoded weights is taken to be its share of the channels.

Example: 64 channels, 6400 bytes with biases and scales, copied at 2 bytes a cycle after an operation of 800 cycles. 3200 cycles
do not hide: 16 channels are copied ahead. If these multiply for 1600 cycles, 32 channels are copied meanwhile: the slices have
16, 32 and 16 channels, the buffers 1600 and 3200 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from hwmodels.classes.ethos.blocks import SPLIT_DEPTH, up
from hwmodels.classes.ethos.cycles import CHANNEL_CONSTANT_BYTES, Port

GRANULE = 16
"""Bytes to which biases and scales, and weights, of a slice are filled up, each."""


class Step(NamedTuple):
    """An operation of layer ``row`` as its weights see it: ``cycles`` of the array, output channels, those of an output block,
    and encoded weights without biases and scales: 0 for none, or for those of a cascade, which are on the chip all the while.

    ``full``: all that the layer reads and writes is still on the chip; not so at the last of several copies into one place.
    """

    row: int
    cycles: float
    channels: int
    block: int
    weight_bytes: float = 0.0
    full: bool = True

    def slice_bytes(self, channels: int) -> int:
        """Bytes of ``channels`` of the output channels."""
        weights = math.ceil(self.weight_bytes * channels / self.channels)
        return up(weights, GRANULE) + up(CHANNEL_CONSTANT_BYTES * channels, GRANULE)


class Buffers(NamedTuple):
    """Bytes of the two buffers (the second may be 0), which of them is in use last, and the channels of the last slice."""

    sizes: tuple[int, int]
    last: int
    tail: int


def buffered(step: Step, hidden: float, room: float, source: Port) -> Buffers:
    """The buffers of the weights of an operation.

    Args:
        hidden: cycles of the operation before that a copy may take.
        room: bytes on the chip for the buffers.
        source: memory that the weights are stored in.
    """
    whole, channels = step.slice_bytes(step.channels), step.channels
    transfer = whole // source.bytes_per_cycle + source.read_latency
    ahead = min(whole * min(hidden / transfer, 1.0), room // 2)
    if ahead >= whole:
        return Buffers((whole, 0), 0, channels)
    first = max(SPLIT_DEPTH, int(channels * ahead / whole) // SPLIT_DEPTH * SPLIT_DEPTH)
    blocks = math.ceil(min(first, channels) / step.block) / math.ceil(channels / step.block)
    depth = up(math.ceil(channels * step.cycles * blocks / transfer), step.block)
    if depth * whole / channels > room // 2:
        depth = int(room // 2 * channels / whole)
    while True:
        multiple = step.block if depth > step.block else SPLIT_DEPTH
        depth = max(depth // multiple * multiple, SPLIT_DEPTH)
        ends = [0, *range(first, channels, depth), channels]
        sizes = [step.slice_bytes(end - begin) for begin, end in pairwise(ends)]
        both = max(sizes[::2]), max(sizes[1::2], default=0)
        if sum(both) <= room or first == SPLIT_DEPTH:
            return Buffers(both, (len(sizes) - 1) % 2, ends[-1] - ends[-2])
        if depth > first:
            depth = up(depth // 2, SPLIT_DEPTH)
        else:
            first = up(first // 2, SPLIT_DEPTH)


def copies(steps: Sequence[Step], free: np.ndarray, source: Port) -> np.ndarray:
    """``float64[L]``: the most bytes that weights on their way take on the chip while each layer runs.

    Args:
        steps: in order of execution.
        free: ``float64[L]``, bytes that nothing else takes meanwhile.
        source: memory that the weights are stored in.
    """
    found = np.zeros(len(free))
    before, hidden, left, rest = -1, 0.0, 0.0, 0.0
    for step in steps:
        room, cycles = float(free[step.row]), step.cycles
        own, held = 0.0, 0.0
        if step.weight_bytes:
            made = buffered(step, hidden, room, source)
            if max(made.sizes) <= room:
                if sum(made.sizes) > room:
                    made = made._replace(sizes=(max(made.sizes), 0), last=0)
                own, held = float(sum(made.sizes)), float(made.sizes[made.last])
                if before >= 0 and own < left:
                    found[before] = max(found[before], rest + made.sizes[0])
                if made.tail < step.channels:
                    cycles *= math.ceil(made.tail / step.block) / math.ceil(step.channels / step.block)
        found[step.row] = max(found[step.row], own, held)
        before, hidden, left, rest = step.row if step.full else -1, cycles, room - held, held
    return found
