"""Cuts that teach the integer program what an arena really takes.

The program knows live ranges, a lower bound of the arena that the runtime's planner lays out. A solution that fits by this bound
and not in truth is cut off, with everything else that certainly does not fit: choices are let go one after the other as long as
all combinations of what was let go are too large. Nothing that fits is ever cut off, so the solver's proof stands.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from hwmodels.pricing.table import needed
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.heuristics import ROUNDING
from hwsearch.search.exact.program import IntegerProgram

COMBINATIONS = 256
"""Layouts that are tried to widen one cut."""


def cut(
    problem: AdditiveProblem,
    program: IntegerProgram,
    plan: np.ndarray,
    limits: Mapping[str, float],
    goal: str,
    best: float,
    columns: int,
) -> tuple[np.ndarray, float]:
    """``row float64[columns] @ v <= right`` that excludes a plan ``int64[D]`` and what its arena proves useless.

    Args:
        best: the smallest value of the goal that is known; matters where the goal is memory.
    """
    costs = problem.costs(plan[None])
    peak, weights = float(costs["peak_activation_bytes"][0]), float(costs["weight_bytes"][0])
    row = np.zeros(columns)
    if problem.arenas and peak > limits.get("peak_activation_bytes", np.inf) * (1 + ROUNDING):
        held = _widened(problem, program, plan, limits["peak_activation_bytes"] * (1 + ROUNDING))
    elif problem.arenas and goal == "peak_activation_bytes" and peak >= best:
        held = _widened(problem, program, plan, best * (1 - ROUNDING))
    elif problem.arenas and goal != "memory_bytes" and weights + peak > limits.get("memory_bytes", np.inf) * (1 + ROUNDING):
        # With this arena, the weights have to be smaller; with another one, the row says nothing.
        held, coefficients = _decisions(problem), program.coefficients["weight_bytes"]
        room = limits["memory_bytes"] - peak - program.constants["weight_bytes"]
        # What weights can be beyond the room, which an arena above the limit makes negative.
        largest = float(np.abs(coefficients).sum()) + max(0.0, -room)
        _same(problem, program, plan, held, row)
        row[: len(coefficients)] += coefficients / largest
        return row, room / largest + len(held)
    elif problem.arenas and goal == "memory_bytes":
        # The solver's plan is the best one with this arena.
        held = _decisions(problem)
    else:
        # It broke a limit by the solver's tolerance: this plan alone is meant.
        row[program.starts + [int(np.flatnonzero(own == c)[0]) for own, c in zip(program.options, plan, strict=True)]] = 1.0
        return row, problem.decisions - 1.0
    _same(problem, program, plan, held, row)
    return row, len(held) - 1.0


def _decisions(problem: AdditiveProblem) -> np.ndarray:
    """Decisions that the arenas depend on."""
    return np.unique(np.concatenate([arena.decisions for arena in problem.arenas]))


def _alike(problem: AdditiveProblem, decision: int, choice: int, choices: Sequence[int]) -> list[int]:
    """Those of ``choices`` of a decision that make the same arena as ``choice``."""
    found = list(map(int, choices))
    for arena in problem.arenas:
        row = np.searchsorted(arena.decisions, decision)
        if row < len(arena.decisions) and arena.decisions[row] == decision:
            found = [other for other in found if arena.alike[row, other] == arena.alike[row, choice]]
    return found


def _same(problem: AdditiveProblem, program: IntegerProgram, plan: np.ndarray, held: np.ndarray, row: np.ndarray) -> None:
    """Put a one at every choice of the decisions ``held`` that makes the same arena as the plan's."""
    for decision in map(int, held):
        own = program.options[decision]
        same = _alike(problem, decision, int(plan[decision]), own.tolist())
        row[program.starts[decision] + np.flatnonzero(np.isin(own, same))] = 1.0


def _widened(problem: AdditiveProblem, program: IntegerProgram, plan: np.ndarray, limit: float) -> np.ndarray:
    """A subset of the arenas' decisions whose choices in ``plan`` alone make every arena larger than ``limit``."""
    held, count = list(map(int, _decisions(problem))), 1
    free: list[tuple[int, list[int]]] = []
    for decision in list(held):
        kinds = _kinds(problem, decision, program.options[decision].tolist())
        if count * len(kinds) > COMBINATIONS:
            continue
        tried = [*free, (decision, kinds)]
        rows = np.repeat(plan[None].astype(np.int64), count * len(kinds), axis=0)
        rows[:, [d for d, _ in tried]] = list(itertools.product(*(choices for _, choices in tried)))
        if needed(problem.arenas, rows).min() > limit:
            free, count = tried, count * len(kinds)
            held.remove(decision)
    return np.array(held, dtype=np.int64)


def _kinds(problem: AdditiveProblem, decision: int, choices: Sequence[int]) -> list[int]:
    """One of each kind of choices that make different arenas."""
    left, found = list(choices), []
    while left:
        found.append(left[0])
        same = _alike(problem, decision, left[0], left)
        left = [choice for choice in left if choice not in same]
    return found
