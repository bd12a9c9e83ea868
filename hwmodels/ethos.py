"""Price of layers on a documented array (Arm Ethos-U): arithmetic, bursts, encoded weights, and what stays on the chip.

Every operation (``ethos_operations``) is cut into blocks (``ethos_blocks``), timed (``ethos_cycles``), and the network is
scheduled (``ethos_schedule``) at each width of its feature maps. A layer takes as long as the slowest of the array and each
memory. Weights are read again for every block of the picture, from where they are stored, or from a copy on chip whose first part
must arrive before the first layer begins and hides behind the layer before everywhere else; the faster of the two is taken.
Sub-8-bit weights shrink the encoded stream and save no cycles. What the array leaves to the processor beside it is priced by its
bytes alone.

Agreement with the estimates of Arm's compiler, which are not silicon, is measured in tests/reference/test_vela.py.
"""

from __future__ import annotations

import numba
import numpy as np

from hwmodels import ethos_schedule
from hwmodels.columns import Choices, Terms
from hwmodels.device import Device
from hwmodels.ethos_blocks import (
    PAIRWISE,
    SPLIT_DEPTH,
    Array,
    Blocks,
    Operation,
    choose_blocks,
    reach,
)
from hwmodels.ethos_cycles import (
    CHANNEL_CONSTANT_BYTES,
    Port,
    fetches,
    operation_cycles,
    read_bytes,
    written_bytes,
)
from hwmodels.ethos_device import Homes, array_of, homes_of
from hwmodels.ethos_operations import BESIDE, bricks, chained, operations
from hwmodels.ethos_schedule import Schedule
from hwmodels.workload import Workload

COMPUTE, WEIGHTS, ACTIVATIONS, TOTAL = range(4)
PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))


@numba.njit(cache=True, nogil=True)
def busy(port: Port, reads: float, stream: float, writes: float, weights: float, copies: float) -> float:
    """Cycles of a memory that moves these bytes at once, each over its channel."""
    total = (reads + stream + writes + weights + copies) / port.bytes_per_cycle
    channels = max(reads / port.input_rate, stream / port.stream_rate, writes / port.output_rate)
    return max(total, channels, weights / port.weight_rate, copies / port.copy_rate)


@numba.njit(cache=True, nogil=True)
def operation_terms(
    op: Operation,
    blocks: Blocks,
    array: Array,
    homes: Homes,
    inside: bool,
    outside: bool,
    weight_bytes: float,
    is_first: bool,
    pace: float,
) -> tuple[float, float, float, float]:
    """Cycles of array (without waiting), weights and feature maps, and of the whole operation.

    Args:
        inside, outside: whether the input, and the output, are in on-chip memory (always, on a device without external one).
        weight_bytes: encoded weights, 0 for none.
        is_first: no layer runs before, behind which a copy of weights could hide.
    """
    source = homes.onchip if inside or not homes.spills else homes.outside
    target = homes.onchip if outside or not homes.spills else homes.outside
    same = inside == outside or not homes.spills
    work, cycles = operation_cycles(op, blocks, array, source, target, homes.weights.read_latency, pace)
    moved, written = read_bytes(op, blocks, source) * op.inputs, written_bytes(op, blocks, array, target)
    reads, stream = (0.0, moved) if op.kind == PAIRWISE else (moved, 0.0)
    onchip_reads, onchip_stream = (reads, stream) if inside or not homes.spills else (0.0, 0.0)
    onchip_writes = written if outside or not homes.spills else 0.0
    away_reads, away_stream, away_writes = reads - onchip_reads, stream - onchip_stream, written - onchip_writes
    maps = (
        busy(source, reads, stream, written, 0.0, 0.0)
        if same
        else max(busy(source, reads, stream, 0.0, 0.0, 0.0), busy(target, 0.0, 0.0, written, 0.0, 0.0))
    )
    if weight_bytes == 0.0:
        return work, 0.0, maps, max(cycles, maps)
    passes = fetches(op, blocks)
    constants = float(CHANNEL_CONSTANT_BYTES * op.out_c * passes)
    streamed = weight_bytes * passes + constants
    # From where they are stored.
    inner = busy(homes.onchip, onchip_reads, onchip_stream, onchip_writes, streamed if homes.weights_at == 0 else 0.0, 0.0)
    outer = busy(homes.outside, away_reads, away_stream, away_writes, streamed if homes.weights_at == 1 else 0.0, 0.0)
    own = busy(homes.weights, 0.0, 0.0, 0.0, streamed, 0.0)
    weights, total = own, max(cycles, inner, outer, own)
    if homes.weights_at == 0:
        return work, weights, maps, total
    # From a copy on chip.
    begin = 0.0
    if is_first:
        share = min(1.0, SPLIT_DEPTH / op.out_c)
        begin = (weight_bytes + CHANNEL_CONSTANT_BYTES * op.out_c) * share / homes.weights.copy_rate + homes.weights.read_latency
    inner = busy(homes.onchip, onchip_reads, onchip_stream, onchip_writes, weight_bytes * passes, 0.0)
    outer = busy(
        homes.outside,
        away_reads,
        away_stream,
        away_writes,
        constants if homes.weights_at == 1 else 0.0,
        weight_bytes if homes.weights_at == 1 else 0.0,
    )
    own = busy(homes.weights, 0.0, 0.0, 0.0, constants, weight_bytes)
    copied = max(busy(homes.onchip, 0.0, 0.0, 0.0, weight_bytes * passes, 0.0), own)
    return work, min(weights, copied), maps, min(total, max(cycles + begin, inner, outer, own))


@numba.njit(cache=True, nogil=True)
def layer_terms(
    op: Operation,
    blocks: Blocks,
    array: Array,
    homes: Homes,
    weight_bytes: np.ndarray,
    is_first: bool,
    pace: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add an operation's terms to ``out float64[2, 2, nW, 4]``, by input and output on chip or not, weights, and term.

    What fits on chip may be left outside, so being on chip never costs more.
    """
    for w in range(pace.shape[0]):
        for inside in range(2):
            for outside in range(2):
                found = operation_terms(op, blocks, array, homes, inside > 0, outside > 0, weight_bytes[w], is_first, pace[w])
                least = np.array(found)
                for i in range(inside + 1):
                    for o in range(outside + 1):
                        if i < inside or o < outside:
                            other = operation_terms(op, blocks, array, homes, i > 0, o > 0, weight_bytes[w], is_first, pace[w])
                            for term in range(4):
                                least[term] = min(least[term], other[term])
                out[inside, outside, w] += least


class _Pricing:
    """The terms of every layer of a workload at one width of its inputs and one of its outputs, and the schedules."""

    def __init__(self, device: Device, workload: Workload, choices: Choices) -> None:
        assert device.npu is not None
        assert device.npu.array is not None
        assert device.npu.clock_hz is not None
        self.workload, self.choices = workload, choices
        self.array, self.homes = array_of(device.npu.array), homes_of(device)
        self.clock = device.npu.clock_hz.value
        self.brick = bricks(workload)
        self.blocks: dict[Operation, Blocks] = {}
        self.terms: dict[tuple[object, ...], np.ndarray] = {}
        peak = self.array.macs * self.array.cores * self.clock
        # Half of the multipliers' products fit 16-bit inputs.
        self.pace = choices.s_per_mac * peak / np.where(choices.wide > 0, 2.0, 1.0)

    def layer(self, row: int, a: int, b: int, rows: int) -> np.ndarray:
        """``float64[2, 2, nW, 4]`` cycles of layer ``row`` with widths ``a`` in and ``b`` out, ``rows`` at a time (0: all)."""
        read, written = (int(self.choices.tensor_bytes[i]) for i in (a, b))
        found = operations(self.workload, row, self.array, self.brick, read, written)
        follows = chained(self.workload, row, self.array, self.brick)
        weight_bytes, pace = self.choices.weight_bytes[row, :, a], np.ascontiguousarray(self.pace[:, a])
        is_first = row == 0
        what = tuple(found) if found else (row, read, written)
        key = (what, weight_bytes.tobytes(), pace.tobytes(), is_first, rows, follows)
        if key in self.terms:
            return self.terms[key]
        out = np.zeros((2, 2, len(pace), 4))
        for op, share in found:
            # Blocks do not depend on where and how wide the output is.
            cut = op._replace(out_bytes=1, finish=0.0)
            if 0 < rows < op.out_h:
                cut = cut._replace(out_h=rows, in_h=min(op.in_h, reach(rows, op.stride, op.kernel_h, op.spread, op.nearest)))
            if cut not in self.blocks:
                self.blocks[cut] = choose_blocks(cut, self.array)
            layer_terms(op, self.blocks[cut], self.array, self.homes, weight_bytes * share, is_first, pace, out)
        if follows:
            # The other operand streams in; the array is busy with the convolution anyway.
            out[..., COMPUTE] = 0.0
            out[..., ACTIVATIONS] /= len(self.workload.layers[row].inputs)
            out[..., TOTAL] = out[..., ACTIVATIONS]
        if not found and self.workload.layers[row].op in BESIDE:
            out[..., ACTIVATIONS:] = self._beside(row, read, written)
        self.terms[key] = out
        return out

    def _beside(self, row: int, in_bytes: int, out_bytes: int) -> float:
        layer = self.workload.layers[row]
        source, target = self.workload.tensors[layer.inputs[0]], self.workload.tensors[layer.output]
        return (source.elements * in_bytes + target.elements * out_bytes) / self.homes.outside.bytes_per_cycle

    def schedule(self, a: int) -> Schedule:
        """What stays on chip when every feature map has width ``a``."""
        workload, size = self.workload, float(self.choices.tensor_bytes[a])
        if not self.homes.spills:
            return ethos_schedule.all_inside(workload, size)
        firsts, absorbed = [], []
        for row in range(len(workload.layers)):
            found = operations(workload, row, self.array, self.brick, int(size), int(size))
            firsts.append(found[0][0] if found else None)
            absorbed.append(chained(workload, row, self.array, self.brick))
        weights = self.choices.weight_bytes[:, -1, a]
        chain = ethos_schedule.chain_of(workload, self.brick, firsts, absorbed, int(size), weights)
        planned = ethos_schedule.schedule(workload, chain, size, self.homes.capacity)
        for row in np.flatnonzero(absorbed):
            # What the output unit adds to was never stored: the convolution writes the sum.
            layer = workload.layers[row]
            planned.inside[workload.layers[row - 1].output] = planned.inside[layer.output]
        return planned


def schedules(device: Device, workload: Workload, choices: Choices) -> list[Schedule]:
    """What stays on chip, for each width of feature maps on offer."""
    pricing = _Pricing(device, workload, choices)
    return [pricing.schedule(a) for a in range(len(choices.tensor_bytes))]


def price(device: Device, workload: Workload, choices: Choices, terms: Terms) -> Choices:
    """Fill ``terms`` for every layer and choice, and tell in the returned choices which elements pass the external memory."""
    pricing = _Pricing(device, workload, choices)
    widths = len(choices.tensor_bytes)
    plans = [pricing.schedule(a) for a in range(widths)]
    layer_s, to_s = device.overhead.layer_s.value, 1.0 / pricing.clock
    offchip_read, offchip_written = np.zeros_like(choices.offchip_read), np.zeros_like(choices.offchip_written)
    for row, layer in enumerate(workload.layers):
        for a in range(widths):
            inside = int(all(plans[a].inside[i] for i in layer.inputs))
            if pricing.homes.spills:
                offchip_read[row, a] = sum(workload.tensors[i].elements for i in layer.inputs if not plans[a].inside[i])
                offchip_written[row, a] = 0.0 if plans[a].inside[layer.output] else workload.tensors[layer.output].elements
            for b in range(widths):
                cycles = pricing.layer(row, a, b, int(plans[a].rows[row]))[inside, int(plans[b].inside[layer.output])]
                terms.compute_s[row, :, a, b] = cycles[:, COMPUTE] * to_s
                terms.weight_s[row, :, a, b] = cycles[:, WEIGHTS] * to_s
                terms.activation_s[row, :, a, b] = cycles[:, ACTIVATIONS] * to_s
                terms.overhead_s[row, :, a, b] = layer_s
                terms.latency_s[row, :, a, b] = cycles[:, TOTAL] * to_s + layer_s
    # Wider feature maps may be cut into blocks that fetch less; the terms do not credit a wider format for that.
    for axis in (2, 3):
        np.maximum.accumulate(terms.activation_s, axis=axis, out=terms.activation_s)
        np.maximum.accumulate(terms.weight_s, axis=axis, out=terms.weight_s)
    return choices._replace(offchip_read=offchip_read, offchip_written=offchip_written)
