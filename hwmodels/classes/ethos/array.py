"""A documented array's constants from its device file, in cycles of its clock: for ``blocks`` and ``cycles``."""

from __future__ import annotations

import numpy as np

from hwmodels.classes.ethos.blocks import Array
from hwmodels.classes.ethos.cycles import CONSTANT_BUFFER_BYTES, Port
from hwmodels.classes.ethos.terms import ONCHIP, OUTSIDE, OWN, Homes
from hwmodels.device.device import Device
from hwmodels.device.sections.array import BANK_BYTES, Channels, NpuArray
from hwmodels.device.sections.npu import Npu
from hwmodels.device.tables import Memory

BUS_BYTES = 16
USABLE = 0.8
"""Share of the transactions, and of the time between them, that a channel is taken to use (ethos-u-vela 5.2.0)."""
NO_MEMORY = Port(
    bytes_per_cycle=1.0,
    burst=1,
    read_latency=0.0,
    write_latency=0.0,
    input_rate=1.0,
    stream_rate=1.0,
    output_rate=1.0,
    weight_rate=1.0,
    constant_rate=1.0,
    copy_rate=1.0,
)


def described(device: Device) -> tuple[NpuArray, float]:
    """The array that a device file documents, and its clock in Hz. Raises TypeError where it documents none."""
    npu = device.own(Npu)
    if npu.array is None or npu.clock_hz is None:
        raise TypeError(f"{device.name} documents no array")
    return npu.array, npu.clock_hz.value


def array_of(npu: NpuArray) -> Array:
    """The array of a device file as plain numbers."""
    memory, cycles = npu.memory, npu.output_cycles
    separate = memory.input_bytes is not None
    granules = memory.accumulator_granule_bytes
    # Channels of an input block are counted in bytes: one, two or four bus words a pixel on the U85, eight channels elsewhere.
    channel_bytes = (16, 32, 64) if separate else (8, 8, 8)
    units = [[(h, w, c) for (h, w), c in zip(rows, channel_bytes, strict=True)] for rows in npu.input_units]
    if separate:
        buffers = [q.value for q in (memory.input_bytes, memory.accumulator_bytes, memory.output_bytes)]  # type: ignore[union-attr]  # separate memories come together: the section demands so
        granule, accumulators, shared = 1, [1, 1], 0.0
    else:
        assert memory.shared_bytes is not None
        assert memory.input_granule_bytes is not None
        assert granules is not None
        buffers, shared = [0, 0, 0], memory.shared_bytes.value
        granule, accumulators = _banks(memory.input_granule_bytes.value), [_banks(g.value) for g in granules]

    def by_width(narrow: float, wide: float) -> np.ndarray:
        return np.array([narrow, wide])

    return Array(
        buffers=np.array(buffers, dtype=np.int64),
        cores=npu.cores,
        decoders=npu.decoders,
        microblocks=np.array(npu.microblocks, dtype=np.int64),
        input_units=np.array(units, dtype=np.int64),
        banks=_banks(shared),
        table_banks=_banks(memory.table_bytes.value),
        input_granule=granule,
        accumulator_granule=np.array(accumulators, dtype=np.int64),
        limits=np.array(npu.block_limits, dtype=np.int64),
        macs=npu.macs,
        convolve=by_width(cycles.conv_a8.value, cycles.conv_a16.value),
        add=by_width(cycles.add_a8.value, cycles.add_a16.value),
        multiply=by_width(cycles.mul_a8.value, cycles.mul_a16.value),
        other=by_width(cycles.copy_a8.value, cycles.copy_a16.value),
        clamp=cycles.clamp.value,
        lookup=cycles.lut.value,
    )


def _banks(size: float) -> int:
    return int(size) // BANK_BYTES


def homes_of(device: Device) -> Homes:
    """The memories of a device with an array. On-chip memory is at least as fast as what lies behind it."""
    facts, clock = described(device)
    channels = facts.channels
    onchip, dram, flash = device.memory.onchip, device.memory.dram, device.memory.flash
    behind = dram.bytes_per_s.value if dram is not None and dram.bytes_per_s is not None else 0.0
    capacity = onchip.bytes.value if onchip is not None and onchip.bytes is not None else 0.0
    inside = port_of(onchip, clock, channels, behind) if onchip is not None else NO_MEMORY
    outside = port_of(dram, clock, channels) if dram is not None else inside
    weights, at = outside, OUTSIDE if dram is not None else ONCHIP
    if flash is not None:
        weights, at = port_of(flash, clock, channels), OWN
    return Homes(onchip=inside, outside=outside, weights=weights, spills=dram is not None, weights_at=at, capacity=capacity)


def port_of(memory: Memory, clock_hz: float, channels: Channels | None, at_least_bytes_per_s: float = 0.0) -> Port:
    """One memory in bytes per cycle. A channel of the array with ``channels`` has no more bytes under way than its buffer and
    the memory's outstanding transactions hold, and waits a latency for them; other arrays are limited by bandwidth alone."""
    assert memory.bytes_per_s is not None
    bandwidth = max(memory.bytes_per_s.value, at_least_bytes_per_s) / clock_hz
    burst = int(memory.burst_bytes.value)
    read, write = memory.read_latency_s.value * clock_hz, memory.write_latency_s.value * clock_hz

    def rate(buffer_bytes: float, outstanding: float, latency: float) -> float:
        if channels is None or latency == 0:
            return bandwidth
        under_way = min(buffer_bytes / max(burst, BUS_BYTES), USABLE * outstanding)
        return min(bandwidth, USABLE * burst * under_way / latency)

    reads = memory.outstanding_reads.value if memory.outstanding_reads is not None else np.inf
    writes = memory.outstanding_writes.value if memory.outstanding_writes is not None else np.inf
    buffers = [np.inf] * 4
    if channels is not None:
        buffers = [q.value for q in (channels.input_bytes, channels.stream_bytes, channels.weight_bytes, channels.copy_bytes)]
    inputs, stream, weights, copies = (rate(b, reads, read) for b in buffers)
    return Port(
        bytes_per_cycle=bandwidth,
        burst=burst,
        read_latency=read,
        write_latency=write,
        input_rate=inputs,
        stream_rate=stream,
        output_rate=rate(np.inf, writes, write),
        weight_rate=weights,
        constant_rate=rate(CONSTANT_BUFFER_BYTES, reads, read),
        copy_rate=copies,
    )
