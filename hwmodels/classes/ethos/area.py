"""The cut of operations that a U85 does channel by channel, and of element-wise ones: whole rows first, as far as buffers reach.

Arm's compiler (ethos-u-vela 5.2.0, Apache-2.0: configuration of operations) does not search all blocks for these, as ``search``
does for convolutions. For poolings and depthwise convolutions it tries each depth, gives the block the proportions of the
picture, shrinks it until accumulators and inputs fit, and takes the one that comes nearest to covering rows and depth (kernels
of one pixel) or the picture. Then it leaves room for the next rows of input. An element-wise operation takes as many columns as
the output buffer holds, and more channels where columns are left over. Rules in own words; tests/unit compares with blocks that
the compiler printed.

Example: (32, 4, 480) of 8 bits, whose channels are written before its columns, on 512 multipliers: blocks of 22x2x128.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hwmodels.classes.ethos.blocks import BRICK, CHANNELWISE, PAIRWISE, PIECE, Array, Operation, reach, unit_row, up
from hwmodels.compiled import compiled

RETRIES = 25
STUBBORN = 0.9
"""By how much a block shrinks that did not for ``RETRIES`` attempts."""


class Room(NamedTuple):
    """What all cuts of an operation share: micro-block (``row`` of ``Array.microblocks``), the output filled up to whole ones and
    the largest block, and how many accumulators and inputs fit."""

    row: int
    micro_h: int
    micro_w: int
    high: int
    wide: int
    deep: int
    most_h: int
    most_w: int
    most_c: int
    sums: int
    inputs: int


@compiled
def room_of(op: Operation, array: Array, row: int, innermost: int) -> Room:
    """The room of an operation; ``innermost``: which of rows, columns and channels is written innermost, and may be longest."""
    micro_h, micro_w = array.microblocks[row, 0], array.microblocks[row, 1]
    limits = [array.limits[0], array.limits[1], array.limits[2]]
    limits[2], limits[innermost] = limits[innermost], limits[2]
    sides = up(op.out_h, micro_h), up(op.out_w, micro_w), up(op.out_c, BRICK)
    accumulator = 8 if op.in_bytes > 1 and op.kind == CHANNELWISE else 4
    return Room(
        row,
        micro_h,
        micro_w,
        sides[0],
        sides[1],
        sides[2],
        min(sides[0], limits[0]),
        min(sides[1], limits[1]),
        min(sides[2], limits[2]),
        array.buffers[1] // accumulator,
        array.buffers[0] // op.in_bytes,
    )


@compiled
def tile(size: int, granule: int, most: int) -> int:
    """The length of a piece of ``size``: ``most`` where that divides it, else pieces as equal as the granule allows."""
    if size % most == 0:
        return most
    return max(up(size // (size // most + 1), granule), granule)


@compiled
def best_tile(size: int, granule: int, most: int) -> int:
    """The length of a piece, at most ``most``, whose last piece is fullest; of equals the longest."""
    if size % most == 0:
        return most
    even = tile(size, granule, most)
    best, rest = most, size % most
    length = most
    while length >= max(even - 2 * granule, (even + 1) // 2, granule):
        last = size % length if size % length else length
        if last > rest:
            best, rest = length, last
        length -= granule
    return best


@compiled
def read_size(op: Operation, array: Array, row: int, rows: int, columns: int, channels: int) -> tuple[int, int, int]:
    """Rows, columns and channels of input that a block needs, in whole units."""
    unit_h, unit_w, unit_bytes = array.input_units[row, unit_row(channels, op.in_bytes)]
    high = up(reach(rows, op.stride, min(op.kernel_h, PIECE), 1, 0), unit_h)
    wide = up(reach(columns, op.stride, min(op.kernel_w, PIECE), 1, 0), unit_w)
    return high, wide, up(channels, max(unit_bytes // op.in_bytes, 1))


@compiled
def shaped(room: Room, area: int) -> tuple[int, int]:
    """Rows and columns of a block of about ``area`` pixels in the proportions of the picture."""
    aspect = room.high / room.wide
    wide = math.sqrt(area / aspect)
    high = wide * aspect
    if high < 1.0:
        wide, high = wide * high, 1.0
    elif wide < 1.0:
        high, wide = high * wide, 1.0
    columns = max(int(wide), room.micro_w) // room.micro_w * room.micro_w
    rows = max(int(high), room.micro_h) // room.micro_h * room.micro_h
    rows, columns = min(rows, room.most_h), min(columns, room.most_w)
    area = rows * columns
    if columns < room.wide:
        columns = best_tile(room.wide, room.micro_w, columns)
    return max(area // columns // room.micro_h * room.micro_h, room.micro_h), columns


@compiled
def fitted(op: Operation, array: Array, room: Room, depth: int) -> tuple[int, int]:
    """Rows and columns of the largest block of ``depth`` channels whose accumulators and inputs fit; 0, 0: none does."""
    granule = room.micro_h * room.micro_w * BRICK
    unit_h, unit_w, unit_bytes = array.input_units[room.row, unit_row(depth, op.in_bytes)]
    whole = up(op.in_h, unit_h) * up(op.in_w, unit_w) * up(op.in_c, max(unit_bytes // op.in_bytes, 1))
    sums, before, retries = room.sums, -1, RETRIES
    while True:
        rows, columns = shaped(room, sums // depth)
        needed = rows * columns * depth
        high, wide, deep = read_size(op, array, room.row, rows, columns, depth)
        output, inputs = room.sums / needed, room.inputs / min(high * wide * deep, whole)
        if output >= 1.0 and inputs >= 1.0:
            return rows, columns
        if needed == before:
            retries -= 1
            if retries <= 0:
                inputs = STUBBORN
        before = needed
        if inputs < 1.0 < output:
            sums = min(sums, needed)
        less = int(sums // granule * min(inputs, output)) * granule
        sums = sums - granule if less == sums else less
        if sums < granule:
            return 0, 0


@compiled
def covering(op: Operation, array: Array, room: Room) -> tuple[int, int, int]:
    """Rows, columns and channels of the block that comes nearest to covering what one pass should."""
    flat = op.kernel_h == op.kernel_w == 1
    area = room.wide * room.deep if flat else room.high * room.wide
    granule = room.micro_h * room.micro_w * BRICK
    best, least = (room.micro_h, room.micro_w, BRICK), math.inf
    unit_most = min(max(array.macs, room.sums // granule), room.most_c)
    depth = BRICK
    while depth <= unit_most:
        rows, columns = fitted(op, array, room, depth)
        if rows == 0:
            break
        unit = max(array.input_units[room.row, unit_row(depth, op.in_bytes), 2] // op.in_bytes, 1)
        used = depth % unit if depth % unit else unit
        waste = 1.0 + (unit - used) / unit / 10
        fit = 1.0 + abs(1.0 - room.most_c / depth) / 10
        coverage = 1.0 + abs(1.0 - area / (columns * (depth if flat else rows)))
        if coverage * fit * waste < least:
            best, least = (rows, columns, depth), coverage * fit * waste
            if depth >= room.deep and columns >= room.wide and rows >= room.high:
                return room.high, room.wide, room.deep
        depth += BRICK
    return best


@compiled
def area_block(op: Operation, array: Array, row: int, innermost: int) -> tuple[int, int, int]:
    """The block of a pooling or depthwise convolution: the covering one, less what the next rows of input need."""
    room = room_of(op, array, row, innermost)
    rows, columns, depth = covering(op, array, room)
    forced = 0
    while columns < room.wide or rows < room.high or depth < room.deep:
        high, wide, deep = read_size(op, array, row, rows, columns, depth)
        more_h, more_w, more_c = read_size(op, array, row, room.micro_h, columns, depth)
        if room.inputs - high * wide * deep >= more_h * more_w * more_c:
            break
        if (rows != room.high or forced & 2) and rows > room.micro_h:
            rows -= room.micro_h
        elif (depth > columns or forced & 1) and depth > BRICK:
            depth -= BRICK
        elif (columns != room.wide or forced & 4) and columns > room.micro_w:
            columns -= room.micro_w
        elif forced != 7:
            forced = forced << 1 | 1
        elif depth > BRICK:
            depth = max(depth // 2, BRICK)
        else:
            break
    return rows, columns, depth


@compiled
def pair_block(op: Operation, array: Array, row: int, innermost: int) -> tuple[int, int, int]:
    """The block of an element-wise operation."""
    room = room_of(op, array, row, innermost)
    columns = array.buffers[2] // op.in_bytes // BRICK
    wanted = max(
        tile(room.wide, room.micro_w, max(min(columns, room.most_w) // room.micro_w * room.micro_w, room.micro_w)), room.micro_w
    )
    rows, depth = tile(room.high, room.micro_h, room.most_h), BRICK
    more = min(columns // wanted, room.most_c // depth)
    if more >= 2:
        columns, depth = columns // more, depth * more
    return up(rows, room.micro_h), up(columns, room.micro_w), depth


@compiled
def repeated_block(op: Operation, array: Array, row: int) -> tuple[int, int, int]:
    """The block that repeats pixels: one row of bricks, two bytes a multiplier less four columns."""
    columns = min(2 * array.macs // (BRICK * op.in_bytes) - 4, array.limits[1])
    return 1, max(columns, array.microblocks[row, 1]), BRICK


@compiled
def block_of(op: Operation, array: Array, row: int, innermost: int) -> tuple[int, int, int]:
    """Rows, columns and channels of a block of an operation without sums over channels."""
    if op.kind == PAIRWISE:
        return repeated_block(op, array, row) if op.nearest else pair_block(op, array, row, innermost)
    return area_block(op, array, row, innermost)
