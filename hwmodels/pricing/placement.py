"""Where buffers lie in one arena: in order of falling size, each at the lowest offset that is free as long as it is in use.

This is the planner of TensorFlow Lite Micro and of the exported C (Pisarchyk and Lee, "Efficient Memory Management for Deep
Neural Net Inference", 2020, section 5.2). For example, with sizes and steps of use (both included)::

    a  60  0..1      at 0
    b  50  2..4      at 0 as well: a is gone by then
    c  40  1..2      beside a and b, at 60
    d  30  2..3      beside b and c: too large for the gap from 50 to 60, at 100

takes 130 bytes, where never more than 120 are in use (step 2).

Many plans are laid out in a row, so all that no plan changes is prepared once: sizes are ranked, which makes sorting a matter of
counting, and each buffer knows the few others that it can ever meet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.compiled import compiled

NONE = -1
"""Decision of what depends on no decision."""
NEVER = np.iinfo(np.int64).max


class Buffers(NamedTuple):
    """What an arena holds under which choices. B buffers, U uses, T tables of the runtime, C choices.

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

    @property
    def decisions(self) -> np.ndarray:
        """The decisions that anything depends on, in order."""
        at = np.concatenate([self.size_at.ravel(), self.use_at.ravel(), self.table_at.ravel()])
        return np.unique(at[at >= 0])


class Prepared(NamedTuple):
    """``Buffers`` as the compiled loop reads them. R different sizes; plans have the columns of ``Buffers.decisions`` and a last
    one, always 0, for ``NONE``.

    ``rank int64[B, C, C]`` tells sizes by their row in ``falling int64[R + 1]``, rounded up, the largest first and 0 at last.
    ``first``, ``last int64[B]`` span the uses under every plan; ``use_*`` are the others. ``near[near_from[b]:near_from[b + 1]]``
    are the buffers that ``b`` meets in time under any plan.
    """

    size_at: np.ndarray
    rank: np.ndarray
    falling: np.ndarray
    first: np.ndarray
    last: np.ndarray
    use_of: np.ndarray
    use_time: np.ndarray
    use_at: np.ndarray
    use_on: np.ndarray
    near_from: np.ndarray
    near: np.ndarray
    table_at: np.ndarray
    table_bytes: np.ndarray


def prepared(buffers: Buffers, alignment: int) -> Prepared:
    """What no plan changes, done once; sizes are rounded up to ``alignment`` bytes."""
    count, decisions = len(buffers.size), buffers.decisions

    def columns(at: np.ndarray) -> np.ndarray:
        return np.where(at == NONE, len(decisions), np.searchsorted(decisions, at))

    size = np.ceil(buffers.size / alignment).astype(np.int64) * alignment
    rising = np.unique([0, *size.ravel()])
    sure = buffers.use_on.all(axis=(1, 2))
    first, last = _spans(count, buffers.use_of[sure], buffers.use_time[sure])
    at_most = _spans(count, buffers.use_of, buffers.use_time)
    return Prepared(
        columns(buffers.size_at),
        len(rising) - 1 - np.searchsorted(rising, size),
        np.ascontiguousarray(rising[::-1]),
        first,
        last,
        buffers.use_of[~sure],
        buffers.use_time[~sure],
        columns(buffers.use_at[~sure]),
        buffers.use_on[~sure],
        *_near(*at_most),
        columns(buffers.table_at),
        buffers.table_bytes,
    )


def place(sizes: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Offsets ``int64[B]`` of buffers of ``sizes`` in use from step ``first`` to ``last``, both included; -1 for empty ones.

    Equal sizes keep their order.
    """
    order = np.argsort(-sizes, kind="stable")
    offsets = np.full(len(sizes), -1)
    _place(order[sizes[order] > 0], sizes, first, last, *_near(first, last), offsets)
    return offsets


def _spans(count: int, use_of: np.ndarray, use_time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last use of each of ``count`` buffers; ``NEVER`` and -1 without any."""
    first, last = np.full(count, NEVER), np.full(count, -1)
    np.minimum.at(first, use_of, use_time)
    np.maximum.at(last, use_of, use_time)
    return first, last


def _near(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each buffer the others whose spans it meets, as rows in one list."""
    meet = (first[:, None] <= last) & (first <= last[:, None])
    np.fill_diagonal(meet, False)
    return np.concatenate([[0], meet.sum(axis=1).cumsum()]), np.nonzero(meet)[1]


@compiled
def _place(
    order: np.ndarray,
    sizes: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    near_from: np.ndarray,
    near: np.ndarray,
    offsets: np.ndarray,
) -> int:  # pragma: no cover - compiled
    """Fill ``offsets``, -1 before, of the buffers in ``order``; returns the highest end."""
    top = 0
    starts, ends = np.empty(len(sizes), dtype=np.int64), np.empty(len(sizes), dtype=np.int64)
    for buffer in order:
        size, offset, beside = sizes[buffer], 0, 0
        for k in range(near_from[buffer], near_from[buffer + 1]):
            other = near[k]
            if offsets[other] >= 0 and first[other] <= last[buffer] and first[buffer] <= last[other]:
                starts[beside], ends[beside] = offsets[other], offsets[other] + sizes[other]
                beside += 1
        # Whoever lies in the way pushes the buffer behind itself: nothing in between is free, whatever the order of asking.
        moved = True
        while moved:
            moved = False
            for k in range(beside):
                if starts[k] < offset + size and ends[k] > offset:
                    offset, moved = ends[k], True
        offsets[buffer] = offset
        top = max(top, offset + size)
    return top


@compiled
def ranks_and_uses(
    plan: np.ndarray, own: Prepared, ranks: np.ndarray, first: np.ndarray, last: np.ndarray
) -> float:  # pragma: no cover - compiled
    """Fill ranks of size and uses of the buffers under a plan; returns the bytes of the tables."""
    for b in range(len(ranks)):
        ranks[b] = own.rank[b, plan[own.size_at[b, 0]], plan[own.size_at[b, 1]]]
        first[b], last[b] = own.first[b], own.last[b]
    for u in range(len(own.use_of)):
        if own.use_on[u, plan[own.use_at[u, 0]], plan[own.use_at[u, 1]]]:
            b, time = own.use_of[u], own.use_time[u]
            first[b] = min(first[b], time)
            last[b] = max(last[b], time)
    tables = 0.0
    for t in range(len(own.table_at)):
        tables += own.table_bytes[t, plan[own.table_at[t, 0]], plan[own.table_at[t, 1]]]
    return tables


@compiled
def needed(plans: np.ndarray, own: Prepared, planning_bytes: int, found: np.ndarray) -> None:  # pragma: no cover - compiled
    """Fill ``found int64[P]`` with the bytes of buffers and tables under each of ``plans uint8[P, N + 1]``; while planning, the
    runtime takes ``planning_bytes`` for each buffer in their place."""
    count, empty = len(own.first), len(own.falling) - 1
    ranks, sizes, order = (np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64))
    first, last, offsets = (np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64))
    begins = np.zeros(empty + 2, dtype=np.int64)
    for p in range(len(plans)):
        tables = ranks_and_uses(plans[p], own, ranks, first, last)
        # Sorted by counting: buffers of one size keep their order.
        begins[:] = 0
        for b in range(count):
            begins[ranks[b] + 1] += 1
        for rank in range(empty):
            begins[rank + 1] += begins[rank]
        existing = begins[empty]
        for b in range(count):
            sizes[b], offsets[b] = own.falling[ranks[b]], -1
            order[begins[ranks[b]]] = b
            begins[ranks[b]] += 1
        top = _place(order[:existing], sizes, first, last, own.near_from, own.near, offsets)
        found[p] = max(top, existing * planning_bytes) + np.int64(np.ceil(tables))
