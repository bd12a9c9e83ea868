"""Working memory as a runtime really lays it out: every buffer in one static arena, whoever is in use at the same time apart.

``place`` is the planner of TensorFlow Lite Micro and of the exported C: buffers in order of falling size, each at the lowest
offset that is free as long as it is in use (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference",
2020, section 5.2). It leaves gaps. In residual networks, where one feature map outlives many, the arena is a quarter larger
than what is ever alive at once, so a bound by live ranges would call plans fitting that do not allocate.

What is in use when depends on the widths (a runtime may add a copy in another container between two layers), so a plan is laid
out by simulation: ``Arena.needed`` for many plans at a time. Sizes are not additive and not monotone: narrowing one tensor can
make the arena larger. Live ranges remain a lower bound (``CostTable.live``), which is what the exact solver reasons with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hwmodels.compiled import compiled

if TYPE_CHECKING:
    from hwmodels.workload import Workload

NONE = -1
"""Decision of what depends on no decision."""
MOST_KNOWN = 1 << 18
"""Layouts whose size is remembered; a search meets few different ones again and again."""


class When(NamedTuple):
    """On which choices something depends: two decisions of a plan, and a value for each pair of their choices, ``[C, C]``."""

    first: int
    second: int
    value: np.ndarray


class Buffers(NamedTuple):
    """An arena as the compiled loop reads it. B buffers, U uses, T tables of the runtime, C choices.

    ``size_at int64[B, 2]`` are the decisions that ``size float64[B, C, C]`` depends on, in bytes; 0: there is no buffer then.
    ``use_of``, ``use_time int64[U]``: a buffer and a step at which it is in use, where ``use_on bool[U, C, C]`` says so for the
    decisions ``use_at int64[U, 2]``. ``table_bytes float64[T, C, C]`` at ``table_at int64[T, 2]``: bytes that are always taken.
    """

    size_at: np.ndarray
    size: np.ndarray
    use_of: np.ndarray
    use_time: np.ndarray
    use_at: np.ndarray
    use_on: np.ndarray
    table_at: np.ndarray
    table_bytes: np.ndarray


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
    _known: dict[bytes, int] = field(default_factory=dict, init=False, repr=False)

    @property
    def least_tables_bytes(self) -> int:
        """What the runtime takes for itself under every plan."""
        least = 0.0
        for (first, second), table in zip(self.buffers.table_at, self.buffers.table_bytes, strict=True):
            least += float(np.diagonal(table).min() if first == second else table.min())
        return self.fixed_bytes + int(least)

    def needed(self, plans: np.ndarray) -> np.ndarray:
        """Bytes of the arena under each of ``plans int[P, D]``: ``int64[P]``."""
        plans = np.ascontiguousarray(np.atleast_2d(plans), dtype=np.int64)
        kinds = self.alike[np.arange(len(self.decisions)), plans[:, self.decisions]].astype(np.int8)
        different, first, back = np.unique(kinds, axis=0, return_index=True, return_inverse=True)
        keys = [kind.tobytes() for kind in different]
        new = [i for i, key in enumerate(keys) if key not in self._known]
        found = np.zeros(len(new), dtype=np.int64)
        _needed(_padded(plans[first[new]]), self.buffers, self.alignment, self.planning_bytes, found)
        if len(self._known) > MOST_KNOWN:
            known = {key: self._known[key] for key in keys if key in self._known}
            self._known.clear()
            self._known.update(known)
        self._known.update({keys[i]: int(size) + self.fixed_bytes for i, size in zip(new, found, strict=True)})
        return np.array([self._known[key] for key in keys], dtype=np.int64)[back.reshape(-1)]

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
        at = np.concatenate([self.buffers.size_at.ravel(), self.buffers.use_at.ravel(), self.buffers.table_at.ravel()])
        return np.unique(at[at >= 0])

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
        sizes, first, last = (np.zeros(len(self.names), dtype=np.int64) for _ in range(3))
        row = _padded(np.asarray(plan, dtype=np.int64)[None])[0]
        tables = _sizes(row, self.buffers, self.alignment, sizes, first, last)
        return Layout(self.names, sizes, first, last, place(sizes, first, last), self.tables, int(tables) + self.fixed_bytes)

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


def _padded(plans: np.ndarray) -> np.ndarray:
    """Plans with one more decision, whose choice is 0: ``NONE``, the last column, is it."""
    return np.concatenate([plans, np.zeros((len(plans), 1), dtype=np.int64)], axis=1)


@compiled
def place(sizes: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:  # pragma: no cover - compiled
    """Offsets ``int64[B]`` of buffers of ``sizes`` in use from step ``first`` to ``last``, both included; -1 for empty ones.

    Equal sizes keep their order.
    """
    count = len(sizes)
    offsets = np.full(count, -1)
    order = np.argsort(-sizes, kind="mergesort")
    # What is placed already, by rising offset.
    placed, held = np.zeros(count, dtype=np.int64), 0
    for buffer in order:
        size = sizes[buffer]
        if size <= 0:
            break
        offset = 0
        for k in range(held):
            other = placed[k]
            if first[other] > last[buffer] or first[buffer] > last[other]:
                continue
            if offsets[other] - offset >= size:
                break
            offset = max(offset, offsets[other] + sizes[other])
        offsets[buffer] = offset
        k = held
        while k > 0 and offsets[placed[k - 1]] > offset:
            placed[k] = placed[k - 1]
            k -= 1
        placed[k] = buffer
        held += 1
    return offsets


@compiled
def _sizes(
    plan: np.ndarray, buffers: Buffers, alignment: int, sizes: np.ndarray, first: np.ndarray, last: np.ndarray
) -> float:  # pragma: no cover - compiled
    """Fill aligned sizes and uses of the buffers under a plan; returns the bytes of the tables."""
    for b in range(len(sizes)):
        raw = buffers.size[b, plan[buffers.size_at[b, 0]], plan[buffers.size_at[b, 1]]]
        sizes[b] = np.int64(np.ceil(raw / alignment)) * alignment
    first[:] = np.iinfo(np.int64).max
    last[:] = -1
    for u in range(len(buffers.use_of)):
        if buffers.use_on[u, plan[buffers.use_at[u, 0]], plan[buffers.use_at[u, 1]]]:
            b, time = buffers.use_of[u], buffers.use_time[u]
            first[b] = min(first[b], time)
            last[b] = max(last[b], time)
    tables = 0.0
    for t in range(len(buffers.table_at)):
        tables += buffers.table_bytes[t, plan[buffers.table_at[t, 0]], plan[buffers.table_at[t, 1]]]
    return tables


@compiled
def _needed(
    plans: np.ndarray, buffers: Buffers, alignment: int, planning_bytes: int, found: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Fill ``found`` with the bytes of buffers and tables under each plan."""
    count = len(buffers.size)
    sizes, first, last = (np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64))
    for p in range(len(plans)):
        tables = _sizes(plans[p], buffers, alignment, sizes, first, last)
        offsets = place(sizes, first, last)
        top, existing = 0, 0
        for b in range(count):
            if sizes[b] > 0:
                top = max(top, offsets[b] + sizes[b])
                existing += 1
        found[p] = max(top, existing * planning_bytes) + np.int64(np.ceil(tables))


@dataclass
class Builder:
    """Collects what a runtime's arena holds, operator by operator in order of execution.

    ``choices``: the most choices that any decision has. A size or condition is a ``When``, or a number that holds always.
    """

    choices: int
    time: int = -1
    names: list[str] = field(default_factory=list)
    step_layer: list[int] = field(default_factory=list)
    _sizes: list[When] = field(default_factory=list)
    _uses: list[tuple[int, int, When]] = field(default_factory=list)
    _tables: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def always(self, value: float) -> When:
        return When(NONE, NONE, np.full((self.choices, self.choices), value))

    def buffer(self, name: str, size_bytes: When) -> int:
        """A buffer, in use at no step yet."""
        self.names.append(name)
        self._sizes.append(size_bytes)
        return len(self.names) - 1

    def step(self, layer: int) -> None:
        """The next step begins, of a layer."""
        self.time += 1
        self.step_layer.append(layer)

    def use(self, buffers: Sequence[int], on: When | None = None, time: int | None = None) -> None:
        """Buffers are in use at the present step (or at ``time``), where ``on`` is not zero."""
        for buffer in buffers:
            self._uses.append((buffer, self.time if time is None else time, on or self.always(1)))

    def table(self, size_bytes: When) -> None:
        """Bytes that the runtime takes beside the buffers."""
        at = size_bytes.first, size_bytes.second
        self._tables[at] = self._tables.get(at, np.zeros_like(size_bytes.value)) + size_bytes.value

    def lines(self, workload: Workload, size_bytes: Callable[[int, int], When]) -> None:
        """What a tile holds beside its own tensors (see ``Workload.held``): a part that always lies there, and one that does for
        some of the layers. ``size_bytes(tensor, pixels)``."""
        held = workload.held
        for row in sorted({tensor for tensors in held for tensor in tensors}):
            pixels = np.maximum([tensors.get(row, 0) for tensors in held], 0)[np.array(self.step_layer)]
            name = f"{workload.tensors[row].name}/rows"
            for size, steps in ((pixels.min(), pixels >= 0), (pixels.max() - pixels.min(), pixels > pixels.min())):
                if size > 0:
                    buffer = self.buffer(name, size_bytes(row, int(size)))
                    for step in np.flatnonzero(steps):
                        self.use([buffer], time=int(step))

    def build(
        self, *, alignment: int, fixed_bytes: int, planning_bytes: int = 0, later_first: bool = False, tables: str = "runtime"
    ) -> Arena:
        """The arena. Buffers of equal size are placed in the order in which they were added, or, ``later_first``, in reverse."""
        order = list(range(len(self.names)))[:: -1 if later_first else 1]
        order = [b for b in order if np.any(self._sizes[b].value > 0)]
        row = {b: i for i, b in enumerate(order)}
        uses = [use for use in self._uses if use[0] in row and np.any(use[2].value)]
        sizes, on = [self._sizes[b] for b in order], [use[2] for use in uses]
        buffers = Buffers(
            *_stacked(sizes, self.choices, np.float64),
            np.array([row[use[0]] for use in uses], dtype=np.int64),
            np.array([use[1] for use in uses], dtype=np.int64),
            *_stacked(on, self.choices, np.bool_),
            *_stacked([When(*at, value) for at, value in self._tables.items()], self.choices, np.float64),
        )
        layers = np.array(self.step_layer, dtype=np.int64)
        return Arena(tuple(self.names[b] for b in order), buffers, layers, alignment, fixed_bytes, planning_bytes, tables)


def _stacked(values: Sequence[When], choices: int, kind: type) -> tuple[np.ndarray, np.ndarray]:
    """The decisions ``int64[N, 2]`` and the values ``kind[N, C, C]``."""
    at = np.array([(value.first, value.second) for value in values], dtype=np.int64).reshape(len(values), 2)
    stacked: np.ndarray = np.array([value.value for value in values], dtype=kind).reshape(len(values), choices, choices)
    return at, np.ascontiguousarray(stacked)
