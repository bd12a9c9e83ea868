"""The cut that Arm's compiler would choose for an operation: of all blocks that fit the buffers, the one that fetches least.

The compiler counts inputs and weights fetched per output element, looks at no clock and no memory, and compares in single
precision (ethos-u-vela 5.2.0, Apache-2.0: block search). Here all costs are computed first, and one is picked from them.

Example: a 3x3 convolution of 16 to 16 channels on 48x48 pixels of 8 bits, on a U55 of 128 multipliers (micro-blocks of 1x2x8).

    block     reads      fetched per output element                                                banks of 20: inputs + sums
    4x4x16    6x6x16     11.25                                                                     fits
    8x10x16   10x12x16    3.38                                                                     4 + 16
    7x12x16   9x14x16     3.25 = (9·14·16 · 48/7 · 48/12 inputs + 9·16·16 · 7·4 weights) / 48·48·16   4 + 16, taken
    8x12x16   10x14x16    2.96                                                                     8 + 16: too many
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.classes.ethos.area import block_of, read_size
from hwmodels.classes.ethos.blocks import (
    BRICK,
    CHANNELWISE,
    CONVOLUTION,
    PAIRWISE,
    PIECE,
    POOLING,
    PRODUCT,
    SPLIT_DEPTH,
    Array,
    Blocks,
    InputBlock,
    Operation,
    OutputBlock,
    fits,
    half_empty,
    least_waste,
    parts,
    prefers_part_kernel,
    reach,
    unit_row,
    up,
)
from hwmodels.compiled import compiled


class Frame(NamedTuple):
    """What all cuts of an operation have in common: micro-block (``row``: of ``Array.microblocks``), channels of an input block,
    ``own_depth`` where it has those of the output block, granularity of the output depth, and the largest block.
    """

    row: int
    micro_h: int
    micro_w: int
    micro_c: int
    part_kernel: bool
    own_depth: bool
    in_c: int
    step_c: int
    last_h: int
    last_w: int
    last_c: int


@compiled
def frame_of(op: Operation, array: Array) -> Frame:
    """The frame of an operation."""
    separate, wide = array.buffers[0] > 0, op.in_bytes > 1
    part_kernel = prefers_part_kernel(op, separate)
    row = least_waste(op, array, part_kernel)
    micro_h, micro_w, micro_c = array.microblocks[row]
    step_c, least_c = micro_c, 1
    if separate:
        least_c = BRICK
        if op.kind not in (CONVOLUTION, CHANNELWISE):
            step_c = max(micro_c, BRICK)
        if part_kernel:
            in_c = 16
        elif half_empty(op):
            in_c = 64 if wide else 128
        else:
            in_c = 32 if array.macs <= 256 and micro_c == 16 else 64
    else:
        in_c = up(min(op.in_c, 16), 4) if wide else up(min(op.in_c, 16 if part_kernel else 32), 8)
    return Frame(
        row,
        micro_h,
        micro_w,
        micro_c,
        part_kernel,
        op.kind in (CHANNELWISE, POOLING, PAIRWISE),
        in_c,
        step_c,
        up(min(op.out_h, array.limits[0]), micro_h),
        up(min(op.out_w, array.limits[1]), micro_w),
        up(max(min(op.out_c, array.limits[2]), least_c), step_c),
    )


@compiled
def input_block(op: Operation, array: Array, frame: Frame, out: OutputBlock) -> InputBlock:
    """The input block that feeds an output block."""
    separate = array.buffers[0] > 0
    channels = out.channels if frame.own_depth else frame.in_c
    unit_h, unit_w, unit_bytes = array.input_units[frame.row, unit_row(channels, op.in_bytes)]
    spread = 1 if separate and op.nearest else op.spread
    rows = up(reach(out.rows, op.stride, min(op.kernel_h, PIECE), spread, op.nearest), unit_h)
    columns = up(reach(out.columns, op.stride, min(op.kernel_w, PIECE), spread, op.nearest), unit_w)
    held = up(out.channels if frame.own_depth else min(frame.in_c, op.in_c), unit_bytes // op.in_bytes) if separate else channels
    return InputBlock(rows, columns, channels, held)


@compiled(inline="always")
def matches(op: Operation, array: Array) -> bool:
    """Whether it is a product of two tensors on a U85, of which the largest block is taken."""
    return array.buffers[0] > 0 and op.kind == PRODUCT


@compiled
def fetch_cost(op: Operation, array: Array, frame: Frame, out: OutputBlock, block: InputBlock) -> np.float32:
    """Inputs and weights fetched per output element (element by element: the number of blocks), in single precision, as the
    compiler compares them: blocks that differ by rounding alone are told apart by it."""
    one, area = np.float32, block.rows * block.columns
    if op.kind == PAIRWISE or matches(op, array):
        cost = one(op.out_h * op.out_w * op.out_c / (out.rows * out.columns * out.channels))
    elif op.kind == PRODUCT:
        # A sum over channels reads its input once, however it is cut.
        cost = one(op.in_c)
    else:
        pieces = parts(op.kernel_h, PIECE) * parts(op.kernel_w, PIECE)
        rows, columns = one(op.out_h) / one(out.rows), one(op.out_w) / one(out.columns)
        inputs = one(area * op.in_c * pieces)
        # The U85 multiplies in another order than its elders.
        inputs = inputs * (columns * rows) if array.buffers[0] > 0 else inputs * columns * rows
        if not frame.own_depth:
            inputs *= one(parts(op.out_c, out.channels))
        weights = 0
        if op.kind in (CONVOLUTION, CHANNELWISE):
            filters = op.out_c if op.kind == CONVOLUTION else 1
            weights = op.kernel_h * op.kernel_w * op.in_c * filters * parts(op.out_h, out.rows) * parts(op.out_w, out.columns)
        cost = (inputs + one(weights)) / one(op.out_h * op.out_w * op.out_c)
    # Both input buffers together hold all of the input, or a third of it where a product's row is no longer than a block may be.
    held = 6 if op.kind == PRODUCT and array.buffers[0] == 0 and op.out_w <= array.limits[1] else 2
    return cost / one(2) if op.in_h * op.in_w * op.in_c < held * area * block.channels else cost


@compiled
def depth_choices(out_c: int, frame: Frame) -> list[int]:
    """Channels that an output block may have; one that does not hold all of them holds a multiple of ``SPLIT_DEPTH``."""
    found = []
    depth = max(frame.step_c, min(frame.last_c, SPLIT_DEPTH))
    while depth <= frame.last_c:
        if depth < out_c:
            depth = up(depth, SPLIT_DEPTH)
        if depth <= frame.last_c:
            found.append(depth)
        depth += frame.step_c
    return found


@compiled
def choose_blocks(op: Operation, array: Array, innermost: int = 2, copies_values: bool = False) -> Blocks:
    """The cut that fetches least; on a U85, what sums over no channels is cut as ``area`` tells, but for plain copies.

    Of equals it is the first (shallow, low and narrow ones first), unless others of them are as small as 4x4: then the last of
    those that cover most of the input. Where nothing fits twice (U85), buffers are single.

    Args:
        innermost: which of rows, columns and channels is written innermost.
    """
    frame = frame_of(op, array)
    if array.buffers[0] > 0 and op.kind in (CHANNELWISE, POOLING, PAIRWISE) and op.spread == 1 and not copies_values:
        rows, columns, channels = block_of(op, array, frame.row, innermost)
        micro = frame.micro_h, frame.micro_w, frame.micro_c
        if op.kind == PAIRWISE:
            if op.nearest:
                unit_h = array.input_units[frame.row, unit_row(channels, op.in_bytes), 0]
                return Blocks(rows, columns, channels, up(rows, unit_h), columns, channels, *micro, False)
            return Blocks(rows, columns, channels, rows, columns, channels, *micro, False)
        return Blocks(rows, columns, channels, *read_size(op, array, frame.row, rows, columns, channels), *micro, False)
    depths = depth_choices(op.out_c, frame)
    costs = np.empty((len(depths), frame.last_h // frame.micro_h, frame.last_w // frame.micro_w), dtype=np.float32)
    flat = op.out_h == 1 and op.kernel_h == 1 and frame.micro_h == 2
    for copies in range(2, 0 if array.buffers[0] > 0 else 1, -1):
        costs[:] = np.inf
        for d, depth in enumerate(depths):
            for i in range(costs.shape[1]):
                for j in range(costs.shape[2]):
                    whole = OutputBlock((i + 1) * frame.micro_h, (j + 1) * frame.micro_w, depth)
                    block = input_block(op, array, frame, whole)
                    made = OutputBlock(1 if flat else whole.rows, whole.columns, depth)
                    if not fits(op, array, made, block, copies):
                        # Nor does any wider one.
                        break
                    costs[d, i, j] = fetch_cost(op, array, frame, made, block)
        if costs.min() < np.inf:
            return _pick(op, array, frame, depths, costs)
    micro = frame.micro_h, frame.micro_w, frame.micro_c
    return Blocks(*micro, frame.micro_h, frame.micro_w, frame.in_c, *micro, frame.part_kernel)


@compiled
def _pick(op: Operation, array: Array, frame: Frame, depths: list[int], costs: np.ndarray) -> Blocks:
    """The cut to take, by ``costs float32[depths, heights, widths]``."""
    least, found, covered = costs.min(), False, -1
    best = (0, 0, 0)
    for d in range(costs.shape[0]):
        for i in range(costs.shape[1]):
            for j in range(costs.shape[2]):
                if costs[d, i, j] != least:
                    continue
                high, wide = (i + 1) * frame.micro_h, (j + 1) * frame.micro_w
                if not found:
                    best, found = (d, i, j), True
                elif (high <= 4 and wide <= 4) or matches(op, array):
                    block = input_block(op, array, frame, OutputBlock(high, wide, depths[d]))
                    cover = min(op.in_h, block.rows) * min(op.in_w, block.columns)
                    if cover >= covered:
                        best, covered = (d, i, j), cover
    taken = OutputBlock((best[1] + 1) * frame.micro_h, (best[2] + 1) * frame.micro_w, depths[best[0]])
    read = input_block(op, array, frame, taken)
    micro = frame.micro_h, frame.micro_w, frame.micro_c
    return Blocks(taken.rows, taken.columns, taken.channels, read.rows, read.columns, read.channels, *micro, frame.part_kernel)
