"""The additive problem by HiGHS: its linear relaxation, and the integer program of what no bound has excluded.

Objectives are scaled to about 1e4 before they meet the solver's absolute tolerances (1e-6): raw damage near 1e-10 would make
every plan look equal. Where memory is what a runtime's planner lays out, the program knows a lower bound of it and is told more
by cuts (``planned``), ``ROUNDS`` times at most; then the best plan so far is returned with the gap that is left.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from hwsearch.search.exact import planned
from hwsearch.search.exact.additive import MEMORY, AdditiveProblem
from hwsearch.search.exact.heuristics import feasible
from hwsearch.search.exact.program import IntegerProgram
from hwsearch.search.silenced import quiet_stdout

ROUNDS = 16
PROVEN = 1e-9
"""Relative difference of bound and plan that is order of summation, or the solver's tolerance: the plan is proven."""
_SCALE = 1e4


@dataclass(frozen=True, eq=False)
class Solution:
    """A plan ``int8[D]``, its objective, the proven lower bound, and the relative gap between them."""

    plan: np.ndarray
    objective: float
    bound: float

    @property
    def gap(self) -> float:
        return 0.0 if self.objective <= self.bound else (self.objective - self.bound) / max(abs(self.objective), 1e-300)


def value_of(problem: AdditiveProblem, plan: np.ndarray | None, goal: str) -> float:
    return float("inf") if plan is None else float(problem.costs(plan[None], {goal})[goal][0])


def best_of(problem: AdditiveProblem, plans: Sequence[np.ndarray], limits: Mapping[str, float], goal: str) -> np.ndarray | None:
    """The feasible plan with the smallest objective."""
    costs = problem.costs(np.stack(plans), {goal, *limits})
    usable = np.flatnonzero(feasible(costs, limits))
    return plans[usable[np.argmin(costs[goal][usable])]] if len(usable) else None


def solution(problem: AdditiveProblem, plan: np.ndarray, goal: str, bound: float) -> Solution:
    value = value_of(problem, plan, goal)
    # The solver's absolute tolerance, brought back to the objective's unit, is no gap.
    near = value - bound <= PROVEN * abs(value)
    return Solution(plan.astype(np.int8), value, value if near else min(bound, value))


def _bounds(
    program: IntegerProgram, limits: Mapping[str, float], goal: str
) -> tuple[np.ndarray, sparse.csr_matrix, np.ndarray, float]:
    """``cost @ v`` to minimise (unscaled), ``rows @ v <= right`` scaled to about 1e4, and the constant of the objective.

    A last column is added for the peak where it takes part in the objective.
    """
    peak = goal in ("peak_activation_bytes", "memory_bytes")
    name = {"memory_bytes": "weight_bytes"}.get(goal, goal)
    cost = np.zeros(program.columns + peak)
    constant = 0.0
    if name in program.coefficients:
        cost[: program.columns] = program.coefficients[name]
        constant = program.constants[name]
    rows, right = [], []

    def limit(row: sparse.csr_matrix, value: float | np.ndarray, unit: float) -> None:
        padding = sparse.csr_matrix((row.shape[0], peak))
        rows.append(sparse.hstack([row, padding]) * (_SCALE / unit))
        right.append(np.full(row.shape[0], value) * (_SCALE / unit))

    if peak:
        cost[-1] = 1.0
        unit = max(abs(program.steps).sum(axis=1).max(), 1.0)
        rows.append(sparse.hstack([program.steps, -np.ones((program.steps.shape[0], 1))]) * (_SCALE / unit))
        right.append(np.zeros(program.steps.shape[0]))
    for objective, value in limits.items():
        if objective == "peak_activation_bytes":
            limit(program.steps, value, max(value, 1.0))
            continue
        name = "weight_bytes" if objective == "memory_bytes" else objective
        row = sparse.csr_matrix(program.coefficients[name][None])
        if objective == "memory_bytes":
            row = program.steps + sparse.vstack([row] * program.steps.shape[0])
        budget = value - program.constants[name]
        limit(row, budget, abs(budget) or float(abs(row).max()) or 1.0)
    if not rows:
        return cost, sparse.csr_matrix((0, len(cost))), np.zeros(0), constant
    return cost, sparse.vstack(rows).tocsr(), np.concatenate(right), constant


def _scale(cost: np.ndarray, size: float) -> float:
    """Factor that brings objective values of about ``size`` to ``_SCALE``."""
    if np.isfinite(size) and size > 0:
        return _SCALE / size
    positive = cost[cost > 0]
    return _SCALE / float(np.median(positive)) if len(positive) else 1.0


def _padded(program: IntegerProgram, extra: int) -> sparse.csr_matrix:
    return sparse.hstack([program.equalities, sparse.csr_matrix((program.equalities.shape[0], extra))]).tocsr()


def relax(
    program: IntegerProgram, limits: Mapping[str, float], goal: str, size: float, allowed: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray] | None:
    """The linear relaxation: its value, by how much each one-hot column would raise it at least, and the point. None if
    infeasible."""
    cost, rows, right, constant = _bounds(program, limits, goal)
    extra = len(cost) - program.columns
    scale = _scale(cost, size)
    upper = np.full(len(cost), np.inf)
    # No upper bounds but those of excluded choices: the equalities imply them, and the reduced costs then are whole.
    upper[: program.binaries][~allowed] = 0.0
    result = linprog(
        cost * scale,
        A_ub=rows if rows.shape[0] else None,
        b_ub=right if rows.shape[0] else None,
        A_eq=_padded(program, extra),
        b_eq=program.right,
        bounds=np.stack([np.zeros(len(cost)), upper], axis=1),
        method="highs",
    )
    if result.status == 2:
        return None
    if result.status != 0:
        return -np.inf, np.zeros(program.binaries), np.zeros(program.columns)
    reduced = result.lower.marginals[: program.columns]
    return result.fun / scale + constant, program.excess(reduced) / scale, result.x[: program.columns]


def close(
    problem: AdditiveProblem,
    program: IntegerProgram,
    limits: Mapping[str, float],
    goal: str,
    incumbent: np.ndarray | None,
    allowed: np.ndarray,
    gap: float,
) -> Solution | None:
    """Solve the integer program; a solution that breaks a limit by the solver's tolerance is cut off and the search goes on."""
    cost, rows, right, constant = _bounds(program, limits, goal)
    extra = len(cost) - program.columns
    scale = _scale(cost, value_of(problem, incumbent, goal) - constant)
    constraints = [LinearConstraint(_padded(program, extra), program.right, program.right)]
    if rows.shape[0]:
        constraints.append(LinearConstraint(rows, -np.inf, right))
    integral = np.zeros(len(cost))
    integral[: program.binaries] = 1
    upper = np.concatenate([allowed, np.ones(program.columns - program.binaries), np.full(extra, np.inf)])
    known = incumbent
    for attempt in itertools.count():
        with quiet_stdout():
            result = milp(
                cost * scale, integrality=integral, bounds=Bounds(0, upper), constraints=constraints, options={"mip_rel_gap": gap}
            )
        if result.x is None:
            # Everything else was excluded as worse than the incumbent, or there is nothing.
            return None if known is None else solution(problem, known, goal, value_of(problem, known, goal))
        plan = program.plan(result.x)
        found = (result.mip_dual_bound if result.mip_dual_bound is not None else result.fun) / scale + constant
        fits = best_of(problem, [plan], limits, goal) is not None
        if fits:
            known = plan if known is None else best_of(problem, [known, plan], limits, goal)
        closed = fits and (goal not in MEMORY or not problem.arenas or found >= value_of(problem, known, goal) * (1 - PROVEN))
        if closed or (problem.arenas and attempt >= ROUNDS):
            return None if known is None else solution(problem, known, goal, found)
        row, most = planned.cut(problem, program, plan, limits, goal, value_of(problem, known, goal), len(cost))
        constraints.append(LinearConstraint(row[None], -np.inf, most))
    raise AssertionError("unreachable")
