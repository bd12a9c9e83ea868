"""Terms of every layer of a workload on a documented array (Arm Ethos-U), scheduled at each width of its feature maps.

Every operation (``operations``) is cut into blocks (``search``), timed (``cycles``), and weighed against the memories
(``terms``); what stays on the chip is ``feature_maps``. What the output unit of a U85 does as part of another operation (sums,
transposes, bounds) is timed with that operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hwmodels.classes.ethos import feature_maps, staged, tokens
from hwmodels.classes.ethos.array import array_of, described, homes_of
from hwmodels.classes.ethos.blocks import COPY, PAIRWISE, POOLING, PRODUCT, TURN, Blocks, Operation, Part, reach
from hwmodels.classes.ethos.buffering import Weighing
from hwmodels.classes.ethos.cycles import operation_cycles, read_bytes, written_bytes
from hwmodels.classes.ethos.feature_maps import Schedule, Weights
from hwmodels.classes.ethos.operations import bounded_apart, chained, fused, operations
from hwmodels.classes.ethos.search import choose_blocks
from hwmodels.classes.ethos.storage import beside, bricks, copied_in, in_place
from hwmodels.classes.ethos.terms import (
    ACTIVATIONS,
    ALL,
    COMPUTE,
    COPIED,
    HIDDEN,
    NEVER,
    NONE,
    ONCHIP,
    SOME,
    TOTAL,
    WAITS,
    Placement,
    constant_channels,
    layer_terms,
)
from hwmodels.device.device import Device
from hwmodels.pricing.columns import Choices
from hwmodels.workload import Move, Workload


class Pricing:
    """The terms of every layer of a workload, by the widths of its input and output and where they are, and the schedules.

    ``owner``: for every layer the one of the network that it is a piece of.
    """

    def __init__(self, device: Device, workload: Workload, choices: Choices, owner: Sequence[int]) -> None:
        facts, self.clock = described(device)
        self.workload, self.choices, self.owner = workload, choices, owner
        self.array, self.homes = array_of(facts), homes_of(device)
        self.brick = bricks(workload, self.array.buffers[0] > 0)
        self.place = in_place(workload)
        rows = range(len(workload.layers))
        self.absorbed = [chained(workload, row, self.array, self.brick) for row in rows]
        turns = ((row, fused(workload, row, self.array)) for row in rows if not self.absorbed[row])
        self.turns = {row: turn for row, turn in turns if turn is not None}
        self.blocks: dict[tuple[Operation, int], Blocks] = {}
        self.terms: dict[tuple[object, ...], np.ndarray] = {}
        self.schedules: dict[tuple[int, float], Schedule] = {}
        peak = self.array.macs * self.array.cores * self.clock
        # Half of the multipliers' products fit 16-bit inputs.
        self.pace = choices.s_per_mac * peak / np.where(choices.wide > 0, 2.0, 1.0)
        reference = facts.reference_onchip_bytes
        more = reference is not None and reference.value < self.homes.capacity
        self.capacities = [self.homes.capacity, reference.value] if more and reference is not None else [self.homes.capacity]

    def layer(self, row: int, a: int, b: int, plan: tuple[Schedule, Schedule]) -> np.ndarray:
        """``float64[nW, 4]`` cycles of layer ``row`` with widths ``a`` in and ``b`` out, scheduled as ``plan`` says for each."""
        layer = self.workload.layers[row]
        read, written = (int(self.choices.tensor_bytes[i]) for i in (a, b))
        found = operations(self.workload, row, self.array, self.brick, read, written)
        weight_bytes, pace = self.choices.weight_bytes[row, :, a], np.ascontiguousarray(self.pace[:, a])
        place = self._place(row, plan)
        rows = int(plan[0].rows[row])
        what = tuple(found) if found else (row, read, written)
        last = self._last(row)
        if last > row and not bounded_apart(self.workload, last, read > 1):
            # The compiler counts no write of a sum that the output unit adds.
            place = place._replace(kept=True)
        streams = [bool(plan[0].inside[k]) for i in range(row + 1, last + 1) for k in self.workload.layers[i].inputs]
        copied = copied_in(self.workload, layer) if layer.moves("concat") else ()
        whence = [ALL if plan[0].inside[i] else NONE for i in copied] or [place.near] * len(found)
        whole = (row, last, *streams) if last > row else (), self.absorbed[row], self.turns.get(row), self._joined(last)
        key = (what, place, tuple(whence), rows, weight_bytes.tobytes(), pace.tobytes(), *whole)
        if key in self.terms:
            return self.terms[key]
        out = np.zeros((len(pace), 4))
        words = tokens.words_of(self.workload.tensors[layer.inputs[0]], self.array, self.homes.capacity)
        for number, (part, near) in enumerate(zip(found, whence, strict=True)):
            blocks = self._cut(part.operation, rows, self.turns.get(row))
            op = self._written(row, part.operation)
            here = self._copied(tokens.placed(part, place._replace(near=near), words), plan[0], row, number, blocks)
            made = np.zeros_like(out)
            layer_terms(op, blocks, self.array, self.homes, here, weight_bytes * part.share, pace, made)
            made[:, ACTIVATIONS:] = np.maximum(made[:, ACTIVATIONS:], self._constant(part))
            out += part.times * made
        if last > row:
            out[:, TOTAL] = self._chain(row, last, found, place, (a, b), plan[0], out[:, TOTAL])
        if self.absorbed[row]:
            # The layer that it is a part of takes the time.
            out[:, COMPUTE] = 0.0
            out[:, ACTIVATIONS] /= len(layer.inputs)
            out[:, TOTAL] = 0.0
        if row in self.turns.values():
            out[:] = 0.0
        if beside(layer):
            out[:, ACTIVATIONS:] = self._beside(row, read, written)
        self.terms[key] = out
        return out

    def _copied(self, place: Placement, schedule: Schedule, row: int, number: int, blocks: Blocks) -> Placement:
        """A placement with what the schedule says of the copy of an operation's weights. Where feature maps always stay on the
        chip, the faster way is taken, which agrees better with the compiler's figures for slow flash."""
        made = schedule.copies
        if not self.homes.spills:
            return place._replace(copy=WAITS if row == 0 else HIDDEN)
        found = made.found[row][number] if number < len(made.found[row]) else None
        if found is None:
            return place
        ahead = float(found.first) if found.ahead else 0.0
        slack, tail = float(made.slack[row][number]), float(found.tail_cycles)
        channels = sum(constant_channels(end - begin, blocks, self.array) for begin, end in pairwise(found.ends))
        copied = place._replace(copy=COPIED, first=float(found.first), ahead=ahead, slack=slack, tail=tail)
        return copied._replace(channels=channels)

    def _place(self, row: int, plan: tuple[Schedule, Schedule]) -> Placement:
        """Where layer ``row`` reads and writes, and how its weights come."""
        layer = self.workload.layers[row]
        inside = [bool(plan[0].inside[i]) for i in layer.inputs]
        last = self.turns.get(row, row)
        return Placement(
            near=ALL if all(inside) else SOME if any(inside) else NONE,
            kept=bool(plan[1].inside[self.workload.layers[last].output]),
            copy=NEVER,
        )

    def _last(self, row: int) -> int:
        """The last of the layers behind ``row`` that the output unit does as part of it; ``row`` where there is none."""
        if self.absorbed[row]:
            return row
        return next((i for i in range(row, len(self.absorbed) - 1) if not self.absorbed[i + 1]), len(self.absorbed) - 1)

    def _chain(
        self,
        first: int,
        row: int,
        whole: Sequence[Part],
        place: Placement,
        widths: tuple[int, int],
        reads: Schedule,
        alone: np.ndarray,
    ) -> np.ndarray:
        """``float64[nW]`` cycles of layer ``first`` (operations ``whole``), which takes ``alone``, with those up to ``row`` that
        the output unit does as part of it: the unit takes every function in turn, and other operands stream in by one channel, in
        the blocks of ``first``.

        Args:
            widths: indices of those that are read and written; reads: the schedule of what is read.
        """
        a, (read, written) = widths[0], (int(self.choices.tensor_bytes[i]) for i in widths)
        outside, finish, moved, streamed, constant = self.homes.outside, 0.0, 0.0, 0.0, 0.0
        weights, pace = self.choices.weight_bytes[first, :, a], np.ascontiguousarray(self.pace[:, a])
        cuts = [self._cut(part.operation, int(reads.rows[first])) for part in whole]
        joined, brick = self._joined(row), bool(self.brick[self.workload.layers[row].output])
        whole = [part._replace(operation=part.operation._replace(written_c=joined, out_brick=brick)) for part in whole]
        for part, blocks in zip(whole, cuts, strict=True):
            fetched = part.times * read_bytes(part.operation, blocks, outside)
            if part.operation.kind == PAIRWISE:
                streamed += fetched * (0 if place.near == ALL else 1 if place.near == SOME else part.operation.inputs)
            else:
                moved += fetched * (place.near == NONE)
            moved += part.times * written_bytes(part.operation, blocks, self.array, outside) * (not place.kept)
        together = alone
        for i in range(first + 1, row + 1):
            others = [k for k in self.workload.layers[i].inputs if k != self.workload.layers[i - 1].output]
            for part in operations(self.workload, i, self.array, self.brick, read, written):
                finish += part.operation.finish
                constant += part.times * self._constant(part)
                for k in others:
                    if not reads.inside[k]:
                        streamed += read_bytes(part.operation._replace(in_brick=bool(self.brick[k])), cuts[-1], outside)
            made = np.zeros((len(alone), 4))
            for number, (part, blocks) in enumerate(zip(whole, cuts, strict=True)):
                here = self._copied(place, reads, first, number, blocks)
                more = part.operation._replace(finish=part.operation.finish + finish)
                one = np.zeros_like(made)
                layer_terms(more, blocks, self.array, self.homes, here, weights * part.share, pace, one)
                made += part.times * one
            moving = max(streamed / outside.stream_rate, (streamed + moved) / outside.bytes_per_cycle)
            together = np.maximum(together, np.maximum(made[:, TOTAL], max(moving, constant)))
        return together

    def _constant(self, part: Part) -> float:
        """Cycles in which the constant operands of a part arrive from where weights are stored."""
        home = self.homes.weights
        return part.constant_bytes / min(home.bytes_per_cycle, home.stream_rate)

    def _joined(self, row: int) -> int:
        """Channels of the tensor in whose place layer ``row`` writes: those of a concatenation that it makes a part of."""
        return self.workload.tensors[self.place[self.workload.layers[row].output]].channels

    def _written(self, row: int, op: Operation) -> Operation:
        """The operation as it is weighed: with the transpose that its writer does, whose result counts though it is cut along the
        axes from before."""
        if op.kind == COPY or (op.kind == TURN and self.array.buffers[0]):
            return op._replace(kind=POOLING)
        if self.array.buffers[0] and bounded_apart(self.workload, row, op.in_bytes > 1):
            # The compiler counts the whole of a concatenation as written by a bound, or a sum, that writes a part of it.
            op = op._replace(written_c=self._joined(row))
        if row not in self.turns:
            return op
        turn = self.workload.layers[self.turns[row]]
        assert isinstance(turn.work, Move)
        height, width, channels = (turn.work.shape[axis] for axis in turn.work.axes)
        return op._replace(out_h=height, out_w=width, out_c=channels, out_brick=bool(self.brick[turn.output]))

    def _cut(self, op: Operation, rows: int, turn: int | None = None) -> Blocks:
        """The blocks of an operation that makes ``rows`` at a time (0: all), and whose writer does the transpose ``turn``."""
        separate, innermost, copies = self.array.buffers[0] > 0, 2, op.kind == COPY
        # Blocks do not depend on where and how wide the output is.
        op = op._replace(out_bytes=1, finish=0.0, kind=POOLING if copies else op.kind)
        if op.kind == TURN:
            sides = (op.in_h, op.in_w, op.in_c)
            innermost = 2 - sides[::-1].index(op.out_c) if separate else 2
            op = op._replace(kind=POOLING if separate else PRODUCT, out_h=op.in_h, out_w=op.in_w, out_c=op.in_c)
        elif turn is not None:
            work = self.workload.layers[turn].work
            innermost = work.axes[2] if isinstance(work, Move) else 2
        if 0 < rows < op.out_h:
            op = op._replace(out_h=rows, in_h=min(op.in_h, reach(rows, op.stride, op.kernel_h, op.spread, op.nearest)))
        key = op, 3 if copies else innermost
        if key not in self.blocks:
            self.blocks[key] = choose_blocks(op, self.array, innermost, copies)
        return self.blocks[key]

    def _beside(self, row: int, in_bytes: int, out_bytes: int) -> float:
        layer = self.workload.layers[row]
        source, target = self.workload.tensors[layer.inputs[0]], self.workload.tensors[layer.output]
        return (source.elements * in_bytes + target.elements * out_bytes) / self.homes.outside.bytes_per_cycle

    def _access(self, found: list[list[Part]], wide: bool) -> np.ndarray:
        """``float64[T]``: elements of every tensor that operations read, with what they read again, and write.

        A U85's compiler counts no write of an operation that the output unit does as part of another one: a sum, a bound.
        """
        access, home = np.zeros(len(self.workload.tensors)), self.homes.onchip._replace(burst=1)
        separate = self.array.buffers[0] > 0
        for row, (layer, each) in enumerate(zip(self.workload.layers, found, strict=True)):
            copied = copied_in(self.workload, layer) if layer.moves("concat") else ()
            uncounted = self.absorbed[row] or (separate and bounded_apart(self.workload, row, wide))
            for number, (whole, _, times, *_) in enumerate(each):
                blocks, op = self._cut(whole, 0, self.turns.get(row)), self._written(row, whole)
                for i in copied[number : number + 1] or dict.fromkeys(layer.inputs):
                    access[i] += times * read_bytes(op, blocks, home) / op.in_bytes
                written = written_bytes(op, blocks, self.array, home) / max(op.out_bytes, 1)
                access[layer.output] += 0.0 if uncounted else times * written
            if self.absorbed[row]:
                # What lies between the two is nowhere.
                access[self.workload.layers[row - 1].output] = 0.0
        return access

    def schedule(self, a: int, capacity: float) -> Schedule:
        """What stays on chip when every feature map has width ``a``."""
        if (a, capacity) not in self.schedules:
            self.schedules[a, capacity] = self._schedule(a, capacity)
        return self.schedules[a, capacity]

    def _weigh(self, found: list[list[Part]], weights: np.ndarray, row: int, rows: int) -> list[Weighing]:
        """The operations of a layer that makes ``rows`` at a time (0: all) as the scheduler sees them (``weights float64[L]``:
        bytes)."""
        layer, outside, made = self.workload.layers[row], self.homes.outside, []
        if self.absorbed[row] or row in self.turns.values() or staged.is_copy(self.workload, self.owner, row):
            return []
        opens = row == 0 or (row == 1 and staged.is_copy(self.workload, self.owner, 0))
        source = self.workload.tensors[layer.inputs[0]].producer
        choice = source >= 0 and not isinstance(self.workload.layers[source].work, Move)
        # In the order of execution, as the compiler lists who reads a tensor.
        last = self._last(row)
        reader = min(self.workload.tensors[self.workload.layers[self.turns.get(row, last)].output].readers, default=-1)
        # What the output unit does as part of the operation takes its turn at every element.
        chain = sum(part.operation.finish for i in range(row + 1, last + 1) for part in found[i])
        for part in found[row]:
            op, blocks = self._written(row, part.operation), self._cut(part.operation, rows, self.turns.get(row))
            op = op._replace(finish=op.finish + chain)
            latency = self.homes.weights.read_latency
            _, cycles = operation_cycles(op, blocks, self.array, outside, outside, latency, 1.0)
            stripe = op
            if 0 < rows < op.out_h:
                read = min(op.in_h, reach(rows, op.stride, op.kernel_h, op.spread, op.nearest))
                stripe = op._replace(out_h=rows, in_h=read)
            copied = float(weights[row]) * part.share
            full = len(found[row]) == 1 or not layer.moves("concat")
            sliced = row not in self.turns
            again = row > 0 and copied > 0 and self.owner[row] == self.owner[row - 1] and weights[row - 1] > 0
            made.append(Weighing(row, op, stripe, blocks, cycles, copied, sliced, False, choice, not opens, full, again, reader))
        return made

    def _schedule(self, a: int, capacity: float) -> Schedule:
        workload, size = self.workload, float(self.choices.tensor_bytes[a])
        found = [operations(workload, row, self.array, self.brick, int(size), int(size)) for row in range(len(workload.layers))]
        bytes_of = self.choices.weight_bytes[:, -1, a] * (self.homes.weights_at != ONCHIP)
        weights = Weights(
            lambda row, rows: self._weigh(found, bytes_of, row, rows),
            [beside(layer) for layer in workload.layers],
            self.array,
            self.homes,
        )
        if not self.homes.spills:
            return feature_maps.all_inside(workload, self.brick, size, weights, capacity)
        firsts = [each[0].operation if each else None for each in found]
        separate = self.array.buffers[0] > 0
        chain = feature_maps.chain_of(workload, self.brick, firsts, self.absorbed, int(size), separate)
        access = self._access(found, size > 1)
        planned = feature_maps.schedule(workload, self.brick, chain, size, access, capacity, weights, self.absorbed)
        for row, turn in self.turns.items():
            planned.inside[workload.layers[row].output] = planned.inside[workload.layers[turn].output]
        for row in map(int, np.flatnonzero(self.absorbed)):
            # What the output unit adds to was never stored: the convolution writes the sum.
            planned.inside[workload.layers[row - 1].output] = planned.inside[workload.layers[row].output]
        return planned
