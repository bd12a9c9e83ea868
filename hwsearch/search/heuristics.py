"""Quick plans for the additive problem: bring a plan within its limits, then improve it by exchange moves.

These give the exact solver a good upper bound; nothing here is relied upon for optimality.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwsearch.search.additive import AdditiveProblem

ROUNDING = 1e-12
"""Relative excess over a limit that is floating-point summation order, not a broken limit."""
_PAIRS = 20_000


def violation(costs: Mapping[str, np.ndarray], limits: Mapping[str, float]) -> np.ndarray:
    """Sum of relative excesses over the limits ``float64[P]``; zero where a plan is within all of them."""
    total = np.zeros(len(costs["noise"]))
    for name, limit in limits.items():
        unit = abs(limit) or 1.0
        excess = (costs[name] - limit) / unit
        total += np.where(excess > ROUNDING, excess, 0.0)
    return total


def feasible(costs: Mapping[str, np.ndarray], limits: Mapping[str, float]) -> np.ndarray:
    """``bool[P]``."""
    return violation(costs, limits) == 0


def repair(problem: AdditiveProblem, plan: np.ndarray, limits: Mapping[str, float], goal: str) -> np.ndarray:
    """Change one decision at a time, the one that buys most relief for the least objective, until the limits are met or nothing
    helps."""
    plan = np.asarray(plan, dtype=np.int64)
    costs = problem.costs(plan[None])
    broken, value = violation(costs, limits)[0], costs[goal][0]
    while broken > 0:
        around = problem.neighbours(plan)
        if not len(around):
            return plan
        costs = problem.costs(around)
        relief = broken - violation(costs, limits)
        price = np.maximum(costs[goal] - value, 0.0)
        helps = np.flatnonzero(relief > 0)
        if not len(helps):
            return plan
        # Relief beyond what is needed is worth nothing; free relief beats everything.
        best = helps[np.argmin((price[helps] + 1e-12 * abs(value)) / relief[helps])]
        plan, value = around[best], costs[goal][best]
        broken = broken - relief[best] if violation(costs, limits)[best] > 0 else 0.0
    return plan


def improve(problem: AdditiveProblem, plan: np.ndarray, limits: Mapping[str, float], goal: str) -> np.ndarray:
    """Best single changes until none helps, then changes of two decisions at once, again until none helps."""
    plan = np.asarray(plan, dtype=np.int64)
    while True:
        around = problem.neighbours(plan)
        costs = problem.costs(np.concatenate([plan[None], around]))
        allowed = feasible(costs, limits)
        if not allowed[0]:
            return plan
        better = _best(costs, allowed, goal)
        if better:
            plan = around[better - 1]
            continue
        pairs = _pairs(around, plan, costs, limits, goal)
        if not len(pairs):
            return plan
        costs = problem.costs(np.concatenate([plan[None], pairs]))
        better = _best(costs, feasible(costs, limits), goal)
        if not better:
            return plan
        plan = pairs[better - 1]


def _best(costs: Mapping[str, np.ndarray], allowed: np.ndarray, goal: str) -> int:
    """Row of the best allowed plan, 0 (the present one) unless another is strictly better."""
    values = np.where(allowed, costs[goal], np.inf)
    best = int(np.argmin(values))
    return best if values[best] < values[0] * (1 - 1e-12) else 0


def _pairs(
    around: np.ndarray, plan: np.ndarray, costs: Mapping[str, np.ndarray], limits: Mapping[str, float], goal: str
) -> np.ndarray:
    """Promising double changes: one that lowers the objective and breaks a limit, one that pays for it, by first-order sums."""
    gain = costs[goal][0] - costs[goal][1:]
    raises, pays = np.flatnonzero(gain > 0), np.flatnonzero(gain <= 0)
    if not len(raises) or not len(pays):
        return around[:0]
    total = gain[raises][:, None] + gain[pays][None]
    total[total <= 0] = -np.inf
    slack = {name: (limit - costs[name][0]) + 1e-9 * (abs(limit) or 1.0) for name, limit in limits.items()}
    for name, room in slack.items():
        change = costs[name][1:] - costs[name][0]
        total[change[raises][:, None] + change[pays][None] > room] = -np.inf
    count = min(64, int(np.isfinite(total).sum()), _PAIRS)
    if not count:
        return around[:0]
    best = np.argpartition(total.ravel(), -count)[-count:]
    first, second = around[raises[best // len(pays)]], around[pays[best % len(pays)]]
    return np.where(first != plan, first, second)
