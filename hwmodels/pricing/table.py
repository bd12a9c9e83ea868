"""The cost table of a (device, workload, space), and its pricing of many plans at a time.

``estimate`` is one compiled loop over plans. Before it, layers that depend on the same three decisions are merged into one
entry, and schedule steps that can never be the peak are dropped; both are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from hwmodels.compiled import compiled
from hwmodels.errors import UsageError
from hwmodels.numbers import NumberFormat
from hwmodels.pricing.arena import Arena
from hwmodels.pricing.memory import worst_steps
from hwmodels.workload import Layer

BLOCK = 64
"""Plans priced together."""
TILE = 64
"""Decisions or entries of a block that are worked on together: they stay in the first-level cache, however deep the network."""


class Space(Protocol):
    """What the models need to know of a search space: widths on offer, and the names of its decisions in order."""

    @property
    def weight_bits(self) -> tuple[int, ...]: ...
    @property
    def activation_bits(self) -> tuple[int, ...]: ...
    @property
    def layer_names(self) -> tuple[str, ...]: ...
    @property
    def group_names(self) -> tuple[str, ...]: ...
    @property
    def weight_formats(self) -> tuple[NumberFormat, ...]: ...
    @property
    def tensor_formats(self) -> tuple[NumberFormat, ...]: ...


class Objectives(NamedTuple):
    """Prices of P plans: ``float64[P]`` seconds, ``int64[P]`` bytes, ``int64[P]`` bytes, ``float64[P]`` joules.

    Joules are NaN where they are not known.
    """

    latency_s: np.ndarray
    weight_bytes: np.ndarray
    peak_activation_bytes: np.ndarray
    energy_j: np.ndarray


class Packed(NamedTuple):
    """A table as the compiled loop reads it. T merged entries, S steps, N live groups of all steps together.

    ``prices float64[rows, 4]`` holds latency, weight bytes, energy of every choice of every entry (the fourth is padding).
    Entry t begins at row ``base[t]`` and moves by ``stride[t, k]`` rows per choice of decision ``decision[t, k]``.
    Step s has entries ``step_start[s]:step_start[s + 1]`` of ``live_group`` and ``live_elements``.
    """

    prices: np.ndarray
    base: np.ndarray
    decision: np.ndarray
    stride: np.ndarray
    step_start: np.ndarray
    live_group: np.ndarray
    live_elements: np.ndarray
    tensor_bytes: np.ndarray
    groups: int


@dataclass(frozen=True, eq=False)
class CostTable:
    """Price of every choice of every layer on one device. L layers, nW weight and nA activation widths, G width groups, S steps.

    Attributes:
        compute_s, weight_s, activation_s, overhead_s, latency_s, energy_j: ``float64[L, nW, nA, nA]``, indexed by layer, weight
            width, input width, output width. What overlaps in ``latency_s`` differs by class: on GPUs, NPUs and CPUs arithmetic
            and every memory port work side by side and the overhead is added; on microcontrollers all terms add up.
        weight_bytes: ``int64[L, nW, nA]``, stored weights, biases and per-channel scales, by weight and input width; weights of
            several layers with the first of them.
        constant_bytes: ``float64[L, nA, nA]``, stored operands and functions' numbers of a layer, by input and output width.
        weight_column: ``int64[L]``, weight decision of a layer, -1 for none; layers may share one.
        input_column, output_column: ``int64[L]``, width group of its (largest) input and of its output.
        live, step_layer: ``int64[S, G]``, elements of each group alive at each step; ``int64[S]``, the layer it belongs to.
        arenas: what the runtime's planner lays out, where it is known: one arena for each kind of tile; ``live`` and
            ``runtime_bytes`` then are a lower bound. Empty where the peak is that of the live ranges.
        stored_channels: ``int64[T]``, channels of each tensor as stored, filled up where the device does so.
        runtime_bytes: RAM that the runtime takes for itself, part of the peak.
        element_bytes: ``float64[nA]``, bytes per stored element of each width.
        inference_s, static_w: fixed time of an inference; power paid for it.
        limits: hard limits of the device in bytes, those it has: "weight_bytes", "peak_activation_bytes".
        runs_as: ``[L][nW][nA]``, the native precision that executes the choice.
        runs_on: ``[L][nW][nA]``, the other processor that the runtime hands it to; "" where it stays on the device.
        stored_as: ``[L][nW][nA]``, how the weights (or the tensor) are stored.
    """

    device: str
    layers: tuple[Layer, ...]
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    compute_s: np.ndarray
    weight_s: np.ndarray
    activation_s: np.ndarray
    overhead_s: np.ndarray
    latency_s: np.ndarray
    energy_j: np.ndarray
    weight_bytes: np.ndarray
    constant_bytes: np.ndarray
    weight_column: np.ndarray
    input_column: np.ndarray
    output_column: np.ndarray
    live: np.ndarray
    step_layer: np.ndarray
    arenas: tuple[Arena, ...]
    stored_channels: np.ndarray
    runtime_bytes: int
    element_bytes: np.ndarray
    inference_s: float
    static_w: float
    limits: Mapping[str, int]
    runs_as: Sequence[Sequence[Sequence[str]]]
    runs_on: Sequence[Sequence[Sequence[str]]]
    stored_as: Sequence[Sequence[Sequence[str]]]

    @property
    def weighted(self) -> int:
        """Number of weight decisions: the first columns of a plan."""
        return int(self.weight_column.max(initial=-1)) + 1

    @property
    def decisions(self) -> int:
        found: int = self.weighted + self.live.shape[1]
        return found

    def stored_bytes(self, layer: int) -> np.ndarray:
        """``float64[nW, nA, nA]``: everything that is stored for a layer; of one without weights alike for all their widths."""
        weights = self.weight_bytes[layer] if self.weight_column[layer] >= 0 else np.zeros_like(self.weight_bytes[layer])
        found: np.ndarray = weights[:, :, None] + self.constant_bytes[layer]
        return found

    def choice(self, layer: int, plan: np.ndarray) -> tuple[int, int, int]:
        """Indices (weight, input, output) of one layer in its tables under ``plan int[D]``."""
        weight = int(self.weight_column[layer])
        return (
            int(plan[weight]) if weight >= 0 else 0,
            int(plan[self.weighted + self.input_column[layer]]),
            int(plan[self.weighted + self.output_column[layer]]),
        )

    @cached_property
    def packed(self) -> Packed:
        """The table without what cannot matter, laid out for ``estimate``."""
        merged: dict[tuple[int, int, int], np.ndarray] = {}
        for row in range(len(self.layers)):
            weight, source, target = (int(c[row]) for c in (self.weight_column, self.input_column, self.output_column))
            price = np.zeros((*self.latency_s[row].shape, 4))
            price[..., 0], price[..., 1], price[..., 2] = self.latency_s[row], self.stored_bytes(row), self.energy_j[row]
            if weight < 0:
                price = price[:1]
            if source == target:
                price = np.stack([price[:, a, a] for a in range(price.shape[1])], axis=1)[:, :, None]
            key = (weight, source, target)
            merged[key] = merged[key] + price if key in merged else price
        base, decision, stride, prices, total = [], [], [], [], 0
        for (weight, source, target), price in merged.items():
            _, inputs, outputs, _ = price.shape
            base.append(total)
            decision.append((max(weight, 0), self.weighted + source, self.weighted + target))
            stride.append((inputs * outputs if weight >= 0 else 0, outputs, 1 if outputs > 1 else 0))
            prices.append(price.reshape(-1, 4))
            total += len(prices[-1])
        steps = worst_steps(self.live)
        step, group = np.nonzero(steps)
        return Packed(
            np.ascontiguousarray(np.concatenate(prices)) if prices else np.zeros((0, 4)),
            np.array(base, dtype=np.uint32),
            np.array(decision, dtype=np.uint64).reshape(-1, 3),
            np.array(stride, dtype=np.uint32).reshape(-1, 3),
            np.searchsorted(step, np.arange(len(steps) + 1)).astype(np.uint64),
            group.astype(np.uint64),
            steps[step, group].astype(np.float64),
            self.element_bytes,
            self.live.shape[1],
        )


@compiled
def _estimate(
    plans: np.ndarray, packed: Packed, latency: np.ndarray, stored: np.ndarray, energy: np.ndarray, peak: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Add the price of ``plans uint8[P, D]`` to the four outputs. Plans go in blocks, decisions turned into columns, so that the
    row numbers and the memory sums are computed many at a time; only the look-ups are one by one. Unsigned indices spare the
    test for negative ones."""
    decisions, entries, groups = plans.shape[1], packed.base.shape[0], packed.groups
    first_group = decisions - groups
    columns = np.zeros((decisions, BLOCK), dtype=np.uint32)
    rows = np.zeros((entries, BLOCK), dtype=np.uint32)
    sizes = np.zeros((groups, BLOCK))
    alive, most, sums = np.zeros(BLOCK), np.zeros(BLOCK), np.zeros((BLOCK, 3))
    prices = packed.prices
    for begin in range(0, plans.shape[0], BLOCK):
        count = min(BLOCK, plans.shape[0] - begin)
        for left in range(0, decisions, TILE):
            for i in range(count):
                for d in range(left, min(left + TILE, decisions)):
                    columns[d, i] = plans[begin + i, d]
        for t in range(entries):
            weight, source, target = (
                columns[packed.decision[t, 0]],
                columns[packed.decision[t, 1]],
                columns[packed.decision[t, 2]],
            )
            base, by_weight, by_source, by_target = packed.base[t], packed.stride[t, 0], packed.stride[t, 1], packed.stride[t, 2]
            row = rows[t]
            for i in range(BLOCK):
                row[i] = np.uint32(base + weight[i] * by_weight + source[i] * by_source + target[i] * by_target)
        sums[:] = 0.0
        for top in range(0, entries, TILE):
            for i in range(count):
                seconds = size = joules = 0.0
                for t in range(top, min(top + TILE, entries)):
                    at = rows[t, i]
                    seconds += prices[at, 0]
                    size += prices[at, 1]
                    joules += prices[at, 2]
                sums[i, 0] += seconds
                sums[i, 1] += size
                sums[i, 2] += joules
        for i in range(count):
            latency[begin + i] += sums[i, 0]
            stored[begin + i] += np.int64(np.rint(sums[i, 1]))
            energy[begin + i] += sums[i, 2]
        for g in range(groups):
            for i in range(count):
                sizes[g, i] = packed.tensor_bytes[columns[first_group + g, i]]
        most[:] = 0.0
        for s in range(packed.step_start.shape[0] - 1):
            alive[:] = 0.0
            for n in range(packed.step_start[s], packed.step_start[s + 1]):
                elements, size_of = packed.live_elements[n], sizes[packed.live_group[n]]
                for i in range(BLOCK):
                    alive[i] += elements * size_of[i]
            for i in range(BLOCK):
                most[i] = max(most[i], alive[i])
        for i in range(count):
            peak[begin + i] += np.int64(np.ceil(most[i]))


def estimate(table: CostTable, plans: ArrayLike) -> Objectives:
    """Price plans.

    Args:
        plans: ``int8[P, D]`` (or one ``int8[D]``), choice indices as a search space makes them.
    Returns:
        Arrays of P. Batched and one by one give the same numbers, to the last bit.
    Raises:
        UsageError: the plans have not D columns, or a choice that does not exist.
    """
    rows = np.ascontiguousarray(np.atleast_2d(np.asarray(plans)), dtype=np.int8)
    if rows.shape[1] != table.decisions:
        raise UsageError(f"plans with {rows.shape[1]} decisions for a table with {table.decisions}")
    if len(rows):
        # Negative choices are large as unsigned numbers.
        highest = rows.view(np.uint8).max(axis=0)
        offered = np.repeat((len(table.weight_bits), len(table.activation_bits)), (table.weighted, table.live.shape[1]))
        wrong = np.flatnonzero(highest >= offered)
        if len(wrong):
            raise UsageError(f"plans choose what is not on offer, in decisions {', '.join(map(str, wrong[:8]))}")
    count = len(rows)
    latency = np.full(count, table.inference_s)
    energy = np.full(count, table.inference_s * table.static_w)
    stored, peak = np.zeros(count, dtype=np.int64), np.full(count, table.runtime_bytes, dtype=np.int64)
    _estimate(rows.view(np.uint8), table.packed, latency, stored, energy, peak)
    if table.arenas:
        peak = needed(table.arenas, rows)
    return Objectives(latency, stored, peak, energy)


def needed(arenas: Sequence[Arena], plans: np.ndarray) -> np.ndarray:
    """Bytes that the largest of some arenas takes under ``plans int[P, D]``: ``int64[P]``."""
    found: np.ndarray = np.max([arena.needed(plans) for arena in arenas], axis=0)
    return found


def estimate_chunks(table: CostTable, chunks: Iterable[np.ndarray]) -> Iterator[Objectives]:
    """Price more plans than fit in memory: ``estimate`` of one chunk ``int8[P, D]`` at a time, none of which is kept."""
    for plans in chunks:
        yield estimate(table, plans)


def stored_name(bits: float) -> str:
    """Stored width in words: ``"4 bit"``, ``"4.2 bit"``."""
    return f"{math.floor(bits * 10 + 0.5) / 10:g} bit"
