"""Cycles and transfers of one operation on a documented array (see ``blocks`` for how it is cut).

A step of four cycles multiplies a micro-block by 32 input channels of one tap or by 8 channels of 4 taps; with 16-bit inputs by
half as many. Everything is rounded up. Multiplying one block overlaps scaling and writing the one before, and a quarter of all
that happens in a block is the least that issuing it takes. Each block fetches its own inputs, halo included, in bursts: a run
of contiguous bytes shorter than a burst of the memory wastes the rest of it.

Facts and formulas are those of Arm's compiler (ethos-u-vela 5.2.0, Apache-2.0: performance estimation), written anew, without
its rounding of transfers to whole cycles; see ``blocks``.
"""

from __future__ import annotations

from typing import NamedTuple

from hwmodels.classes.ethos.blocks import (
    BRICK,
    CHANNELWISE,
    CONVOLUTION,
    PAIRWISE,
    PIECE,
    POOLING,
    PRODUCT,
    TURN,
    Array,
    Blocks,
    Operation,
    half_empty,
    parts,
    up,
)
from hwmodels.compiled import compiled

STEP_CYCLES = 4
CHANNEL_CONSTANT_BYTES = 10
"""Bias, scale and shift of one output channel."""
CONSTANT_BUFFER_BYTES = 256
"""Of these constants, what may be under way at a time."""


class Port(NamedTuple):
    """One memory as the array sees it, in bytes and cycles of the array's clock.

    ``burst`` bytes per transaction. ``input_rate``, ``stream_rate`` (element by element), ``output_rate``, ``weight_rate``,
    ``constant_rate`` (biases and scales) and ``copy_rate`` are what one channel of the array reaches on it, at most
    ``bytes_per_cycle``.
    """

    bytes_per_cycle: float
    burst: int
    read_latency: float
    write_latency: float
    input_rate: float
    stream_rate: float
    output_rate: float
    weight_rate: float
    constant_rate: float
    copy_rate: float


@compiled
def multiply_cycles(op: Operation, blocks: Blocks, array: Array) -> float:
    """Cycles of the multipliers for one output block."""
    separate = array.buffers[0] > 0
    wide = op.in_bytes > 1
    micro_h, micro_w = blocks.micro_h, blocks.micro_w
    high, across = min(op.out_h, blocks.out_h), min(op.out_w, blocks.out_w)
    one_row = op.out_h == 1 and op.out_w % 2 == 0 and op.kernel_h == 1
    if one_row and not separate and micro_h == 2 and op.kind == CONVOLUTION:
        micro_h, micro_w, high = 1, 4, 1
    area = parts(high, micro_h) * parts(across, micro_w)
    deep = parts(min(op.out_c, blocks.out_c), blocks.micro_c)
    depth = min(op.in_c, blocks.in_c)
    # The weight decoder keeps up with 8 weights of each output channel in 32 cycles.
    decode = 32 * blocks.micro_c // (8 * (array.decoders if separate else 1))
    wide_accumulator = wide and op.kind != POOLING
    slowest = array.macs == 32 and not separate
    wait = (7 if wide_accumulator else 3) if slowest else (3 if wide_accumulator and array.macs <= 128 else 2)
    total = 0.0
    for top in range(0, op.kernel_h, PIECE):
        for left in range(0, op.kernel_w, PIECE):
            taps = min(op.kernel_h - top, PIECE) * min(op.kernel_w - left, PIECE)
            again = 1
            if op.kind == POOLING:
                steps = 1
                cycles = max(STEP_CYCLES, taps) * area * deep * (1 if slowest else 4 * op.in_bytes)
            elif op.kind == CHANNELWISE:
                steps = parts(taps, 4)
                cycles = max(decode, STEP_CYCLES * area * op.in_bytes) * steps * deep
            elif blocks.part_kernel:
                steps = parts(taps, 2 if wide else 4)
                again = parts(depth, 8)
                cycles = max(decode, STEP_CYCLES * area) * steps * deep * again
            else:
                steps = taps
                if separate:
                    cycles = max(decode, max(depth // 8, 1) * area) * steps * deep * op.in_bytes
                else:
                    cycles = max(decode, STEP_CYCLES * area) * steps * deep
            if area == 1:
                cycles += again * wait * (steps if deep == 1 else (steps - 1) * deep)
            if slowest and wide_accumulator and deep > 1 and (parts(high, micro_h) == 1 or parts(across, micro_w) == 1):
                cycles += again * wait * deep
            total += cycles
    if op.kind in (CONVOLUTION, PRODUCT):
        total *= parts(op.in_c, depth)
    if separate and half_empty(op):
        total /= 2
    return total / array.cores


@compiled
def bursts(port: Port, run: int, size: float) -> float:
    """Bytes that a memory moves for ``size`` bytes in contiguous runs of ``run`` bytes."""
    return size * port.burst / min(port.burst, max(run, 1))


@compiled
def read_run(op: Operation, blocks: Blocks) -> int:
    """Contiguous bytes of an input block."""
    if op.in_brick:
        return BRICK * op.in_bytes * blocks.in_w
    if op.in_c * op.in_bytes == blocks.in_c:
        return op.in_bytes * blocks.in_c * blocks.in_w
    return op.in_bytes * blocks.in_c


@compiled
def write_run(op: Operation, blocks: Blocks, cores: int, element_bytes: int, channels: int) -> int:
    """Contiguous bytes of an output block in a tensor of so many ``channels``."""
    if op.out_brick:
        return BRICK * element_bytes * blocks.out_w * cores
    if blocks.out_c <= BRICK and channels * element_bytes == blocks.out_c:
        return element_bytes * blocks.out_c * blocks.out_w
    return min(64, BRICK * element_bytes * cores, blocks.out_c * element_bytes)


@compiled
def block_transfer(op: Operation, blocks: Blocks, array: Array, source: Port, target: Port) -> tuple[float, float]:
    """Cycles until the inputs of one block are there, and until its outputs are gone."""
    size = min(op.in_h, blocks.in_h) * min(op.in_w, blocks.in_w) * min(op.in_c, blocks.in_c) * op.in_bytes
    element_bytes = op.word_bytes if op.word_bytes else op.out_bytes
    out = min(op.out_h, blocks.out_h) * min(op.out_w, blocks.out_w) * min(op.out_c, blocks.out_c) * element_bytes
    read = source.read_latency + bursts(source, read_run(op, blocks), size) / source.bytes_per_cycle
    write = (
        target.write_latency
        + bursts(target, write_run(op, blocks, array.cores, element_bytes, op.out_c), out) / target.bytes_per_cycle
    )
    return read, write


@compiled
def imbalance(read: float, write: float, source: Port, target: Port) -> float:
    """Cycles that fetching a block and writing one do not hide from each other, as if bandwidth could be wasted: a faster memory
    never makes it longer."""
    if source.bytes_per_cycle == target.bytes_per_cycle and source.read_latency == target.read_latency:
        return max(abs(write - read), abs(target.write_latency - source.read_latency))
    return max(write - source.read_latency, read - target.write_latency)


@compiled
def paced(
    op: Operation, blocks: Blocks, array: Array, source: Port, target: Port, constants_latency: float, pace: float
) -> tuple[float, float, float, float, float, float]:
    """Of an operation that goes block by block: cycles of multipliers and output unit for a block, issuing it included, how many
    blocks there are, cycles until the first is read and the last is written, and cycles of work alone."""
    read, write = block_transfer(op, blocks, array, source, target)
    block_h, block_w, block_c = min(op.out_h, blocks.out_h), min(op.out_w, blocks.out_w), min(op.out_c, blocks.out_c)
    multiply = multiply_cycles(op, blocks, array) * pace
    output = op.finish * block_h * block_w * block_c
    if op.kind != POOLING and (array.buffers[0] > 0 or op.kind != PRODUCT):
        output = max(output, CHANNEL_CONSTANT_BYTES * block_c * constants_latency / CONSTANT_BUFFER_BYTES)
    pieces = parts(block_h, blocks.micro_h) * parts(block_w, blocks.micro_w) * parts(block_c, blocks.micro_c)
    count = parts(op.out_h, blocks.micro_h) * parts(op.out_w, blocks.micro_w) * parts(op.out_c, blocks.micro_c) / pieces
    idle = imbalance(read, write, source, target) if count > 1 else 0.0
    issue = (idle + multiply + output) / 4
    work = max(multiply, output) * count + min(multiply, output)
    return max(multiply, issue), max(output, issue), count, read, write, work


@compiled
def slice_cycles(
    op: Operation,
    blocks: Blocks,
    array: Array,
    source: Port,
    target: Port,
    constants_latency: float,
    opens: bool,
    closes: bool,
) -> float:
    """Cycles of a slice of the output channels of an operation, of which it is the first (``opens``) or the last (``closes``)."""
    multiply, output, count, read, write, _ = paced(op, blocks, array, source, target, constants_latency, 1.0)
    total = multiply * count if multiply > output else output * count + multiply
    if closes:
        total += write + (output if multiply > output else 0.0)
    return total + (read if opens else 0.0)


@compiled
def operation_cycles(
    op: Operation, blocks: Blocks, array: Array, source: Port, target: Port, constants_latency: float, pace: float
) -> tuple[float, float]:
    """Cycles of array and output unit for the whole operation: their work alone, and with waiting for blocks and issuing them.

    Args:
        source, target: memories of the inputs and of the output.
        constants_latency: cycles until the memory of the weights answers.
        pace: cycles of the multipliers per documented cycle, 1 on real hardware.
    """
    separate = array.buffers[0] > 0
    read, write = block_transfer(op, blocks, array, source, target)
    if op.kind == PAIRWISE:
        elements = op.out_h * op.out_w * (up(op.out_c, BRICK) if op.out_brick else op.out_c)
        transfer = max(read, write) if separate else read + write
        issue = (transfer / (blocks.out_h * blocks.out_w * blocks.out_c) + op.finish) / 4
        return op.finish * elements, max(op.finish, issue) * elements
    if op.kind == TURN:
        # The elders copy pixel by pixel.
        moved = max(
            source.read_latency + read_bytes(op, blocks, source) / source.bytes_per_cycle,
            target.write_latency + written_bytes(op, blocks, array, target) / target.bytes_per_cycle,
        )
        return moved, moved
    multiply, output, count, read, write, work = paced(op, blocks, array, source, target, constants_latency, pace)
    return work, max(multiply, output) * count + min(multiply, output) + read + write


@compiled
def fetches(op: Operation, blocks: Blocks) -> int:
    """How many times the weights pass: once per block of the picture."""
    return parts(op.out_h, min(op.out_h, blocks.out_h)) * parts(op.out_w, min(op.out_w, blocks.out_w))


@compiled
def read_bytes(op: Operation, blocks: Blocks, source: Port) -> float:
    """Bytes that the memory of one input moves for the whole operation, bursts and re-reads included."""
    channels = up(op.in_c, BRICK) if op.in_brick else op.in_c
    if op.kind == PAIRWISE:
        pixels = op.in_h * op.in_w if op.nearest else op.out_h * op.out_w
        elements = float(pixels * (up(op.out_c, BRICK) if op.in_brick else op.out_c))
    elif op.kind == TURN:
        elements = float(op.in_h * op.in_w * op.in_c)
    else:
        count = fetches(op, blocks)
        if op.kind not in (CHANNELWISE, POOLING):
            count *= parts(op.out_c, min(op.out_c, blocks.out_c))
        pieces = parts(op.kernel_h, PIECE) * parts(op.kernel_w, PIECE)
        elements = float(min(op.in_h, blocks.in_h) * min(op.in_w, blocks.in_w) * channels) * count * pieces
    return elements if op.word_bytes else bursts(source, read_run(op, blocks), elements * op.in_bytes)


@compiled
def written_bytes(op: Operation, blocks: Blocks, array: Array, target: Port) -> float:
    """Bytes that the memory of the output moves for the whole operation."""
    channels = max(op.out_c, op.written_c)
    elements = float(op.out_h * op.out_w * (up(channels, BRICK) if op.out_brick else channels))
    run = write_run(op, blocks, array.cores, op.out_bytes, channels)
    return elements if op.word_bytes else bursts(target, run, elements * op.out_bytes)
