"""Where the codes of a moved tensor lie in memory: what a move is to a loop that copies.

Tensors have shapes as in the graph, the batch included; a tensor's *order* says which of its axes comes first in memory, which
next, and so on: ``(0, 2, 3, 1)`` for a picture with its channels last. Every operator that only moves codes, on tensors of any
order, is a table of offsets for each axis of its output: output ``[i, j, ...]`` is read at ``base + rows[i] + columns[j] + ...``.
The operator itself tells them: it is executed on the places of its input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from searchspaces.ops.base import Shape

Order = tuple[int, ...]
LAST: Order = (0, 2, 3, 1)
"""Of a picture with its channels last."""
HOLE = -1
"""In place of an offset: nothing of the input goes there, but zero."""


def natural(rank: int) -> Order:
    """Axes in memory as in the graph."""
    return tuple(range(rank))


def inner_axis(rank: int, axis: int) -> Order:
    """The order with ``axis`` as the innermost, the others as in the graph."""
    axis %= rank
    return (*(other for other in range(rank) if other != axis), axis)


def in_memory(shape: Shape, order: Order) -> np.ndarray:
    """Place of every element of a tensor, ``int64[shape]``."""
    stored = np.arange(math.prod(shape)).reshape([shape[axis] for axis in order])
    return stored.transpose(np.argsort(order))


@dataclass(frozen=True)
class Copies:
    """A move as copies of ``run`` codes that lie together, for every combination of places on some axes.

    Attributes:
        base: the first place of the input.
        tables: offsets for each axis, outer axes first; ``HOLE`` where zeros go. At least one.
    """

    base: int
    tables: tuple[np.ndarray, ...]
    run: int


def copies(move: Callable[[Tensor], Tensor], shape: Shape, order: Order, target: Order) -> Copies:
    """What ``move`` does to a tensor of ``shape`` and ``order``, for an output in the order ``target``."""
    marked = torch.from_numpy(in_memory(shape, order) + 1.0)  # floating point: torch pads nothing else
    moved = move(marked).numpy().astype(np.int64) - 1  # what was put around it is zero
    return separated(np.ascontiguousarray(moved.transpose(target)))


def separated(places: np.ndarray) -> Copies:
    """Tables for ``places int64[output in memory]``; one table of all places where axes depend on each other."""
    tables, base = _tables(places)
    if not np.array_equal(_sums(tables, base), places):
        (tables, base) = _tables(places.reshape(-1))
    return _joined(tables, base)


def _tables(places: np.ndarray) -> tuple[list[np.ndarray], int]:
    first = tuple(int(at) for at in np.unravel_index(int(np.argmax(places >= 0)), places.shape))
    tables, base = [], int(places[first])
    for axis in range(places.ndim):
        line = np.moveaxis(places, axis, -1)[first[:axis] + first[axis + 1 :]]
        least = int(line[line >= 0].min())
        tables.append(np.where(line < 0, HOLE, line - least))
        base += least - int(places[first])
    return tables, base


def _sums(tables: Sequence[np.ndarray], base: int) -> np.ndarray:
    total, hole = np.array(base), np.array(False)
    for table in tables:
        total = total[..., None] + table
        hole = hole[..., None] | (table < 0)
    return np.where(hole, HOLE, total)


def _joined(tables: list[np.ndarray], base: int) -> Copies:
    """Axes of one place are none, and inner axes whose places lie together are one run."""
    kept = [table for table in tables if len(table) > 1 or table[0] < 0]
    run = 1
    while kept and np.array_equal(kept[-1], run * np.arange(len(kept[-1]))):
        run *= len(kept.pop())
    return Copies(base, tuple(kept) or (np.zeros(1, np.int64),), run)


@dataclass(frozen=True)
class Broadcast:
    """An operand that is smaller than the result: every code ``inner`` times, and all ``count`` of them from the start again."""

    inner: int
    count: int


def broadcast(shape: Shape, order: Order, whole: Shape, target: Order) -> Broadcast | None:
    """How a tensor is repeated to the shape ``whole``, as it lies in memory; None where no two numbers tell."""
    count = math.prod(shape)
    padded = in_memory(shape, order).reshape((1,) * (len(whole) - len(shape)) + tuple(shape))
    flat = np.broadcast_to(padded, whole).transpose(target).reshape(-1)
    other = np.flatnonzero(flat != flat[0])
    inner = int(other[0]) if len(other) else len(flat)
    return Broadcast(inner, count) if np.array_equal(flat, np.arange(len(flat)) // inner % count) else None
