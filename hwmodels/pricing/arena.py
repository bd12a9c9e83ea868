"""Working memory as a runtime really lays it out: every buffer in one static arena, whoever is in use at the same time apart.

The planner (``placement``) leaves gaps. In residual networks, where one feature map outlives many, the arena is a quarter larger
than what is ever alive at once, so a bound by live ranges would call plans fitting that do not allocate.

What is in use when depends on the widths (a runtime may add a copy in another container between two layers), so a plan is laid
out by simulation: ``Arena.needed`` for many plans at a time. Sizes are not additive and not monotone: narrowing one tensor can
make the arena larger. Live ranges remain a lower bound (``CostTable.live``), which is what the exact solver reasons with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from hwmodels.pricing import placement
from hwmodels.pricing.placement import Buffers


class When(NamedTuple):
    """On which choices something depends: two decisions of a plan, and a value for each pair of their choices, ``[C, C]``."""

    first: int
    second: int
    value: np.ndarray


@dataclass(frozen=True, eq=False)
class Arena:
    """The working memory of one workload under one runtime.

    Attributes:
        names: of the buffers; equal sizes are placed in this order.
        buffers: their sizes and uses, and the tables.
        step_layer: ``int64[S]``, the layer that each step belongs to.
        alignment: to what sizes and offsets are rounded up, bytes.
        fixed_bytes: what the runtime takes for any network.
        planning_bytes: memory that the runtime needs while it plans, in place of the buffers, bytes for each buffer.
        tables: what is taken beside the buffers, in words.
    """

    names: tuple[str, ...]
    buffers: Buffers
    step_layer: np.ndarray
    alignment: int
    fixed_bytes: int
    planning_bytes: int = 0
    tables: str = "runtime"

    @property
    def least_tables_bytes(self) -> int:
        """What the runtime takes for itself under every plan."""
        least = 0.0
        for (first, second), table in zip(self.buffers.table_at, self.buffers.table_bytes, strict=True):
            least += float(np.diagonal(table).min() if first == second else table.min())
        return self.fixed_bytes + int(least)

    def needed(self, plans: np.ndarray) -> np.ndarray:
        """Bytes of the arena under each of ``plans int[P, D]``: ``int64[P]``."""
        found = np.zeros(len(plans := np.atleast_2d(plans)), dtype=np.int64)
        placement.needed(self._columns(plans), self._prepared, self.planning_bytes, found)
        return found + self.fixed_bytes

    @property
    def most_bytes(self) -> int:
        """No plan takes more: every buffer at its largest, and none where another one is."""
        largest = np.ceil(self.buffers.size.max(axis=(1, 2), initial=0.0) / self.alignment).sum() * self.alignment
        tables = self.buffers.table_bytes.max(axis=(1, 2), initial=0.0).sum()
        planning = self.planning_bytes * len(self.names)
        found: int = self.fixed_bytes + math.ceil(max(largest, planning) + tables)
        return found

    def floor(self, first_group: int, groups: int) -> np.ndarray:
        """Bytes that are in use at each step whatever the planner does, as sums over width groups: ``float64[S, G, C]``.

        Groups are the decisions from ``first_group`` on. Counted is what is there under every plan, at its least over decisions
        that are no groups; what no group decides is put to the first one.
        """
        own, choices = self.buffers, self.buffers.size.shape[1]
        steps = np.zeros((len(self.step_layer), groups, choices))

        def add(rows: slice, at: np.ndarray, size: np.ndarray) -> None:
            axis = next((axis for axis in (0, 1) if at[axis] >= first_group), None)
            if axis is None or at[1 - axis] >= first_group:
                steps[rows, 0] += np.diagonal(size).min() if at[0] == at[1] else size.min()
            else:
                steps[rows, at[axis] - first_group] += size.min(axis=1 - axis)

        sure = own.use_on.all(axis=(1, 2))
        for buffer, size in enumerate(np.ceil(own.size / self.alignment) * self.alignment):
            times = own.use_time[sure & (own.use_of == buffer)]
            if len(times):
                add(slice(int(times.min()), int(times.max()) + 1), own.size_at[buffer], size)
        for at, size in zip(own.table_at, own.table_bytes, strict=True):
            add(slice(None), at, size)
        steps[:, :1] += self.fixed_bytes
        return steps

    def beside(self, size_bytes: When) -> Arena:
        """This arena, and bytes beside it that are always taken."""
        at = np.concatenate([self.buffers.table_at, [[size_bytes.first, size_bytes.second]]])
        table = np.concatenate([self.buffers.table_bytes, size_bytes.value[None]])
        return replace(self, buffers=self.buffers._replace(table_at=at, table_bytes=table))

    @cached_property
    def decisions(self) -> np.ndarray:
        """The decisions that anything depends on, in order."""
        return self.buffers.decisions

    @cached_property
    def _prepared(self) -> placement.Prepared:
        return placement.prepared(self.buffers, self.alignment)

    def _columns(self, plans: np.ndarray) -> np.ndarray:
        """The decisions of ``plans int[P, D]`` that matter and one that is always 0: ``uint8[P, N + 1]``."""
        rows = np.zeros((len(plans), len(self.decisions) + 1), dtype=np.uint8)
        rows[:, :-1] = plans[:, self.decisions]
        return rows

    @cached_property
    def alike(self) -> np.ndarray:
        """For each of ``decisions`` and each choice the first choice that makes the same arena: ``int64[N, C]``."""
        own = self.buffers
        choices = own.size.shape[1]
        kinds = np.zeros((len(self.decisions), choices), dtype=np.int64)
        for row, decision in enumerate(self.decisions):
            seen: dict[bytes, int] = {}
            for choice in range(choices):
                parts = [
                    np.take(values[at[:, axis] == decision], choice, axis=axis + 1)
                    for at, values in ((own.size_at, own.size), (own.use_at, own.use_on), (own.table_at, own.table_bytes))
                    for axis in range(2)
                ]
                kinds[row, choice] = seen.setdefault(b"".join(part.tobytes() for part in parts), choice)
        return kinds

    def layout(self, plan: np.ndarray) -> Layout:
        """Where everything lies under one ``plan int[D]``."""
        ranks, first, last = (np.zeros(len(self.names), dtype=np.int64) for _ in range(3))
        tables = placement.ranks_and_uses(self._columns(np.atleast_2d(plan))[0], self._prepared, ranks, first, last)
        sizes = self._prepared.falling[ranks]
        offsets = placement.place(sizes, first, last)
        return Layout(self.names, sizes, first, last, offsets, self.tables, int(tables) + self.fixed_bytes)

    def schedule(self, plan: np.ndarray, layers: int) -> list[dict[str, int]]:
        """For each layer what the arena holds at its busiest step, in bytes by name: buffers in use, the gaps below the highest
        of them, and the runtime's own tables."""
        found = self.layout(plan)
        busiest: list[dict[str, int]] = [{} for _ in range(layers)]
        for step, layer in enumerate(self.step_layer):
            held = found.at(step)
            if sum(held.values()) >= sum(busiest[layer].values()):
                busiest[layer] = held
        return busiest


@dataclass(frozen=True, eq=False)
class Layout:
    """Buffers in an arena: bytes, first and last step of use, and offsets (-1 where there is none), ``int64[B]`` each."""

    names: tuple[str, ...]
    sizes: np.ndarray
    first: np.ndarray
    last: np.ndarray
    offsets: np.ndarray
    tables: str
    tables_bytes: int

    def at(self, step: int) -> dict[str, int]:
        """Bytes by name of what is in use at one step."""
        rows = [i for i in np.flatnonzero(self.sizes) if self.first[i] <= step <= self.last[i]]
        held: dict[str, int] = {}
        for row in rows:
            held[self.names[row]] = held.get(self.names[row], 0) + int(self.sizes[row])
        top = max((int(self.offsets[row] + self.sizes[row]) for row in rows), default=0)
        if top > sum(held.values()):
            held["gaps"] = top - sum(held.values())
        if self.tables_bytes:
            held[self.tables] = self.tables_bytes
        return held
