"""The multiply-accumulate array of a documented neural processor (Arm Ethos-U55, U65, U85), and how an operation is cut for it.

An operation is cut into output blocks that fit the array's buffers, and a block into micro-blocks, the output elements that the
multipliers make side by side. A step multiplies one micro-block either by many input channels of one kernel tap (depth first) or
by few channels of several taps (part kernel). Kernels are taken in pieces of 8x8 taps. ``search`` finds the cut that
fetches least; ``cycles`` tells how long it takes.

Facts and formulas are those of Arm's compiler (ethos-u-vela 5.2.0, Apache-2.0: architecture tables, block search, performance
estimation), written anew; agreement with its estimates is measured in tests/reference/hwmodels/test_vela.py. They are estimates
by the maker, not silicon.

Left out: 2:4 sparsity and resizing on the U85, dilated kernels.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from hwmodels.compiled import compiled
from hwmodels.device.sections.array import BANK_BYTES

CONVOLUTION, CHANNELWISE, POOLING, PRODUCT, PAIRWISE, TURN, COPY = range(7)
"""What an operation asks of the array: convolution, depthwise, pooling, matrix product, element by element, axes in another
order, values as they are. The last two are timed as poolings of one pixel (turns on a U85 only) and cut in ways of their own."""

PIECE = 8
"""Kernels are processed in pieces of 8x8 taps."""
BRICK = 16
"""Feature maps between operations are stored in bricks of 16 channels."""
SPLIT_DEPTH = 16
"""Blocks that do not hold all output channels hold a multiple of 16."""
OUTPUT_BANKS = 2


class Array(NamedTuple):
    """Constants of one array.

    Attributes:
        buffers: ``int64[3]``, bytes of separate input, accumulator and output memories (U85), zeros where they share ``banks``
            (U55, U65).
        cores: arrays that share the output channels of a block.
        decoders: weight decoders of the U85 (1 elsewhere).
        microblocks: ``int64[n, 3]``, heights, widths, channels on offer.
        input_units: ``int64[n, 3, 3]``, by micro-block and bytes per pixel (up to 16, up to 32, more): granularity of an input
            block, in rows, columns and bytes of channels.
        banks: kilobytes of shared memory; ``input_granule`` and ``accumulator_granule`` (``int64[2]`` by accumulator, 32 and
            40 bits) round what each takes; ``table_banks`` hold look-up tables.
        limits: ``int64[3]``, largest block.
        macs: multipliers of one core.
        convolve, add, multiply, other: ``float64[2]``, cycles per output element by input width (8, 16).
        clamp, lookup: the same of a fused activation.
    """

    buffers: np.ndarray
    cores: int
    decoders: int
    microblocks: np.ndarray
    input_units: np.ndarray
    banks: int
    table_banks: int
    input_granule: int
    accumulator_granule: np.ndarray
    limits: np.ndarray
    macs: int
    convolve: np.ndarray
    add: np.ndarray
    multiply: np.ndarray
    other: np.ndarray
    clamp: float
    lookup: float


class Operation(NamedTuple):
    """One operation: sizes of the first input and of the output, kernel, bytes per element, what is fused.

    ``spread`` 2 reads the input with a zero after every row and column (transposed convolution), ``nearest`` 1 repeats them.
    ``inputs`` counts feature maps. ``in_brick`` and ``out_brick`` tell the storage format. ``word_bytes``: of an output element
    as blocks hand it on, where the compiler counts traffic by elements alone (else 0: by bytes in bursts). ``written_c``:
    channels that it counts as written where these are more than the output's (else 0).
    """

    kind: int
    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    kernel_h: int
    kernel_w: int
    stride: int
    spread: int
    nearest: int
    in_bytes: int
    out_bytes: int
    inputs: int
    finish: float
    in_brick: bool
    out_brick: bool
    word_bytes: int = 0
    written_c: int = 0


Between = Literal["", "exponentials", "summed", "near", "outside"]
"""What lies between the operations of one layer: nothing; what a softmax makes of its input, and sums; what stays on chip; what
does not."""


class Part(NamedTuple):
    """One operation of a layer, ``times`` over, each with its ``share`` of the layer's weights.

    ``constant_bytes`` of an operand come from where the weights are. ``reads``, ``writes``: where it is not the layer's own input
    or output.
    """

    operation: Operation
    share: float = 0.0
    times: int = 1
    constant_bytes: float = 0.0
    reads: Between = ""
    writes: Between = ""


class Blocks(NamedTuple):
    """The chosen cut of an operation: output block, input block, micro-block, and the order of the multiplications."""

    out_h: int
    out_w: int
    out_c: int
    in_h: int
    in_w: int
    in_c: int
    micro_h: int
    micro_w: int
    micro_c: int
    part_kernel: bool


class OutputBlock(NamedTuple):
    """Rows, columns and channels that are made at a time."""

    rows: int
    columns: int
    channels: int


class InputBlock(NamedTuple):
    """Rows, columns and channels that are read for an output block, and the channels that this takes in the buffer."""

    rows: int
    columns: int
    channels: int
    held: int


@compiled(inline="always")
def up(value: int, granule: int) -> int:
    """``value`` rounded up to a multiple of ``granule``."""
    return -(-value // granule) * granule


@compiled(inline="always")
def parts(value: int, size: int) -> int:
    """How many pieces of ``size`` cover ``value``."""
    return -(-value // size)


@compiled
def reach(out: int, stride: int, kernel: int, spread: int, nearest: int) -> int:
    """Rows of input that ``out`` rows of output read."""
    return parts((out - 1) * stride + kernel + nearest, spread)


@compiled(inline="always")
def half_empty(op: Operation) -> bool:
    """Whether at most two of any four input channels have weights, which the U85 multiplies at twice the rate."""
    return op.kind == CONVOLUTION and op.in_c <= 2


@compiled
def prefers_part_kernel(op: Operation, separate: bool) -> bool:
    """Whether taking several taps at a time keeps more multipliers busy than taking more channels of one tap."""
    if op.kind != CONVOLUTION:
        return False
    taps = op.kernel_h * op.kernel_w
    if separate:
        # The U85 works on five taps of 16 channels or one tap of 64, and a rest of one tap costs two; twice that when sparse.
        sparse = 2 if half_empty(op) else 1
        padded = taps // (5 * sparse) * 5 * sparse + max(taps % (5 * sparse), 2 * sparse)
        return op.in_c / up(op.in_c, 16) * taps / padded >= op.in_c / up(op.in_c, 64 * sparse)
    if op.in_c <= 8:
        return True
    wide = op.in_bytes > 1
    part = op.in_c * taps / (up(op.in_c, 8) * up(taps, 2 if wide else 4))
    return part >= op.in_c / up(op.in_c, 16 if wide else 32)


@compiled
def least_waste(op: Operation, array: Array, part_kernel: bool) -> int:
    """Row of the micro-block whose multiples cover the output with the fewest elements too many."""
    best, least = 0, -1
    for i in range(array.microblocks.shape[0]):
        high, wide, deep = array.microblocks[i]
        if not allowed(op, array, i, part_kernel):
            continue
        waste = up(op.out_h, high) * up(op.out_w, wide) * up(op.out_c, deep) - op.out_h * op.out_w * op.out_c
        if least < 0 or waste < least:
            best, least = i, waste
    return best


@compiled
def allowed(op: Operation, array: Array, i: int, part_kernel: bool) -> bool:
    """Whether the array runs this kind of operation with micro-block ``i``: the small U85 keep the deepest one for depthwise and
    pooling of 8 bits and for 1x1 convolutions of 16, the large ones keep the shallowest for depthwise and pooling."""
    if array.buffers[0] == 0 or op.kind == PAIRWISE:
        return True
    deep = array.microblocks[i, 2]
    deepest = array.microblocks[:, 2].max()
    if array.macs <= 256:
        narrow = op.in_bytes == 1
        if deep == deepest:
            if op.kind in (CHANNELWISE, POOLING):
                return narrow
            return not narrow and op.kernel_h * op.kernel_w == 1 and not part_kernel
        return not (narrow and op.kind in (CHANNELWISE, POOLING))
    if array.macs >= 1024 and op.kind in (CHANNELWISE, POOLING):
        return bool(deep == array.microblocks[:, 2].min())
    return True


@compiled(inline="always")
def unit_row(depth: int, in_bytes: int) -> int:
    """Which granularity an input block of ``depth`` channels has: up to 16, 32, or more bytes a pixel."""
    size = depth * in_bytes
    return 0 if size <= 16 else 1 if size <= 32 else 2


@compiled
def fits(op: Operation, array: Array, out: OutputBlock, block: InputBlock, copies: int) -> bool:
    """Whether an output block and the input block that feeds it fit into the buffers, ``copies`` of each (the older arrays hold
    two at all times)."""
    wide = op.in_bytes > 1 and op.kind != POOLING
    read, made = block.rows * block.columns, out.rows * out.columns
    if array.buffers[0] > 0:
        if op.kind == PAIRWISE:
            return bool(made * out.channels * op.in_bytes <= array.buffers[1])
        accumulator = 8 if wide else 4
        return bool(
            read * block.held * op.in_bytes * copies <= array.buffers[0]
            and made * up(out.channels, BRICK) * accumulator * copies <= array.buffers[1]
        )
    taken = up(2 * parts(read * up(block.held * op.in_bytes, 8), BANK_BYTES), array.input_granule)
    free = array.banks - array.table_banks - OUTPUT_BANKS
    if op.kind == PAIRWISE:
        return taken * op.inputs <= free
    accumulators = made * up(out.channels, 8) * (5 if wide else 4)
    return taken + up(2 * parts(accumulators, BANK_BYTES), array.accumulator_granule[1 if wide else 0]) <= free
