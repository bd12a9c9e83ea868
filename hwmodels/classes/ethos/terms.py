"""Terms of the price of one operation on a documented array: the array, its weights, its feature maps, and all of them together.

The array and every memory work side by side, and so do the channels of a memory, each with a rate of its own. Weights pass once
for every block of the picture: from where they are stored, or from a copy on chip that is made once, while the layer before
runs. The first layer of a network has none before it and waits for its first channels. The faster way is taken.

Facts from Arm's compiler (ethos-u-vela 5.2.0, Apache-2.0); see ``blocks``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.classes.ethos.blocks import BRICK, PAIRWISE, SPLIT_DEPTH, Array, Blocks, Operation, up
from hwmodels.classes.ethos.cycles import CHANNEL_CONSTANT_BYTES, Port, fetches, operation_cycles, read_bytes, written_bytes
from hwmodels.compiled import compiled

COMPUTE, WEIGHTS, ACTIVATIONS, TOTAL = range(4)
ONCHIP, OUTSIDE, OWN = range(3)
"""Where weights are stored: with the feature maps on chip, in the external memory, or in a memory of their own."""
HIDDEN, WAITS, NEVER, COPIED = range(4)
"""Whether a copy of weights on chip may be made behind the layer before, with nothing to hide behind, or not at all; or is made
as a schedule says."""
NONE, SOME, ALL = range(3)
"""How many inputs of an operation are on chip."""


class Homes(NamedTuple):
    """The memories: on chip, where feature maps go that do not stay there, and where weights come from.

    ``spills``: feature maps live in external memory unless a schedule keeps them on chip. ``weights_at``: ``ONCHIP``, ``OUTSIDE``
    or ``OWN``. ``capacity`` is the on-chip bytes.
    """

    onchip: Port
    outside: Port
    weights: Port
    spills: bool
    weights_at: int
    capacity: float


class Placement(NamedTuple):
    """Where an operation finds what it reads and leaves what it makes.

    ``near``: how many of the inputs are on chip (``NONE``, ``SOME``, ``ALL``). ``kept``: whether the output is. ``copy``: what
    may be done about a copy of the weights on chip (``HIDDEN``, ``WAITS``, ``NEVER``, ``COPIED``). Of one that is made:
    ``first``, the share of its first slice, and ``ahead``, what of it is copied beside the layer before, which has ``slack``
    cycles for that; ``tail``, cycles of the last slice as they were estimated; ``channels``, whose biases and scales its slices
    fetch.
    """

    near: int
    kept: bool
    copy: int
    first: float = 1.0
    ahead: float = 0.0
    slack: float = 0.0
    tail: float = 0.0
    channels: int = 0


class Load(NamedTuple):
    """Bytes that one memory moves for an operation, by the channel of the array that asks for them."""

    inputs: float
    stream: float
    outputs: float
    weights: float
    constants: float
    copies: float


@compiled
def busy(port: Port, load: Load) -> float:
    """Cycles of a memory that moves all of a load at once."""
    together = load.inputs + load.stream + load.outputs + load.weights + load.constants + load.copies
    maps = max(load.inputs / port.input_rate, load.stream / port.stream_rate, load.outputs / port.output_rate)
    rest = max(load.weights / port.weight_rate, load.constants / port.constant_rate, load.copies / port.copy_rate)
    return max(together / port.bytes_per_cycle, maps, rest)


@compiled
def added(load: Load, weights: float, constants: float, copies: float, here: bool) -> Load:
    """A load of feature maps with that of weights, where they are in this memory."""
    if not here:
        return load
    return Load(load.inputs, load.stream, load.outputs, load.weights + weights, load.constants + constants, load.copies + copies)


@compiled
def copy_cycles(homes: Homes, size: float) -> float:
    """Cycles that a copy of ``size`` bytes from where weights are stored to the chip takes."""
    source, target = homes.weights, homes.onchip
    return max(size / source.copy_rate + source.read_latency, size / target.output_rate + target.write_latency)


@compiled
def constant_channels(channels: int, blocks: Blocks, array: Array) -> int:
    """Channels whose biases and scales are fetched for ``channels``: a U85 fetches those of whole micro-blocks, and bricks."""
    return up(channels, max(blocks.micro_c, BRICK)) if array.buffers[0] > 0 else channels


@compiled
def operation_terms(
    op: Operation,
    blocks: Blocks,
    array: Array,
    homes: Homes,
    place: Placement,
    weight_bytes: float,
    pace: float,
) -> tuple[float, float, float, float]:
    """Cycles of the array (without waiting), of weights and of feature maps, and of the whole operation.

    Args:
        weight_bytes: encoded weights, 0 for none.
        pace: cycles of the multipliers per documented cycle, 1 on real hardware.
    """
    share = place.near / ALL if homes.spills else 1.0
    stays = place.kept or not homes.spills
    source = homes.onchip if share == 1.0 else homes.outside
    target = homes.onchip if stays else homes.outside
    work, cycles = operation_cycles(op, blocks, array, source, target, homes.weights.read_latency, pace)
    read, written = read_bytes(op, blocks, source) * op.inputs, written_bytes(op, blocks, array, target)
    whole, stream = (0.0, read) if op.kind == PAIRWISE else (read, 0.0)
    inner = Load(whole * share, stream * share, written if stays else 0.0, 0.0, 0.0, 0.0)
    outer = Load(whole - inner.inputs, stream - inner.stream, written - inner.outputs, 0.0, 0.0, 0.0)
    nothing = Load(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    maps = max(busy(homes.onchip, inner), busy(homes.outside, outer))
    if weight_bytes == 0.0:
        return work, 0.0, maps, max(cycles, maps)
    passes = fetches(op, blocks)
    channels = place.channels if place.copy == COPIED else constant_channels(op.out_c, blocks, array)
    streamed, constants = weight_bytes * passes, float(CHANNEL_CONSTANT_BYTES * channels * passes)
    at = homes.weights_at
    if place.copy == COPIED:
        whole = weight_bytes + CHANNEL_CONSTANT_BYTES * op.out_c
        _, cycles = operation_cycles(op, blocks, array, source, target, homes.onchip.read_latency, pace)
        begin = max(copy_cycles(homes, whole * place.first) - place.slack, 0.0)
        late = weight_bytes * (1.0 - place.ahead)
        moved = max(
            busy(homes.onchip, added(inner, streamed, 0.0, 0.0, True)),
            busy(homes.outside, added(outer, 0.0, constants, late, at == OUTSIDE)),
            busy(homes.weights, added(nothing, 0.0, constants, late, at != OUTSIDE)),
        )
        weights = max(busy(homes.onchip, added(nothing, streamed, 0.0, 0.0, True)), late / homes.weights.copy_rate)
        total = max(cycles + begin, copy_cycles(homes, whole) - place.slack + place.tail)
        return work, weights, maps, max(total, moved)
    stored = max(
        busy(homes.onchip, added(inner, streamed, constants, 0.0, at == ONCHIP)),
        busy(homes.outside, added(outer, streamed, constants, 0.0, at == OUTSIDE)),
    )
    alone = busy(homes.weights, added(nothing, streamed, constants, 0.0, True))
    total = max(cycles, stored, alone)
    if at == ONCHIP or place.copy == NEVER:
        return work, alone, maps, total
    begin = 0.0
    if place.copy == WAITS:
        part = min(1.0, SPLIT_DEPTH / op.out_c)
        begin = (weight_bytes + CHANNEL_CONSTANT_BYTES * op.out_c) * part / homes.weights.copy_rate + homes.weights.read_latency
    copied = max(
        busy(homes.onchip, added(inner, streamed, 0.0, 0.0, True)),
        busy(homes.outside, added(outer, 0.0, constants, weight_bytes, at == OUTSIDE)),
    )
    made = busy(homes.weights, added(nothing, 0.0, constants, weight_bytes, True))
    near_alone = busy(homes.onchip, added(nothing, streamed, 0.0, 0.0, True))
    return work, min(alone, max(near_alone, made)), maps, min(total, max(cycles + begin, copied, made))


@compiled
def layer_terms(
    op: Operation,
    blocks: Blocks,
    array: Array,
    homes: Homes,
    place: Placement,
    weight_bytes: np.ndarray,
    pace: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add an operation's terms to ``out float64[nW, 4]``, by weights and term.

    What is on chip could be outside too, so being on chip never costs more.
    """
    for w in range(pace.shape[0]):
        least = np.full(4, np.inf)
        for inputs in range(place.near + 1):
            if inputs == SOME and op.inputs == 1:
                continue
            for output in range(2 if place.kept else 1):
                tried = Placement(
                    inputs, output > 0, place.copy, place.first, place.ahead, place.slack, place.tail, place.channels
                )
                found = operation_terms(op, blocks, array, homes, tried, weight_bytes[w], pace[w])
                for term in range(4):
                    least[term] = min(least[term], found[term])
        out[w] += least
