"""What an allocator is: how it is listed, what it may look at, and the ladder of plans that it answers with.

The published rules share one form. Each has a number that is turned until a budget holds (a threshold, a water level, a base
width), and every position of it is a plan. So a rule is asked for all of its plans at once, from the widest to the narrowest: a
ladder. Which rung is taken follows from the budget alone (see ``rung``), in the same way for every rule.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hwsearch.search.exact.heuristics import feasible
from searchspaces.space import PlanRow, distinct, matrix

if TYPE_CHECKING:
    from hwsearch.quality.damage import Damage
    from hwsearch.quant.calibrate import Calibration
    from hwsearch.search.exact.additive import AdditiveProblem
    from searchspaces.space import SearchSpace
    from searchspaces.tasks.task import Sample, Task


@dataclass(frozen=True, eq=False)
class Grounds:
    """What an allocator may look at.

    Attributes:
        calibration: the network, calibrated; samples: what it was calibrated on, as proxies take them.
        damage: damage of every choice by the proxy of that name, measured once.
        problem: prices of plans on the target; cost: the objective that bits are to save (see ``additive.OBJECTIVES``).
    """

    calibration: Calibration
    samples: Sequence[Sample]
    task: Task
    seed: int
    damage: Callable[[str], Damage]
    problem: AdditiveProblem
    cost: str

    @property
    def space(self) -> SearchSpace:
        return self.calibration.space


Ladder = Callable[[Grounds], list[PlanRow]]
"""Plans from the widest to the narrowest."""


@dataclass(frozen=True)
class AllocatorInfo:
    """An allocator as it is listed. ``source``: paper; ``reconstructed``: what no source tells and is ours (empty: nothing);
    ``measures``: what it takes to build the ladder.

    ``place``: where among the built-in ones it is listed; ``function``: its ladder, by default that of the built-in file of its
    name, imported when it is first used.
    """

    name: str
    summary: str
    source: str
    measures: str
    reconstructed: str = ""
    place: int = 0
    function: Ladder | None = field(default=None, compare=False)

    def ladder(self, grounds: Grounds) -> list[PlanRow]:
        """All plans of the rule, from the widest to the narrowest, each once."""
        built_in = f"hwsearch.search.allocate.{self.name}"
        function: Ladder = self.function or importlib.import_module(built_in).ladder
        return distinct(function(grounds))


def rung(
    ladder: Sequence[PlanRow],
    problem: AdditiveProblem,
    limits: Mapping[str, float],
    loses_db: Callable[[PlanRow], float],
    most_db: float,
) -> PlanRow | None:
    """The rung that a budget picks: the widest plan within ``limits``; or with no limits the narrowest that loses at most
    ``most_db``; None where no rung will do.

    The loss is taken to grow along the ladder, as the rules' authors do: it is bisected, and the plan that is returned was
    measured.
    """
    if limits:
        within = np.flatnonzero(feasible(problem.costs(matrix(ladder)), limits))
        return ladder[within[0]] if len(within) else None
    good, bad = -1, len(ladder)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if loses_db(ladder[middle]) <= most_db else (good, middle)
    return ladder[good] if good >= 0 else None


def by_levels(space: SearchSpace, level: np.ndarray) -> list[PlanRow]:
    """The ladder of a rule that gives every decision the narrowest of its choices whose level is at most a common one.

    Args:
        level: ``float64[D, C]``; a decision's widest choice is always on offer.
    """
    level = np.array(level, dtype=np.float64)
    for decision in range(space.decisions):
        level[decision, space.choices(decision)[-1]] = -np.inf
    narrowest = _at(space, level, np.inf)
    common = np.unique(level[space.allowed])
    return [*(_at(space, level, one) for one in common), narrowest]


def _at(space: SearchSpace, level: np.ndarray, common: float) -> PlanRow:
    taken = (level <= common) & space.allowed
    return space.row(taken.argmax(axis=1))  # choices ascend in width


WIDEST_BASE = 8
"""Rules about a base width are about those of at most a byte."""


def bases(space: SearchSpace) -> list[PlanRow]:
    """Plans of one width everywhere, one for each width on offer up to ``WIDEST_BASE``, the widest first."""
    widths = sorted({bits for bits in (*space.weight_bits, *space.activation_bits) if bits <= WIDEST_BASE}, reverse=True)
    return distinct(space.uniform(bits, bits) for bits in widths)


def stepped(base: PlanRow, steps: Mapping[int, int]) -> PlanRow:
    """A plan with some decisions moved by steps among the widths that are on offer for them, as far as there are any."""
    space, plan = base.space, list(base)
    for decision, step in steps.items():
        options = space.choices(decision)
        at = int(np.flatnonzero(options == base[decision])[0]) + int(step)
        plan[decision] = int(options[min(max(at, 0), len(options) - 1)])
    return space.row(plan)
