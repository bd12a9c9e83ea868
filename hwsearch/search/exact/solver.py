"""Exact minimisation of one objective of the additive problem under limits on any of the others.

Three steps: a heuristic plan gives an upper bound; the linear relaxation gives a lower bound and reduced costs, by which most
choices are excluded for good; HiGHS closes what is left with a relative gap of 0. Objectives are scaled to about 1e4 before they
meet the solver's absolute tolerances (1e-6): raw damage near 1e-10 would make every plan look equal. The bound that is returned
is proven. Where memory is what a runtime's planner lays out, the program knows a lower bound of it and is told more by cuts
(``planned``), ``ROUNDS`` times at most; then the best plan so far is returned with the gap that is left.

Example of the second step: the best plan known makes noise 100, and the relaxation proves that no plan makes less than 97. A
choice whose reduced costs say that every plan with it makes at least 5 more than the relaxation (``Program.excess``) leads to 102
or more: it is in no better plan, and its column leaves the program before HiGHS sees it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from hwmodels.errors import BudgetError
from hwsearch.search import pareto
from hwsearch.search.exact import planned
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.heuristics import feasible, improve, repair
from hwsearch.search.exact.program import Program
from hwsearch.search.silenced import quiet_stdout

ROUNDS = 16
_SCALE = 1e4
_SAFETY = 1e-6
"""Relative margin by which a choice must be worse than the best known plan before it is excluded: the solver's tolerance."""


@dataclass(frozen=True, eq=False)
class Solution:
    """A plan ``int8[D]``, its objective, the proven lower bound, and the relative gap between them."""

    plan: np.ndarray
    objective: float
    bound: float

    @property
    def gap(self) -> float:
        return 0.0 if self.objective <= self.bound else (self.objective - self.bound) / max(abs(self.objective), 1e-300)


class Solver:
    """Solves one additive problem again and again under changing limits; matrices are built once for each set of limited
    objectives.

    Args:
        gap: how far from its proven bound the noise of a plan may be, as a share of it. Layers that are alike make ties that take
            long to tell apart, and a damage table is not exact to its last digit.
    """

    def __init__(self, problem: AdditiveProblem, gap: float = 0.0) -> None:
        self.problem, self.gap = problem, gap
        self._programs: dict[frozenset[str], Program] = {}

    def solve(self, limits: Mapping[str, float], goal: str = "noise", warm: Sequence[np.ndarray] = ()) -> Solution:
        """As the function ``solve``."""
        found = self.minimum(limits, goal, warm)
        if found is None:
            raise infeasible([self], limits)
        return found

    def minimum(self, limits: Mapping[str, float], goal: str = "noise", warm: Sequence[np.ndarray] = ()) -> Solution | None:
        """As ``solve``; None where no plan meets the limits."""
        problem = self.problem
        limits = {name: float(limit) for name, limit in limits.items() if np.isfinite(limit)}
        program = self._program(frozenset({goal, *limits}))
        gap = self.gap if goal == "noise" else 0.0
        starts = list(warm) or [_cheapest(problem, program.options, goal)]
        incumbent = _best(
            problem, [improve(problem, repair(problem, plan, limits, goal), limits, goal) for plan in starts], limits, goal
        )
        allowed = np.ones(program.binaries, dtype=bool)
        for _ in range(2):
            relaxed = _relax(program, limits, goal, _value(problem, incumbent, goal), allowed)
            if relaxed is None:
                break
            bound, excess, point = relaxed
            rounded = improve(problem, repair(problem, program.plan(point), limits, goal), limits, goal)
            incumbent = _best(problem, [rounded, *([] if incumbent is None else [incumbent])], limits, goal)
            if incumbent is None:
                break
            best = _value(problem, incumbent, goal)
            if gap and best - bound <= gap * best:
                return Solution(incumbent.astype(np.int8), best, min(bound, best))
            before = int(allowed.sum())
            allowed &= excess <= best - bound + _SAFETY * max(abs(best), abs(bound))
            if allowed.sum() > 0.8 * before:
                break
        return _close(problem, program, limits, goal, incumbent, allowed, gap)

    def _program(self, objectives: frozenset[str]) -> Program:
        if objectives not in self._programs:
            options = _undominated(self.problem, set(objectives))
            self._programs[objectives] = Program(self.problem, options, sorted(objectives))
        return self._programs[objectives]


def infeasible(solvers: Sequence[Solver], limits: Mapping[str, float]) -> BudgetError:
    """Why no plan meets ``limits`` in any of the problems: for each limit the exact minimum, alone or, where it could be met
    alone, with the others."""

    def best(within: Mapping[str, float], name: str) -> float | None:
        found = [solver.minimum(within, name) for solver in solvers]
        return min((solution.objective for solution in found if solution is not None), default=None)

    facts = []
    for name, limit in limits.items():
        alone = best({}, name)
        if alone is not None and alone > limit:
            facts.append(
                f"{pareto.label(name)}: the best reachable value is {_shown(name, alone)}, asked for {_shown(name, limit)}"
            )
    if not facts:
        for name, limit in limits.items():
            others = best({other: value for other, value in limits.items() if other != name}, name)
            if others is not None:
                facts.append(
                    f"{pareto.label(name)}: within the other budgets the best is {_shown(name, others)}, "
                    f"asked for {_shown(name, limit)}"
                )
    return BudgetError("no plan meets the budget\n  " + "\n  ".join(facts), "Raise the budget, or allow narrower widths.")


def _value(problem: AdditiveProblem, plan: np.ndarray | None, goal: str) -> float:
    return float("inf") if plan is None else float(problem.costs(plan[None])[goal][0])


def _best(problem: AdditiveProblem, plans: Sequence[np.ndarray], limits: Mapping[str, float], goal: str) -> np.ndarray | None:
    """The feasible plan with the smallest objective."""
    costs = problem.costs(np.stack(plans))
    usable = np.flatnonzero(feasible(costs, limits))
    return plans[usable[np.argmin(costs[goal][usable])]] if len(usable) else None


def _cheapest(problem: AdditiveProblem, options: Sequence[np.ndarray], goal: str) -> np.ndarray:
    """A plan to start from: least noise, or the narrowest choices where something else is minimised."""
    if goal == "noise":
        return np.array([own[np.argmin(problem.noise[d, own])] for d, own in enumerate(options)])
    return np.array([own[0] for own in options])


def _undominated(problem: AdditiveProblem, objectives: set[str]) -> list[np.ndarray]:
    """Choices of each decision that no other choice beats in every objective in use, whatever the neighbours choose."""
    names = {"weight_bytes"} if "memory_bytes" in objectives else set()
    names |= objectives & set(problem.terms)
    memory = bool(objectives & {"memory_bytes", "peak_activation_bytes"})
    groups = problem.step_bytes.shape[1]
    kept = []
    for d, own in enumerate(problem.options):
        features = [problem.noise[d, own][:, None]] if "noise" in objectives else []
        for axis in range(3):
            rows = problem.columns[:, axis] == d
            others = [
                problem.options[c] if c < problem.decisions else np.zeros(1, dtype=np.int64) for c in range(problem.decisions + 1)
            ]
            for row in np.flatnonzero(rows):
                kinds = [others[c] for c in problem.columns[row]]
                for name in names:
                    table = problem.terms[name][row][np.ix_(*kinds)]
                    features.append(np.moveaxis(table, axis, 0).reshape(len(own), -1))
        if memory and d >= problem.decisions - groups and not problem.arenas:
            features.append(problem.step_bytes[:, d - problem.decisions + groups, own].T)
        for arena in problem.arenas if memory else ():
            # A layout may be larger with something smaller in it, so only choices that make the same one can be compared.
            kinds = arena.alike[arena.decisions == d][:, own].T
            features += [kinds, -kinds]
        if not features:
            kept.append(own[:1])
            continue
        values = np.concatenate(features, axis=1)
        keep = np.ones(len(own), dtype=bool)
        for i in range(len(own)):
            for j in range(len(own)):
                if i != j and keep[j] and np.all(values[j] <= values[i]) and (j < i or np.any(values[j] < values[i])):
                    keep[i] = False
                    break
        kept.append(own[keep])
    return kept


def _bounds(program: Program, limits: Mapping[str, float], goal: str) -> tuple[np.ndarray, sparse.csr_matrix, np.ndarray, float]:
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


def _padded(program: Program, extra: int) -> sparse.csr_matrix:
    return sparse.hstack([program.equalities, sparse.csr_matrix((program.equalities.shape[0], extra))]).tocsr()


def _relax(
    program: Program, limits: Mapping[str, float], goal: str, size: float, allowed: np.ndarray
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


def _close(
    problem: AdditiveProblem,
    program: Program,
    limits: Mapping[str, float],
    goal: str,
    incumbent: np.ndarray | None,
    allowed: np.ndarray,
    gap: float,
) -> Solution | None:
    """Solve the integer program; a solution that breaks a limit by the solver's tolerance is cut off and the search goes on."""
    cost, rows, right, constant = _bounds(program, limits, goal)
    extra = len(cost) - program.columns
    scale = _scale(cost, _value(problem, incumbent, goal) - constant)
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
            return None if known is None else _solution(problem, known, goal, _value(problem, known, goal))
        plan = program.plan(result.x)
        found = (result.mip_dual_bound if result.mip_dual_bound is not None else result.fun) / scale + constant
        fits = _best(problem, [plan], limits, goal) is not None
        if fits:
            known = plan if known is None else _best(problem, [known, plan], limits, goal)
        closed = fits and (goal not in planned.MEMORY or not problem.arenas or found >= _value(problem, known, goal) * (1 - 1e-9))
        if closed or (problem.arenas and attempt >= ROUNDS):
            return None if known is None else _solution(problem, known, goal, found)
        row, most = planned.cut(problem, program, plan, limits, goal, _value(problem, known, goal), len(cost))
        constraints.append(LinearConstraint(row[None], -np.inf, most))
    raise AssertionError("unreachable")


def _solution(problem: AdditiveProblem, plan: np.ndarray, goal: str, bound: float) -> Solution:
    value = _value(problem, plan, goal)
    # The solver's absolute tolerance, brought back to the objective's unit, is no gap.
    near = value - bound <= 1e-9 * abs(value)
    return Solution(plan.astype(np.int8), value, value if near else min(bound, value))


def _shown(name: str, value: float) -> str:
    return f"{value:.4g} (noise power)" if name == "noise" else pareto.quantity(name, value)
