"""Quick plans for the additive problem: bring a plan within its limits, then improve it by exchange moves.

These give the exact solver a good upper bound; nothing here is relied upon for optimality.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwsearch.search.exact.additive import AdditiveProblem

ROUNDING = 1e-12
"""Relative excess over a limit that is floating-point summation order, not a broken limit."""
_PAIRS = 64
"""Double changes that are priced exactly."""


def violation(costs: Mapping[str, np.ndarray], limits: Mapping[str, float]) -> np.ndarray:
    """Sum of relative excesses over the limits ``float64[P]``; zero where a plan is within all of them."""
    total = np.zeros(len(next(iter(costs.values()))))
    for name, limit in limits.items():
        unit = abs(limit) or 1.0
        excess = (costs[name] - limit) / unit
        total += np.where(excess > ROUNDING, excess, 0.0)
    return total


def feasible(costs: Mapping[str, np.ndarray], limits: Mapping[str, float]) -> np.ndarray:
    """``bool[P]``."""
    found: np.ndarray = violation(costs, limits) == 0
    return found


def repair(problem: AdditiveProblem, plan: np.ndarray, limits: Mapping[str, float], goal: str) -> np.ndarray:
    """Change one decision at a time, the one that buys most relief for the least objective, until the limits are met or nothing
    helps."""
    plan = np.asarray(plan, dtype=np.int64)
    asked = {goal, *limits}
    costs = problem.costs(plan[None], asked)
    broken, value = violation(costs, limits)[0], costs[goal][0]
    while broken > 0:
        costs = problem.costs_of_changes(plan, asked)
        left = violation(costs, limits)
        relief = broken - left
        price = np.maximum(costs[goal] - value, 0.0)
        helps = np.flatnonzero(relief > ROUNDING)
        if not len(helps):
            return plan
        # Relief beyond what is needed is worth nothing; free relief beats everything.
        best = helps[np.argmin((price[helps] + 1e-12 * abs(value)) / relief[helps])]
        plan, value, broken = problem.changed(plan, best), costs[goal][best], left[best]
    return plan


def improve(problem: AdditiveProblem, plan: np.ndarray, limits: Mapping[str, float], goal: str) -> np.ndarray:
    """Best single changes until none helps, then changes of two decisions at once, again until none helps."""
    plan, asked = np.asarray(plan, dtype=np.int64), {goal, *limits}
    while True:
        now = problem.costs(plan[None], asked)
        if not feasible(now, limits)[0]:
            return plan
        costs = problem.costs_of_changes(plan, asked)
        better = _better(costs, limits, goal, now[goal][0])
        if better is not None:
            plan = problem.changed(plan, better)
            continue
        pairs = _pairs(problem, plan, now, costs, limits, goal)
        better = _better(problem.costs(pairs, asked), limits, goal, now[goal][0]) if len(pairs) else None
        if better is None:
            return plan
        plan = pairs[better]


def _better(costs: Mapping[str, np.ndarray], limits: Mapping[str, float], goal: str, present: float) -> int | None:
    """Row of the best feasible plan that is strictly better than ``present``."""
    values = np.where(feasible(costs, limits), costs[goal], np.inf)
    best = int(np.argmin(values))
    return best if values[best] < present * (1 - 1e-12) else None


def _pairs(
    problem: AdditiveProblem,
    plan: np.ndarray,
    now: Mapping[str, np.ndarray],
    costs: Mapping[str, np.ndarray],
    limits: Mapping[str, float],
    goal: str,
) -> np.ndarray:
    """Promising double changes of ``plan``: one that lowers the objective and breaks a limit, one that pays for it, by
    first-order sums of the ``costs`` of single changes."""
    gain = now[goal][0] - costs[goal]
    raises, pays = np.flatnonzero(gain > 0), np.flatnonzero(gain <= 0)
    if not len(raises) or not len(pays):
        return np.empty((0, problem.decisions), dtype=np.int64)
    total = gain[raises][:, None] + gain[pays][None]
    total[total <= 0] = -np.inf
    for name, limit in limits.items():
        change = costs[name] - now[name][0]
        room = limit - now[name][0] + 1e-9 * (abs(limit) or 1.0)
        total[change[raises][:, None] + change[pays][None] > room] = -np.inf
    count = min(_PAIRS, int(np.isfinite(total).sum()))
    if not count:
        return np.empty((0, problem.decisions), dtype=np.int64)
    best = np.argpartition(total.ravel(), -count)[-count:]
    first = problem.changed(plan, raises[best // len(pays)])
    second = problem.changed(plan, pays[best % len(pays)])
    return np.where(first != plan, first, second)
