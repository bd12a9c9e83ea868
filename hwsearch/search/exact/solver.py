"""Exact minimisation of one objective of the additive problem under limits on any of the others.

Three steps: a heuristic plan gives an upper bound; a relaxation gives a lower bound, also for plans that make a single choice, by
which most choices are excluded for good; HiGHS closes what is left with a relative gap of 0. The relaxation puts a price on the
one limit that binds (``lagrange``); where several do, or memory, which is no sum, it is the linear one with its reduced costs.
The bound that is returned is proven.

Example of the second step: the best plan known makes noise 100, and the relaxation proves that no plan makes less than 97. A
choice whose reduced costs say that every plan with it makes at least 5 more than the relaxation (``IntegerProgram.excess``) leads
to 102 or more: it is in no better plan, and its column leaves the program before HiGHS sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np

from hwmodels.errors import BudgetError
from hwsearch.search import pareto
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.alternatives import Alternatives
from hwsearch.search.exact.heuristics import improve, repair
from hwsearch.search.exact.integer_program import PROVEN, Solution, best_of, close, relax, solution, value_of
from hwsearch.search.exact.lagrange import Relaxation, largest
from hwsearch.search.exact.program import IntegerProgram

_FEW = 16
"""Choices beyond one a decision that are left: better plans would exclude little more."""
_SAFETY = 1e-6
"""Relative margin by which a choice must be worse than the best known plan before it is excluded: the solver's tolerance."""


class Solver:
    """Solves one additive problem again and again under changing limits; matrices are built once for each set of limited
    objectives.

    Args:
        gap: how far from its proven bound the noise of a plan may be, as a share of it. Layers that are alike make ties that take
            long to tell apart, and a damage table is not exact to its last digit.
    """

    def __init__(self, problem: AdditiveProblem, gap: float = 0.0) -> None:
        self.problem, self.gap = problem, gap
        self._programs: dict[frozenset[str], IntegerProgram] = {}
        self._largest: dict[frozenset[str], Mapping[str, float]] = {}
        self._relaxations: dict[tuple[frozenset[str], str, str | None], Relaxation | None] = {}

    def solve(self, limits: Mapping[str, float], goal: str = "noise", warm: Sequence[np.ndarray] = ()) -> Solution:
        """As the function ``solve``."""
        found = self.minimum(limits, goal, warm)
        if found is None:
            raise infeasible([self], limits)
        return found

    def minimum(self, limits: Mapping[str, float], goal: str = "noise", warm: Sequence[np.ndarray] = ()) -> Solution | None:
        """As ``solve``; None where no plan meets the limits."""
        limits = {name: float(limit) for name, limit in limits.items() if np.isfinite(limit)}
        program = self._program(frozenset({goal, *limits}))
        relaxation, limited = self._priced(program, limits, goal)
        if relaxation is None:
            return self._by_linear_program(program, limits, goal, warm)
        bound = relaxation.bound(limits[limited] if limited else np.inf)
        if bound is None:
            return None
        problem, gap = self.problem, self.gap if goal == "noise" else 0.0
        incumbent, allowed = None, np.ones(program.binaries, dtype=bool)
        for plan in [*reversed(bound.plans), *warm]:
            better = improve(problem, repair(problem, plan, limits, goal), limits, goal)
            incumbent = best_of(problem, [better, *([] if incumbent is None else [incumbent])], limits, goal)
            best = value_of(problem, incumbent, goal)
            margin = _SAFETY * max(abs(best), abs(bound.value))
            if incumbent is not None and best - bound.value <= max(gap * best, PROVEN * abs(best)):
                return solution(problem, incumbent, goal, bound.value)
            allowed = bound.with_option <= best + margin
            if allowed.sum() - problem.decisions <= _FEW:
                break
        return close(problem, program, limits, goal, incumbent, allowed, gap)

    def _priced(self, program: IntegerProgram, limits: Mapping[str, float], goal: str) -> tuple[Relaxation | None, str | None]:
        """What bounds ``goal`` by a price on the one limit that binds, and that limit (None: no limit binds); None where several
        bind, or something is no sum."""
        problem, key = self.problem, frozenset({goal, *limits})
        if key not in self._largest:
            self._largest[key] = largest(problem, program.options)
        binding = [name for name, limit in limits.items() if self._largest[key].get(name, np.inf) > limit]
        limited = next(iter(binding), None)
        if len(binding) > 1 or not {goal, *binding} <= {"noise", *problem.terms} or isinstance(problem, Alternatives):
            return None, None
        if (key, goal, limited) not in self._relaxations:
            try:
                self._relaxations[key, goal, limited] = Relaxation(problem, program.options, goal, limited)
            except ValueError:
                self._relaxations[key, goal, limited] = None
        return self._relaxations[key, goal, limited], limited

    def _by_linear_program(
        self, program: IntegerProgram, limits: Mapping[str, float], goal: str, warm: Sequence[np.ndarray]
    ) -> Solution | None:
        """As ``minimum``, bounded by linear relaxations."""
        problem = self.problem
        gap = self.gap if goal == "noise" else 0.0
        starts = list(warm) or [_cheapest(problem, program.options, goal)]
        incumbent = best_of(
            problem, [improve(problem, repair(problem, plan, limits, goal), limits, goal) for plan in starts], limits, goal
        )
        allowed = np.ones(program.binaries, dtype=bool)
        for _ in range(2):
            relaxed = relax(program, limits, goal, value_of(problem, incumbent, goal), allowed)
            if relaxed is None:
                break
            bound, excess, point = relaxed
            rounded = improve(problem, repair(problem, program.plan(point), limits, goal), limits, goal)
            incumbent = best_of(problem, [rounded, *([] if incumbent is None else [incumbent])], limits, goal)
            if incumbent is None:
                break
            best = value_of(problem, incumbent, goal)
            if gap and best - bound <= gap * best:
                return Solution(incumbent.astype(np.int8), best, min(bound, best))
            before = int(allowed.sum())
            allowed &= excess <= best - bound + _SAFETY * max(abs(best), abs(bound))
            if allowed.sum() > 0.8 * before:
                break
        return close(problem, program, limits, goal, incumbent, allowed, gap)

    def _program(self, objectives: frozenset[str]) -> IntegerProgram:
        if objectives not in self._programs:
            options = _undominated(self.problem, set(objectives))
            self._programs[objectives] = IntegerProgram(self.problem, options, sorted(objectives))
        return self._programs[objectives]


def infeasible(solvers: Sequence[Solver], limits: Mapping[str, float]) -> BudgetError:
    """Why no plan meets ``limits`` in any of the problems: for each limit the exact minimum, alone; where it could be met alone,
    with the others; and where no others can be met either, with each of them that it clashes with."""

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
    if not facts:  # more than one of them clash: giving up one is not enough
        for one, other in permutations(limits, 2):
            found = best({one: limits[one]}, other)
            if found is not None and found > limits[other]:
                facts.append(
                    f"{pareto.label(other)}: within {_shown(one, limits[one])} of {pareto.label(one)} the best is "
                    f"{_shown(other, found)}, asked for {_shown(other, limits[other])}"
                )
    if not facts:
        facts.append("any two of the limits can be met together; three or more cannot")
    return BudgetError("no plan meets the budget\n  " + "\n  ".join(facts), "Raise the budget, or allow narrower widths.")


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
    kept, others = [], [*problem.options, np.zeros(1, dtype=np.int64)]
    for d, own in enumerate(problem.options):
        features = [problem.noise[d, own][:, None]] if "noise" in objectives else []
        for axis in range(3):
            rows = problem.columns[:, axis] == d
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


def _shown(name: str, value: float) -> str:
    return f"{value:.4g} (noise power)" if name == "noise" else pareto.quantity(name, value)
