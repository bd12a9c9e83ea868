"""Bytes of the encoded weight stream of a documented array (Arm Ethos-U).

The array reads weights in the order in which it multiplies: output channels of a micro-block, input channels and kernel taps of
a step, pieces of 8x8 taps. Where a layer does not fill them, the stream carries zeros. Each core and each decoder has a stream of
its own with every n-th output channel. A codec without loss then writes a weight as a symbol of its own, or writes the nonzero
weights with the length of the run of zeros behind each; a length has ``d`` plain bits (at most three) and the rest in unary.

Facts: the order of the U55 and U65 from Arm's compiler (ethos-u-vela 5.2.0, Apache-2.0: weight compression), in own words; the
steps of the U85, the cost of a stream and that of zeros from the sizes that it encodes, on which
tests/reference/hwmodels/test_vela.py measures the agreement. Weights are taken to be normally distributed, with the largest of
an output channel at the top code.

Feature maps of 16 bits take fewer taps at a time, and so fewer zeros. A wider format is not credited for that: its weights take
at least as many bytes as those beside 8 bits.

Left out: slices of the stream that are encoded apart, depthwise layers of the large U85 that take up to a third more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hwmodels.classes.ethos.array import array_of, described
from hwmodels.classes.ethos.blocks import CHANNELWISE, PIECE, Array, Operation, half_empty, prefers_part_kernel, up
from hwmodels.classes.ethos.operations import operations
from hwmodels.classes.ethos.search import choose_blocks
from hwmodels.classes.ethos.storage import beside, bricks
from hwmodels.device.device import Device
from hwmodels.workload import Workload

STREAM_BYTES = 24
"""Headers of a stream, and its rounding up to 16 bytes."""
LARGEST = 3.2
"""The largest of a few hundred normally distributed weights, in standard deviations."""
PLAIN_BITS = range(4)
DEEP = 32
"""Micro-blocks at least this deep, which the largest U85 have, read one more of them, all zeros, when they go depth first."""


def encoded_bytes(device: Device, workload: Workload, weight_bits: Sequence[int], in_bytes: int) -> np.ndarray:
    """``int64[L, nW]``: bytes of the encoded weights of every layer, without biases and scales, for inputs of ``in_bytes``."""
    array = array_of(described(device)[0])
    brick = bricks(workload, array.buffers[0] > 0)
    per_weight = [device.packing.stored_bits_per_weight[str(bits)].value for bits in weight_bits]  # type: ignore[index]  # keys are Literals to mypy
    found = np.zeros((len(workload.layers), len(weight_bits)), dtype=np.int64)
    for size in range(1, in_bytes + 1):
        for row in workload.weighing:
            if beside(workload.layers[row]):
                # The processor beside the array reads them as the file has them, a byte each.
                found[row] = workload.layers[row].weight_count
                continue
            each = operations(workload, row, array, brick, size, size)
            streams = [stream for part in each if part.share for stream in streams_of(part.operation, array)]
            for w, (width, bits) in enumerate(zip(weight_bits, per_weight, strict=True)):
                encoded = sum(stream_bits(weights, zeros, width, bits) for weights, zeros in streams)
                found[row, w] = max(found[row, w], math.ceil(encoded / 8 + STREAM_BYTES * len(streams)))
    return found


def streams_of(op: Operation, array: Array) -> list[tuple[int, int]]:
    """Weights and filled-in zeros of each stream of an operation."""
    separate, wide, channelwise = array.buffers[0] > 0, op.in_bytes > 1, op.kind == CHANNELWISE
    if separate:
        blocks = choose_blocks(op, array)
        part, depth = blocks.part_kernel, blocks.micro_c
    else:
        part, depth = prefers_part_kernel(op, separate), int(array.microblocks[0, 2])
    if channelwise:
        taps, inputs = 4, 1
    elif separate:
        taps, inputs = ((10 if wide or half_empty(op) else 5), 16) if part else (1, 64)
    else:
        taps, inputs = ((2 if wide else 4), 8) if part else (1, 16 if wide else 32)
    channels = 1 if channelwise else op.in_c
    step = up(channels, inputs) * sum(up(h * w, taps) for h in _pieces(op.kernel_h) for w in _pieces(op.kernel_w))
    more = depth if separate and depth >= DEEP and not part and not channelwise else 0
    count = array.decoders if separate else array.cores
    found = []
    for stream in range(count):
        outputs = len(range(stream, op.out_c, count))
        # The decoders of the U85 share a micro-block; each core has its own.
        filled = (up(op.out_c, depth) + more) // count if separate else up(outputs, depth)
        weights = outputs * channels * op.kernel_h * op.kernel_w
        if filled:
            found.append((weights, filled * step - weights))
    return found


def _pieces(kernel: int) -> list[int]:
    return [PIECE] * (kernel // PIECE) + ([kernel % PIECE] if kernel % PIECE else [])


def stream_bits(weights: int, zeros: int, width: int, bits: float) -> float:
    """Bits of a stream of ``weights`` of ``width`` bits among ``zeros`` filled in.

    Args:
        bits: what a weight takes in a stream without any.
    """
    if weights == 0:
        return float(zeros)
    own = math.erf(LARGEST / (2 * (2 ** (width - 1) - 1)) / math.sqrt(2))
    return weights * (bits + _zero_bits(own, zeros / weights, width) - _zero_bits(own, 0.0, width))


def _zero_bits(own: float, more: float, width: int) -> float:
    """Bits a weight of telling where zeros are, of which ``own`` are weights and ``more`` filled in, all per weight."""
    runs = min((1 - own) * (1 + plain) + (own + more) / 2**plain for plain in PLAIN_BITS)
    return float(min((own + more) * (width + 1), runs))
