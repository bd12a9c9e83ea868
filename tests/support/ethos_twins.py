"""The price of an operation on a documented array (Arm Ethos-U) again: plain Python from the device file, one rule at a time.

Written from the descriptions of the model; shares no code with its kernels. What a layer asks of the array (``Operation``) and
where feature maps live are given; blocks, cycles, transfers and the choice between stored and copied weights are computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, inf
from typing import NamedTuple

import numpy as np

from hwmodels.classes.ethos.blocks import CHANNELWISE, CONVOLUTION, PAIRWISE, POOLING, PRODUCT, Operation
from hwmodels.device.device import Device
from hwmodels.device.tables import Memory

KIB = 1024


def fill(value: float, quantum: float) -> int:
    return int(ceil(value / quantum) * quantum)


def pieces(length: int) -> list[int]:
    """A kernel side in pieces of at most eight taps."""
    return [min(8, length - begin) for begin in range(0, length, 8)]


class Cut(NamedTuple):
    """Output block, the input block that feeds it, micro-block; ``cover``: how often the input block goes into the input."""

    out: tuple[int, int, int]
    read: tuple[int, int, int]
    micro: tuple[int, int, int]
    part: bool
    cost: float = inf
    cover: float = inf


class Port(NamedTuple):
    """A memory in cycles: bytes a cycle, bytes of a burst, latencies, and what each channel of the array reaches."""

    rate: float
    burst: int
    read_latency: float
    write_latency: float
    channels: dict[str, float]

    def moved(self, size: float, run: int) -> float:
        """Bytes that pass for ``size`` bytes in contiguous runs: each run fills whole bursts at best in part."""
        return float(size) * self.burst / min(self.burst, max(run, 1))


class ArrayTwin:
    """The array of a device."""

    def __init__(self, target: Device) -> None:
        assert target.npu is not None
        assert target.npu.array is not None
        assert target.npu.clock_hz is not None
        self.target, self.facts, self.clock = target, target.npu.array, target.npu.clock_hz.value
        self.separate = self.facts.memory.input_bytes is not None

    # Blocks.

    def sparse(self, op: Operation) -> bool:
        return self.separate and op.kind == CONVOLUTION and op.in_c <= 2

    def takes_part_kernel(self, op: Operation) -> bool:
        if op.kind != CONVOLUTION:
            return False
        taps, c = op.kernel_h * op.kernel_w, op.in_c
        if self.separate:
            rate = 2 if self.sparse(op) else 1
            full, rest = divmod(taps, 5 * rate)
            part = c / fill(c, 16) * taps / (5 * rate * full + max(rest, 2 * rate))
            return part >= c / fill(c, 64 * rate)
        if c <= 8:
            return True
        side, depth = (2, 16) if op.in_bytes > 1 else (4, 32)
        return c * taps / (fill(c, 8) * fill(taps, side)) >= c / fill(c, depth)

    def micro(self, op: Operation, part: bool) -> int:
        shapes = self.facts.microblocks
        rows = [i for i, shape in enumerate(shapes) if self.permits(op, shape[2], part)]

        def area(i: int) -> int:
            high, wide, deep = shapes[i]
            return fill(op.out_h, high) * fill(op.out_w, wide) * fill(op.out_c, deep)

        return min(rows, key=area)

    def permits(self, op: Operation, deep: int, part: bool) -> bool:
        if not self.separate or op.kind == PAIRWISE:
            return True
        depths = [shape[2] for shape in self.facts.microblocks]
        by_channel = op.kind in (CHANNELWISE, POOLING)
        if self.facts.macs <= 256:
            if by_channel:
                return (deep == max(depths)) == (op.in_bytes == 1)
            pointwise = op.in_bytes > 1 and op.kernel_h == op.kernel_w == 1 and not part
            return deep < max(depths) or pointwise
        return deep == min(depths) if by_channel and self.facts.macs >= 1024 else True

    def fits(self, op: Operation, out: tuple[int, int, int], read: tuple[int, int, int], copies: int) -> bool:
        memory, wide = self.facts.memory, op.in_bytes > 1 and op.kind != POOLING
        results, inputs = out[0] * out[1], read[0] * read[1]
        if self.separate:
            assert memory.input_bytes is not None
            assert memory.accumulator_bytes is not None
            if op.kind == PAIRWISE:
                return results * out[2] * op.in_bytes <= memory.accumulator_bytes.value
            accumulators = results * fill(out[2], 16) * (8 if wide else 4) * copies
            return inputs * read[2] * op.in_bytes * copies <= memory.input_bytes.value and (
                accumulators <= memory.accumulator_bytes.value
            )
        assert memory.shared_bytes is not None
        assert memory.input_granule_bytes is not None
        assert memory.accumulator_granule_bytes is not None
        free = memory.shared_bytes.value - memory.table_bytes.value // KIB * KIB - 2 * KIB
        taken = fill(2 * fill(inputs * fill(read[2] * op.in_bytes, 8), KIB), memory.input_granule_bytes.value)
        if op.kind == PAIRWISE:
            return taken * op.inputs <= free
        size, granule = (5, 1) if wide else (4, 0)
        accumulators = 2 * fill(results * fill(out[2], 8) * size, KIB)
        return taken + fill(accumulators, memory.accumulator_granule_bytes[granule].value) <= free

    def depths(self, op: Operation, first: int, last: int, step: int) -> Iterator[int]:
        depth = first
        while True:
            # Blocks that do not hold all channels hold a multiple of 16.
            depth = fill(depth, 16) if depth < op.out_c else depth
            if depth > last:
                return
            yield depth
            depth += step

    def cuts(self, op: Operation, part: bool, copies: int) -> Iterator[Cut]:
        facts, row = self.facts, self.micro(op, part)
        high, wide, deep = facts.microblocks[row]
        own_depth = op.kind in (CHANNELWISE, POOLING, PAIRWISE)
        weighted = op.kind in (CONVOLUTION, CHANNELWISE)
        if self.separate:
            narrow = facts.macs <= 256 and deep == 16 and not self.sparse(op)
            in_c = 16 if part else 32 if narrow else 128 if self.sparse(op) and op.in_bytes == 1 else 64
            step = deep if weighted else max(deep, 16)
            least = 16
        else:
            in_c = fill(min(op.in_c, 16), 4) if op.in_bytes > 1 else fill(min(op.in_c, 16 if part else 32), 8)
            step, least = deep, 1
        last_h, last_w = (
            fill(min(size, limit), q)
            for size, limit, q in zip((op.out_h, op.out_w), facts.block_limits[:2], (high, wide), strict=True)
        )
        last_c = fill(max(min(op.out_c, facts.block_limits[2]), least), step)
        spread = 1 if self.separate and op.nearest else op.spread
        one = np.float32
        for depth in self.depths(op, max(step, min(last_c, 16)), last_c, step):
            block_c = depth if own_depth else in_c
            pixel = block_c * op.in_bytes
            size = 0 if pixel <= 16 else 1 if pixel <= 32 else 2
            unit_h, unit_w = facts.input_units[row][size]
            held = (
                fill(depth if own_depth else min(in_c, op.in_c), (16, 32, 64)[size] // op.in_bytes) if self.separate else block_c
            )
            for h in range(high, last_h + 1, high):
                flat = 1 if op.out_h == 1 and op.kernel_h == 1 and high == 2 else h
                read_h = fill(self.needed(h, op.stride, op.kernel_h, spread, op.nearest), unit_h)
                for w in range(wide, last_w + 1, wide):
                    read_w = fill(self.needed(w, op.stride, op.kernel_w, spread, op.nearest), unit_w)
                    if not self.fits(op, (flat, w, depth), (read_h, read_w, held), copies):
                        continue
                    if op.kind == PAIRWISE:
                        cost = op.out_h * op.out_w * op.out_c / (h * w * depth)
                    else:
                        again = len(pieces(op.kernel_h)) * len(pieces(op.kernel_w))
                        tall, across = one(op.out_h) / one(flat), one(op.out_w) / one(w)
                        inputs = one(read_h * read_w * op.in_c * again)
                        inputs = inputs * (across * tall) if self.separate else inputs * across * tall
                        if not own_depth:
                            inputs *= one(ceil(op.out_c / depth))
                        weights = op.kernel_h * op.kernel_w * op.in_c * ceil(op.out_h / flat) * ceil(op.out_w / w) * weighted
                        weights *= 1 if op.kind == CHANNELWISE else op.out_c
                        cost = (inputs + one(weights)) / one(op.out_h * op.out_w * op.out_c)
                    if op.in_h * op.in_w * op.in_c < 2 * read_h * read_w * block_c:
                        cost /= 2
                    cover = op.in_h * op.in_w / (min(op.in_h, read_h) * min(op.in_w, read_w))
                    yield Cut((h, w, depth), (read_h, read_w, block_c), (high, wide, deep), part, float(one(cost)), cover)

    @staticmethod
    def needed(out: int, stride: int, kernel: int, spread: int, nearest: int) -> int:
        return ceil(((out - 1) * stride + min(kernel, 8) + nearest) / spread)

    def blocks(self, op: Operation) -> Cut | None:
        """The cheapest cut; among equals the first, unless small ones (4x4) are among them: then the last that covers most."""
        part = self.takes_part_kernel(op)
        for copies in (2, 1) if self.separate else (2,):
            found = list(self.cuts(op, part, copies))
            if found:
                least = min(cut.cost for cut in found)
                same = [cut for cut in found if cut.cost == least]
                small = [cut for cut in same[1:] if max(cut.out[:2]) <= 4]
                return min(reversed(small), key=lambda cut: cut.cover) if small else same[0]
        return None

    # Cycles.

    def multiply(self, op: Operation, cut: Cut) -> float:
        """Cycles of the multipliers for one block."""
        facts, wide = self.facts, op.in_bytes > 1
        micro_h, micro_w, micro_c = cut.micro
        tall, across, deep = (min(size, block) for size, block in zip((op.out_h, op.out_w, op.out_c), cut.out, strict=True))
        row_of_four = not self.separate and micro_h == 2 and op.out_h == op.kernel_h == 1 and op.out_w % 2 == 0
        if row_of_four and op.kind in (CONVOLUTION, PRODUCT):
            micro_h, micro_w = 1, 4
        rows, columns, layers = ceil(tall / micro_h), ceil(across / micro_w), ceil(deep / micro_c)
        area, depth = rows * columns, min(op.in_c, cut.read[2])
        decode = 32 * micro_c // (8 * (facts.decoders if self.separate else 1))
        slowest = facts.macs == 32 and not self.separate
        long = wide and op.kind != POOLING
        wait = (7 if long else 3) if slowest else 3 if long and facts.macs <= 128 else 2
        total = 0.0
        for taps in (y * x for y in pieces(op.kernel_h) for x in pieces(op.kernel_w)):
            again, steps = 1, 1
            if op.kind == POOLING:
                each = max(4, taps) * area * (1 if slowest else 4 * op.in_bytes)
            elif op.kind == CHANNELWISE:
                steps = ceil(taps / 4)
                each = max(decode, 4 * area * op.in_bytes) * steps
            elif cut.part:
                steps, again = ceil(taps / (2 if wide else 4)), ceil(depth / 8)
                each = max(decode, 4 * area) * steps * again
            else:
                steps = taps
                each = (
                    max(decode, max(depth // 8, 1) * area) * taps * op.in_bytes if self.separate else max(decode, 4 * area) * taps
                )
            total += each * layers
            if area == 1:
                total += again * wait * (steps if layers == 1 else (steps - 1) * layers)
            if slowest and long and layers > 1 and 1 in (rows, columns):
                total += again * wait * layers
        if op.kind in (CONVOLUTION, PRODUCT):
            total *= ceil(op.in_c / depth)
        return total / (2 if self.sparse(op) else 1) / facts.cores

    def runs(self, op: Operation, cut: Cut) -> tuple[int, int]:
        """Contiguous bytes that a block reads and writes."""
        _, wide, deep = cut.out
        read = op.in_bytes * cut.read[2]
        if op.in_brick:
            read = 16 * op.in_bytes * cut.read[1]
        elif op.in_c * op.in_bytes == cut.read[2]:
            read *= cut.read[1]
        if op.out_brick:
            return read, 16 * op.out_bytes * wide * self.facts.cores
        if deep <= 16 and op.out_c * op.out_bytes == deep:
            return read, op.out_bytes * deep * wide
        return read, min(64, 16 * op.out_bytes * self.facts.cores, deep * op.out_bytes)

    def cycles(
        self, op: Operation, cut: Cut, source: Port, target: Port, constants_latency: float, pace: float
    ) -> tuple[float, float]:
        """Work alone, and with waiting."""
        read_run, write_run = self.runs(op, cut)
        block = [min(size, part) for size, part in zip((op.out_h, op.out_w, op.out_c), cut.out, strict=True)]
        inputs = [min(size, part) for size, part in zip((op.in_h, op.in_w, op.in_c), cut.read, strict=True)]
        read = source.read_latency + source.moved(np.prod(inputs) * op.in_bytes, read_run) / source.rate
        write = target.write_latency + target.moved(np.prod(block) * op.out_bytes, write_run) / target.rate
        if op.kind == PAIRWISE:
            elements = op.out_h * op.out_w * (fill(op.out_c, 16) if op.out_brick else op.out_c)
            issue = ((max(read, write) if self.separate else read + write) / np.prod(cut.out) + op.finish) / 4
            return op.finish * elements, max(op.finish, issue) * elements
        multiply, output = self.multiply(op, cut) * pace, op.finish * np.prod(block)
        if op.kind != POOLING:
            output = max(output, 10 * block[2] * constants_latency / 256)
        whole = np.prod([ceil(size / q) for size, q in zip((op.out_h, op.out_w, op.out_c), cut.micro, strict=True)])
        count = whole / np.prod([ceil(size / q) for size, q in zip(block, cut.micro, strict=True)])
        idle = 0.0
        if count > 1:
            same = (source.rate, source.read_latency) == (target.rate, target.read_latency)
            idle = max(write - source.read_latency, read - target.write_latency)
            if same:
                idle = max(abs(write - read), abs(target.write_latency - source.read_latency))
        work = max(multiply, output) * count + min(multiply, output)
        issue = (idle + multiply + output) / 4
        multiply, output = max(multiply, issue), max(output, issue)
        return work, max(multiply, output) * count + min(multiply, output) + read + write

    # Memories.

    def port(self, memory: Memory, at_least: float = 0.0) -> Port:
        assert memory.bytes_per_s is not None
        rate = max(memory.bytes_per_s.value, at_least) / self.clock
        read, write = memory.read_latency_s.value * self.clock, memory.write_latency_s.value * self.clock
        burst, channels = int(memory.burst_bytes.value), self.facts.channels

        def channel(buffer: float, outstanding: float, latency: float) -> float:
            if channels is None or latency == 0:
                return rate
            return min(rate, 0.8 * burst * min(buffer / max(burst, 16), 0.8 * outstanding) / latency)

        reads = memory.outstanding_reads.value if memory.outstanding_reads else inf
        writes = memory.outstanding_writes.value if memory.outstanding_writes else inf
        names = ("input_bytes", "stream_bytes", "weight_bytes", "copy_bytes")
        buffers = {name[:-6]: getattr(channels, name).value if channels is not None else inf for name in names}
        rates = {name: channel(size, reads, read) for name, size in (*buffers.items(), ("constant", 256.0))}
        return Port(rate, burst, read, write, rates | {"output": channel(inf, writes, write)})

    def terms(self, op: Operation, cut: Cut, near: float, kept: bool, weights: float, copy: str, pace: float) -> dict[str, float]:
        """Cycles; ``near``: share of the inputs on chip, ``kept``: the output is, ``copy``: hidden, waits or never."""
        memory = self.target.memory
        behind = memory.dram.bytes_per_s.value if memory.dram is not None and memory.dram.bytes_per_s is not None else 0.0
        ports = {"onchip": self.port(memory.onchip, behind)} if memory.onchip is not None else {}
        ports |= {name: self.port(getattr(memory, name)) for name in ("dram", "flash") if getattr(memory, name) is not None}
        stored_in = next(name for name in ("flash", "dram", "onchip") if name in ports)
        if "dram" not in ports:
            near, kept = 1.0, True
        source, target = ports["onchip" if near == 1.0 else "dram"], ports["onchip" if kept else "dram"]
        work, cycles = self.cycles(op, cut, source, target, ports[stored_in].read_latency, pace)
        spots = ceil(op.out_h / min(op.out_h, cut.out[0])) * ceil(op.out_w / min(op.out_w, cut.out[1]))
        read_run, write_run = self.runs(op, cut)
        if op.kind == PAIRWISE:
            elements, channel = op.out_h * op.out_w * (fill(op.out_c, 16) if op.in_brick else op.out_c), "stream"
        else:
            stored_c = fill(op.in_c, 16) if op.in_brick else op.in_c
            pieces_of_kernel = len(pieces(op.kernel_h)) * len(pieces(op.kernel_w))
            elements = min(op.in_h, cut.read[0]) * min(op.in_w, cut.read[1]) * stored_c * spots * pieces_of_kernel
            channel = "input"
            if op.kind not in (CHANNELWISE, POOLING):
                elements *= ceil(op.out_c / min(op.out_c, cut.out[2]))
        read = source.moved(elements * op.in_bytes, read_run) * op.inputs
        out = op.out_h * op.out_w * (fill(op.out_c, 16) if op.out_brick else op.out_c)
        maps: list[tuple[str, str, float]] = [
            ("onchip", channel, read * near),
            ("dram", channel, read * (1 - near)),
            ("onchip" if kept else "dram", "output", target.moved(out * op.out_bytes, write_run)),
        ]

        def slowest(loads: list[tuple[str, str, float]]) -> float:
            found = [0.0]
            for name, port in ports.items():
                here = [(by, size) for at, by, size in loads if at == name]
                found.append(sum(size for _, size in here) / port.rate)
                found += [size / port.channels[by] for by, size in here]
            return max(found)

        if not weights:
            return {"compute": work, "weight": 0.0, "activation": slowest(maps), "latency": max(cycles, slowest(maps))}
        constants = 10 * (fill(op.out_c, max(cut.micro[2], 16)) if self.separate else op.out_c) * spots
        stream = [(stored_in, "weight", weights * spots), (stored_in, "constant", constants)]
        weight, latency = slowest(stream), max(cycles, slowest(maps + stream))
        if stored_in != "onchip" and copy != "never":
            copied = [("onchip", "weight", weights * spots), (stored_in, "constant", constants), (stored_in, "copy", weights)]
            begin = 0.0
            if copy == "waits":
                part = (weights + 10 * op.out_c) * min(1.0, 16 / op.out_c)
                begin = part / ports[stored_in].channels["copy"] + ports[stored_in].read_latency
            weight = min(weight, slowest(copied))
            latency = min(latency, max(cycles + begin, slowest(maps + copied)))
        return {"compute": work, "weight": weight, "activation": slowest(maps), "latency": latency}
