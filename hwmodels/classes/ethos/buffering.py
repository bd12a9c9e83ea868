"""Which weights a documented array reads from a copy on the chip, and how these are copied there.

A copy is worth its while where reading all weights as often as blocks do takes longer from where they are stored than from the
chip. It is made beside the operation before, as far as that hides it: a first slice of output channels, each further one while
the array works on the slice before it; two buffers take the slices by turns. An operation in a cascade copies all of its weights
or none. No copy is made where it would cost more than it saves: where the array is slower with it, where the input could stay on
the chip instead and saves more, or where the result could, for a layer that waits for it.

The rules are those of the scheduler of Arm's compiler (ethos-u-vela 5.2.0, Apache-2.0: weight buffering), in own words. A slice's
share of the encoded weights is taken to be its share of the channels. At that time all feature maps are taken to be where those
live that do not stay on the chip.

Example: 64 channels, 6400 bytes with biases and scales, copied at 2 bytes a cycle after an operation of 800 cycles. 3200 cycles
do not hide: 16 channels are copied ahead. If these multiply for 1600 cycles, 32 channels are copied meanwhile: the slices have
16, 32 and 16 channels, the buffers 1600 and 3200 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from hwmodels.classes.ethos.blocks import SPLIT_DEPTH, Array, Blocks, Operation, up
from hwmodels.classes.ethos.cycles import CHANNEL_CONSTANT_BYTES, fetches, read_bytes, slice_cycles
from hwmodels.classes.ethos.terms import Homes, copy_cycles

GRANULE = 16
"""Bytes to which biases and scales, and weights, of a slice are filled up, each."""
STARTUP_CYCLES = 1000
"""What may be visible of a copy that is begun with nothing to hide behind."""
LEAST_FILLED = 0.3
"""Of an output block, what a slice between the first and the last has to fill."""
TIE = 1e-9
"""Of cycles, what rounding may change."""


class Buffered(NamedTuple):
    """A copy: ``sizes`` of the two buffers, which of them is in use last, whether the first slice is copied beside the operation
    before; shares of the weights in the first slice; cycles of the last one; where slices of output channels end (from 0 on)."""

    sizes: tuple[int, int]
    last: int
    ahead: bool
    first: float
    tail_cycles: float
    ends: tuple[int, ...]


class Weighing(NamedTuple):
    """An operation and its weights as the scheduler sees them.

    ``whole``: the operation; ``stripe``: the part of it that a cascade makes at a time, else the same. ``cycles``: of the whole
    operation. ``weight_bytes``: encoded weights without biases and scales, 0: none. ``sliced``: its output channels may be made
    in slices. ``inside``: its input is a rolling buffer. ``choice``: its input could stay on the chip whole. ``hides``: a copy
    can be made beside the operation before. ``full``: all that the layer reads and writes is still on the chip behind it.
    ``again``: the weights are those of the operation before, as in the two convolutions whose larger result stands for slopes.
    ``reader``: the layer that first reads what the operation, with all that the output unit does as part of it, writes; -1: none.
    """

    row: int
    whole: Operation
    stripe: Operation
    blocks: Blocks
    cycles: float
    weight_bytes: float = 0.0
    sliced: bool = True
    inside: bool = False
    choice: bool = True
    hides: bool = True
    full: bool = True
    again: bool = False
    reader: int = -1

    @property
    def input_bytes(self) -> int:
        """Bytes of the input as the scheduler counts them: not in bricks."""
        return self.stripe.in_h * self.stripe.in_w * self.stripe.in_c * self.stripe.in_bytes

    def slice_bytes(self, channels: int) -> int:
        """Bytes of ``channels`` of the output channels."""
        weights = math.ceil(self.weight_bytes * channels / self.whole.out_c)
        return up(weights, GRANULE) + up(CHANNEL_CONSTANT_BYTES * channels, GRANULE)


class Before(NamedTuple):
    """What the operation before leaves: cycles that a copy may take beside it, and bytes on the chip; none: ``begins``."""

    cycles: float
    room: float
    begins: bool


@dataclass
class Copies:
    """What copies of weights come to: ``found`` for each operation of each layer, ``slack`` cycles that each finds to hide
    behind, ``held float64[L]`` bytes on the chip."""

    found: list[list[Buffered | None]]
    slack: list[list[float]]
    held: np.ndarray


class Estimate(NamedTuple):
    """Cycles of all stripes of an operation: of the array, with copies that nothing hides, reading weights and inputs; of the
    last slice; bytes of the inputs that are read."""

    run: float
    full: float
    weights: float
    inputs: float
    tail: float
    read: float


class Offer(NamedTuple):
    """Weights read where they are stored (``plain``), or from a copy (``made``) that takes ``taken`` bytes; ``alone``: slices of
    a copy that is begun with nothing to hide behind, else 0."""

    plain: Estimate
    made: Estimate
    taken: int
    alone: int


def estimate(
    op: Weighing, slices: Sequence[int], array: Array, homes: Homes, copied: bool, hidden: float, double: bool
) -> Estimate:
    """The estimate for an operation whose output channels are made in ``slices`` (ends, from 0 on).

    Args:
        copied: whether weights are read from a copy.
        hidden: cycles that hide the copy of the first slice.
        double: whether slices are copied while the array works.
    """
    repeats = max(1.0, op.whole.out_h / op.stripe.out_h)
    home = homes.onchip if copied else homes.weights
    source, target = homes.onchip if copied and op.inside else homes.outside, homes.outside
    run = visible = read = weight_bytes = tail = 0.0
    passes, pairs = 0, list(pairwise(slices))
    for number, (begin, end) in enumerate(pairs):
        part = op.stripe._replace(out_c=end - begin)
        first, last = number == 0, number == len(pairs) - 1
        tail = slice_cycles(part, op.blocks, array, source, target, home.read_latency, first, last)
        run += tail
        read += read_bytes(part, op.blocks, homes.onchip._replace(burst=1))
        count, size = fetches(part, op.blocks), op.slice_bytes(end - begin)
        passes, weight_bytes = passes + count, weight_bytes + size * count
        if copied:
            visible += max(copy_cycles(homes, size) - hidden, 0.0)
        hidden = tail if double else 0.0
    weights = (weight_bytes / passes / home.weight_rate + home.read_latency) * passes if passes else 0.0
    inputs = read / source.input_rate + source.read_latency
    return Estimate(repeats * run, repeats * run + visible, repeats * weights, repeats * inputs, tail, read)


def ends_of(op: Weighing, first: int, depth: int) -> list[int]:
    """Where slices end: one of ``first`` channels, others of ``depth``."""
    return [0, *range(first, op.whole.out_c, depth), op.whole.out_c]


def sliced(op: Weighing, hidden: float, room: float, dominated: bool, array: Array, homes: Homes) -> list[int] | None:
    """The slices in which weights are copied; None where too little of a block would be filled."""
    channels, whole, half = op.whole.out_c, op.slice_bytes(op.whole.out_c), int(room) // 2
    least, time = min(SPLIT_DEPTH / channels, 1.0), copy_cycles(homes, whole)
    share = min(hidden / time, 1.0)
    ahead = 1.0 if 1.0 - math.floor(share / least) * least < least / 2 else share
    if dominated and 0.5 < ahead < 1.0:
        ahead = min(up(channels // 2, SPLIT_DEPTH) / channels, 1.0)
    ahead = min(max(ahead, least), half / whole, 1.0)
    if ahead >= 1.0:
        return [0, channels]
    grain, block = max(op.blocks.micro_c, SPLIT_DEPTH), op.blocks.out_c
    first = max(int(channels * ahead) // grain * grain, SPLIT_DEPTH)
    if first >= channels:
        return [0, channels]
    part = op.stripe._replace(out_c=first)
    made = slice_cycles(part, op.blocks, array, homes.outside, homes.outside, homes.onchip.read_latency, True, False)
    depth = up(max(int(channels * made / time), SPLIT_DEPTH), block)
    if depth / channels * whole > half:
        depth = int(half / whole * channels)
    while True:
        multiple = block if depth > block else grain
        depth = max(depth // multiple * multiple, grain)
        ends = ends_of(op, first, depth)
        largest = max(op.slice_bytes(end - begin) for begin, end in pairwise(ends))
        if largest <= half or (first == SPLIT_DEPTH and depth == grain):
            break
        if depth > max(first, grain):
            depth = up(depth // 2, grain)
        else:
            first = up(first // 2, SPLIT_DEPTH)
    return None if len(ends) > 3 and depth / up(depth, block) < LEAST_FILLED else ends


def decide(op: Weighing, reader: Weighing | None, before: Before, room: float, array: Array, homes: Homes) -> Buffered | None:
    """The copy of an operation's weights, None: they are read from where they are stored.

    Args:
        reader: the operation, with weights, that first reads its result; None where that has none.
        room: bytes on the chip that nothing else takes meanwhile.
    """
    channels, whole = op.whole.out_c, op.slice_bytes(op.whole.out_c)
    repeats = math.ceil(op.whole.out_h / op.stripe.out_h)
    passes = fetches(op.whole, op.blocks) * repeats
    stored = (whole / homes.weights.weight_rate + homes.weights.read_latency) * passes
    near = (whole / homes.onchip.weight_rate + homes.onchip.read_latency) * passes
    if near >= stored:
        return None
    time = copy_cycles(homes, whole)
    smallest = time * min(channels, SPLIT_DEPTH) / channels
    begins = before.begins and passes > 1 and (smallest < stored / 10 or smallest <= STARTUP_CYCLES)
    plain = estimate(op, [0, channels], array, homes, False, 0.0, False)
    dominated, visible = plain.run > stored, max(time - before.cycles, 0.0)
    if op.sliced:
        many = channels // op.blocks.out_c > 2
        if not (begins or near + visible < stored or many or (op.hides and smallest < before.cycles and passes > 1)):
            return None
        ends = sliced(op, before.cycles, room, dominated, array, homes)
    else:
        hidden = visible < time / 20 or math.ceil(visible / repeats) < STARTUP_CYCLES
        if whole > room or not (hidden or begins) or not (near + visible < stored or not dominated):
            return None
        ends = [0, channels]
    if ends is None:
        return None
    sizes = [op.slice_bytes(end - begin) for begin, end in pairwise(ends)]
    both, double = (max(sizes[::2]), max(sizes[1::2], default=0)), len(sizes) > 1
    if sum(both) > room:
        both, double = (max(sizes), 0), False
        if both[0] > room:
            return None
    ahead = op.hides and both[0] < before.room
    slack = before.cycles if ahead else STARTUP_CYCLES if begins else 0.0
    made = estimate(op, ends, array, homes, True, slack, double)
    offer = Offer(plain, made, sum(both), len(sizes) if begins else 0)
    inputs = _inputs_beside(op, offer, reader, before.room, room, array, homes)
    if inputs is None:
        return None
    without = max(plain.run, plain.weights, inputs)
    # Of equals, whatever rounding makes of them, the copy is made.
    slower = without < (1 - TIE) * _with_copy(offer, inputs, dominated)
    if slower or (passes == 1 and time + made.weights > without):
        return None
    return Buffered(both, (len(sizes) - 1) % 2 if double else 0, ahead, ends[1] / channels, made.tail, tuple(ends))


def _inputs_beside(
    op: Weighing, offer: Offer, reader: Weighing | None, before: float, room: float, array: Array, homes: Homes
) -> float | None:
    """Cycles of reading the inputs where a copy is made; None: the input, or that of the ``reader``, stays on the
    chip instead and saves more.

    Args:
        before: bytes on the chip that the operation before leaves.
        room: bytes on the chip that nothing else takes meanwhile.
    """
    plain, made = offer.plain, offer.made
    if not op.choice or op.inside:
        return made.inputs
    size, fits = op.input_bytes, op.input_bytes + offer.taken <= room
    kept = max(plain.run, plain.weights, plain.read / homes.onchip.input_rate + homes.onchip.read_latency)
    copied = max(made.full, made.weights, made.inputs)
    if not fits and size < before and kept < copied and kept < made.inputs:
        return None
    if reader is not None and _leaves_room(op, offer, reader, before, room, array, homes):
        return None
    return made.read / homes.onchip.input_rate + homes.onchip.read_latency if fits else made.inputs


def _leaves_room(op: Weighing, offer: Offer, reader: Weighing, before: float, room: float, array: Array, homes: Homes) -> bool:
    """Whether no copy is made so that the result can stay on the chip for its ``reader``: that waits for its input, which is read
    for more than twice as long as its weights, and the chip does not hold that beside the copy and the input of the operation."""
    later = estimate(reader, [0, reader.whole.out_c], array, homes, False, 0.0, False)
    waits = not later.run > max(later.weights, later.inputs) and later.inputs > 2 * later.weights > 0
    if not waits or reader.input_bytes >= room or reader.input_bytes + op.input_bytes + offer.taken <= before:
        return False
    plain = offer.plain
    return plain.run > max(plain.weights, plain.inputs) or later.inputs > offer.made.inputs


def _with_copy(offer: Offer, inputs: float, dominated: bool) -> float:
    """Cycles with the copy; where the array is slowest anyway (``dominated``), what little is visible counts for nothing."""
    made = offer.made
    cycles, visible = max(made.full, made.weights, inputs), made.full - made.run
    if dominated and visible < STARTUP_CYCLES:
        cycles -= visible
    if dominated and offer.alone > 1 and cycles >= (1 - TIE) * made.full:
        cycles -= offer.alone * STARTUP_CYCLES / 2
    return cycles


def copies(
    ops: Sequence[Sequence[Weighing]],
    free: np.ndarray,
    cascades: Sequence[tuple[int, int]],
    wanted: np.ndarray,
    aside: Sequence[bool],
    array: Array,
    homes: Homes,
) -> Copies:
    """The copies of all operations, in order of execution.

    Args:
        ops: of each layer.
        free: ``float64[L]``, bytes on the chip that nothing else takes while each layer runs.
        cascades: first and last layer of each.
        wanted: ``float64[L]``, bytes of the copies that layers of a cascade were planned with.
        aside: layers that run beside the array.
    """
    made = Copies([[None] * len(each) for each in ops], [[0.0] * len(each) for each in ops], np.zeros(len(free)))
    inside = {row: (first, last) for first, last in cascades for row in range(first, last + 1)}
    before, beside, rest, more = Before(0.0, math.inf, True), -1, 0.0, 0.0
    last_made: Buffered | None = None
    for row, each in enumerate(ops):
        first, last = inside.get(row, (row, row))
        more = 0.0 if row == first else more
        for number, op in enumerate(each):
            room = float(free[row]) - (float(wanted[first : last + 1].sum() - wanted[row]) + more if last > first else 0.0)
            room, own, tail, cycles = max(room, 0.0), 0.0, 0.0, op.cycles
            following = ops[op.reader][:1] if op.reader >= 0 else []
            reader = following[0] if following and following[0].weight_bytes else None
            found = decide(op, reader, before, room, array, homes) if op.weight_bytes else None
            made.slack[row][number] = before.cycles
            if found is not None:
                made.found[row][number] = found
                own, tail, cycles = float(sum(found.sizes)), float(found.sizes[found.last]), found.tail_cycles
                shared = op.again and row == last and last_made is not None and last_made.sizes == found.sizes
                if found.ahead and beside >= 0 and not shared:
                    made.held[beside] = max(made.held[beside], rest + found.sizes[0])
                more += own
            made.held[row] = max(made.held[row], own)
            before, beside, rest = Before(cycles, room - tail, False), row if op.full else -1, tail
            last_made = found if row == last == first else None
        if last > first and row == last:
            made.held[first : last + 1] = more
            rest = more
        if aside[row]:
            before, beside = Before(0.0, 0.0, True), -1
    return made
