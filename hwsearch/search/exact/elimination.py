"""The least sum of small tables over all plans, and the least with each single choice, by eliminating one decision after another.

Every table depends on a few decisions. Taking a decision out leaves, for each combination of its neighbours, the least that it
and what went before it add: one more small table. So a network whose layers stand in a row, in blocks, or around one long skip
connection is minimised exactly in microseconds (Bertele and Brioschi, "Nonserial Dynamic Programming", 1972); on the way back
every decision learns what the rest of the network adds to each of its choices.

Example: A, B and C with tables f(A, B) and g(B, C).

    f       B=0  B=1     A goes first: it adds m(B) = (1, 2) at least, with A=1 beside B=0 and A=0 beside B=1.
    A=0       3    2     B goes next, beside C: m(B) + g(B, C) is (1+4, 1+0) for B=0 and (2+1, 2+5) for B=1,
    A=1       1    6     so it leaves (3, 1) for C, which takes C=1: the least sum is 1, of the plan A=1, B=0, C=1.
    g       C=0  C=1
    B=0       4    0     Back: with C=0 the sum is 3 at least, with B=1 too (m + g = 3), with A=0 it is min(3 + 0, 2 + 1) = 3.
    B=1       1    5
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.compiled import compiled

LARGEST = 4096
"""Combinations that one step may look at; networks in which more decisions meet are not for this method."""


@dataclass(frozen=True, eq=False)
class Least:
    """The least sum, the plan that has it as positions among the options ``int64[D]``, and the least sum with each option of each
    decision ``float64[N]``, decision after decision."""

    value: float
    positions: np.ndarray
    with_option: np.ndarray


class Elimination:
    """An order in which decisions are taken out, and where every number then stands.

    Args:
        sizes: number of options of each decision.
        scopes: the decisions that each table depends on, distinct; a table is in C order over the options of its own.
    Raises:
        ValueError: a step would have to look at more than ``LARGEST`` combinations.
    """

    def __init__(self, sizes: Sequence[int], scopes: Sequence[tuple[int, ...]]) -> None:
        self.sizes = np.array(sizes, dtype=np.int64)
        lengths = [int(np.prod([sizes[d] for d in scope], dtype=np.int64)) for scope in scopes]
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.scopes = list(scopes)
        self._place(*_ordered(sizes, scopes))
        # Where a plan's entry of each table stands: its first position plus stride times position for each decision.
        self._read = np.full((len(scopes), max(map(len, scopes), default=1)), len(sizes), dtype=np.int64)
        self._stride = np.zeros_like(self._read)
        for table, scope in enumerate(scopes):
            self._read[table, : len(scope)] = scope
            self._stride[table, : len(scope)] = _strides([sizes[d] for d in scope])

    def _place(self, order: list[int], neighbours: list[tuple[int, ...]]) -> None:
        """Lay out the steps: what each reads, and through which indices."""
        at = {decision: step for step, decision in enumerate(order)}
        waiting: list[list[tuple[int, tuple[int, ...], int]]] = [[] for _ in order]  # (first number, scope, step that left it)
        for table, scope in enumerate(self.scopes):
            if scope:
                waiting[min(at[d] for d in scope)].append((int(self.starts[table]), scope, -1))
        numbers = int(self.starts[-1])
        steps: list[tuple[int, ...]] = []
        inputs: list[tuple[int, int, int]] = []
        maps, filled = [], 0
        for step, (decision, around) in enumerate(zip(order, neighbours, strict=True)):
            joint = (decision, *around)
            shape = [int(self.sizes[d]) for d in joint]
            size = int(np.prod(shape))
            first_input = len(inputs)
            for start, scope, source in waiting[step]:
                inputs.append((start, filled, source))
                maps.append(_indices(joint, shape, scope, self.sizes))
                filled += size
            steps.append((decision, shape[0], size, numbers, first_input, len(inputs)))
            if around:
                waiting[min(at[d] for d in around)].append((numbers, around, step))
            numbers += size // shape[0]
        self._steps, self._inputs = np.array(steps, dtype=np.int64), np.array(inputs, dtype=np.int64).reshape(-1, 3)
        self._maps = np.concatenate(maps) if maps else np.zeros(0, dtype=np.int64)
        self._numbers = numbers
        self._first = np.concatenate([[0], np.cumsum(self._steps[:, 2])]).astype(np.int64)
        self._option = np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)
        self._around = np.full((len(order), max(map(len, neighbours), default=0)), -1, dtype=np.int64)
        for step, around in enumerate(neighbours):
            self._around[step, : len(around)] = around

    def least(self, tables: np.ndarray) -> Least:
        """Of ``tables float64[starts[-1]]``, one after another."""
        numbers = np.zeros(self._numbers)
        numbers[: len(tables)] = tables
        positions, found = np.zeros(len(self.sizes), dtype=np.int64), np.zeros(self._option[-1])
        value: float = _eliminate(  # type: ignore[no-untyped-call]  # compiled: numba infers its types
            numbers, self._steps, self._inputs, self._maps, self._first, self._around, self.sizes, self._option, positions, found
        )
        constant = sum(float(tables[self.starts[i]]) for i, scope in enumerate(self.scopes) if not scope)
        return Least(value + constant, positions, found + constant)

    def entries(self, positions: np.ndarray) -> np.ndarray:
        """Where in the tables the entries of a plan ``int64[D]`` stand: ``int64[tables]``."""
        padded = np.append(positions, 0)
        found: np.ndarray = self.starts[:-1] + (self._stride * padded[self._read]).sum(axis=1)
        return found


def _ordered(sizes: Sequence[int], scopes: Sequence[tuple[int, ...]]) -> tuple[list[int], list[tuple[int, ...]]]:
    """Decisions in the order in which they go, always one with the fewest combinations of neighbours, and those neighbours."""
    beside: list[set[int]] = [set() for _ in sizes]
    for scope in scopes:
        for decision in scope:
            beside[decision].update(scope)
    for decision, own in enumerate(beside):
        own.discard(decision)
    work = {d: _combinations(sizes, own) for d, own in enumerate(beside)}
    order, neighbours = [], []
    while work:
        decision = min(work, key=work.__getitem__)
        around = beside[decision]
        if work.pop(decision) * sizes[decision] > LARGEST:
            raise ValueError("too many decisions meet")
        order.append(decision)
        neighbours.append(tuple(sorted(around)))
        for other in around:
            beside[other] |= around
            beside[other] -= {decision, other}
            work[other] = _combinations(sizes, beside[other])
    return order, neighbours


def _combinations(sizes: Sequence[int], decisions: set[int]) -> int:
    found = 1
    for decision in decisions:
        found *= sizes[decision]
    return found


def _strides(shape: Sequence[int]) -> list[int]:
    return [int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape))]


def _indices(joint: tuple[int, ...], shape: Sequence[int], scope: tuple[int, ...], sizes: np.ndarray) -> np.ndarray:
    """For each combination of ``joint`` the position in a table over ``scope``: ``int64[combinations]``."""
    strides = dict(zip(scope, _strides([int(sizes[d]) for d in scope]), strict=True))
    found = np.zeros(shape, dtype=np.int64)
    for axis, decision in enumerate(joint):
        if decision in strides:
            found += (np.arange(shape[axis]) * strides[decision]).reshape([-1] + [1] * (len(shape) - axis - 1))
    return found.ravel()


@compiled
def _eliminate(  # type: ignore[no-untyped-def]  # compiled: numba infers its types
    numbers, steps, inputs, maps, first, around, sizes, option, positions, found
):  # pragma: no cover - compiled
    """Forward: what every step sees, and what it leaves. Back: what the rest adds. Returns the least sum; fills ``positions`` and
    ``found``."""
    seen = np.zeros(first[-1])
    total = 0.0
    for s in range(len(steps)):
        _, own, size, left, begin, end = steps[s]
        here = seen[first[s] : first[s + 1]]
        for i in range(begin, end):
            start, at, _ = inputs[i]
            for p in range(size):
                here[p] += numbers[start + maps[at + p]]
        rest = size // own
        for q in range(rest):
            least = here[q]
            for c in range(1, own):
                least = min(least, here[c * rest + q])
            numbers[left + q] = least
        if around.shape[1] == 0 or around[s, 0] < 0:
            total += numbers[left]
    parent = np.full(len(steps), -1)
    through = np.zeros(len(steps), np.int64)
    for s in range(len(steps)):
        for i in range(steps[s, 4], steps[s, 5]):
            if inputs[i, 2] >= 0:
                parent[inputs[i, 2]], through[inputs[i, 2]] = s, inputs[i, 1]
    for s in range(len(steps) - 1, -1, -1):
        decision, own, size, left, _, _ = steps[s]
        rest = size // own
        here = seen[first[s] : first[s + 1]]
        # The plan: neighbours have decided already.
        q = 0
        for k in range(around.shape[1]):
            if around[s, k] >= 0:
                q = q * sizes[around[s, k]] + positions[around[s, k]]
        for c in range(own):
            if here[c * rest + q] < here[positions[decision] * rest + q]:
                positions[decision] = c
        # The rest of the network, added to what this step sees.
        outside = np.full(rest, np.inf)
        if parent[s] < 0:
            outside[0] = total
        else:
            above, at = parent[s], through[s]
            for p in range(steps[above, 2]):
                outside[maps[at + p]] = min(outside[maps[at + p]], seen[first[above] + p])
        for q in range(rest):
            outside[q] -= numbers[left + q]
        for c in range(own):
            least = np.inf
            for q in range(rest):
                here[c * rest + q] += outside[q]
                least = min(least, here[c * rest + q])
            found[option[decision] + c] = least
    return total
