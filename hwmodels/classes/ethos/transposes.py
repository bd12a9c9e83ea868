"""Axes in another order, in the steps that a documented array takes.

A step exchanges two of the three innermost axes (Ethos-U55, U65), or puts the three into any order (U85). More axes are sorted by
exchanges, each of which merges neighbours so that the two stand at the ends of three axes: what is not there is moved to the left
or right end first, and back again.

Facts from Arm's compiler (ethos-u-vela 5.2.0, Apache-2.0: decomposition of transposes); see ``blocks``.

Example: a picture of 36x132 pixels and 2x2 blocks of 3 values, (36, 132, 2, 6) in the order (0, 2, 1, 3), takes five steps: the
second axis to the left end, the third to the right, both exchanged, and the two moved back.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from hwmodels.workload import Move, Piece, Workload

Axes = tuple[int, ...]


class Step(NamedTuple):
    """A turn of three axes ``shape`` (height, width, channels) into ``order``."""

    shape: Axes
    order: Axes


def steps(shape: Axes, axes: Axes, *, any_order: bool) -> list[Step]:
    """How ``shape`` gets its axes into the order ``axes``; empty where no value moves.

    Args:
        any_order: three axes are put into any order at once.
    """
    places = [i for i in range(len(shape)) if shape[i] > 1]
    moved = [i for i in axes if i in places]
    if moved == sorted(moved):
        return []
    if len(places) > 3:
        # All axes are sorted then, but for outer ones of a single value.
        places = list(range(places[0], len(shape)))
    order = [places.index(i) for i in axes if i in places]
    sizes = [shape[i] for i in places]
    if len(sizes) <= 3 and (any_order or sum(i != place for i, place in enumerate(order)) == 2):
        spare = 3 - len(sizes)
        return [Step((*[1] * spare, *sizes), (*range(spare), *(i + spare for i in order)))]
    found: list[Step] = []
    # Where each axis that stands at a place belongs.
    goal = [order.index(i) for i in range(len(order))]
    for place in range(len(sizes)):
        if goal[place] != place:
            there = goal.index(place)
            found += _exchange(sizes, place, there)
            sizes[place], sizes[there] = sizes[there], sizes[place]
            goal[place], goal[there] = goal[there], goal[place]
    return found


def _exchange(sizes: list[int], a: int, b: int) -> Iterator[Step]:
    """Steps that exchange axes ``a`` < ``b``."""
    last = len(sizes) - 1
    if len(sizes) <= 3:
        order = [0, 1, 2]
        spare = 3 - len(sizes)
        order[a + spare], order[b + spare] = order[b + spare], order[a + spare]
        yield Step((*[1] * spare, *sizes), tuple(order))
    elif (a, b) == (0, 1):
        yield Step((sizes[0], sizes[1], prod(sizes[2:])), (1, 0, 2))
    elif (a, b) == (last - 1, last):
        yield Step((prod(sizes[:-2]), *sizes[-2:]), (0, 2, 1))
    elif a != 0:
        yield Step((prod(sizes[:a]), sizes[a], prod(sizes[a + 1 :])), (1, 0, 2))
        moved = [sizes[a], *sizes[:a], *sizes[a + 1 :]]
        yield from _exchange(moved, 0, b)
        moved[0], moved[b] = moved[b], moved[0]
        yield Step((moved[0], prod(moved[1 : a + 1]), prod(moved[a + 1 :])), (1, 0, 2))
    elif b != last:
        yield Step((prod(sizes[:b]), sizes[b], prod(sizes[b + 1 :])), (0, 2, 1))
        moved = [*sizes[:b], *sizes[b + 1 :], sizes[b]]
        yield from _exchange(moved, 0, last)
        moved[0], moved[-1] = moved[-1], moved[0]
        yield Step((prod(moved[:b]), prod(moved[b:-1]), moved[-1]), (0, 2, 1))
    else:
        yield Step((sizes[0], prod(sizes[1:-1]), sizes[-1]), (2, 1, 0))


def pieces(workload: Workload, row: int, *, any_order: bool) -> list[Piece]:
    """One piece for every step that a transpose takes; a view where no value moves."""
    work = workload.layers[row].work
    if not (isinstance(work, Move) and work.how == "transpose" and work.shape):
        return []
    target, found = workload.tensors[workload.layers[row].output], []
    taken = steps(work.shape, work.axes, any_order=any_order)
    if not taken:
        return [Piece(Move("view"), (0,), (target.channels, target.height, target.width))]
    for number, step in enumerate(taken):
        height, width, channels = (step.shape[i] for i in step.order)
        found.append(Piece(Move("transpose", *step), (0 if number == 0 else -1,), (channels, height, width)))
    return found
