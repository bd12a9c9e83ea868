"""Bounds on one objective under a limit on another, both sums over small tables: the limit gets a price.

With a price p on what exceeds the limit, the least of ``goal + p (limited - limit)`` over all plans is below the goal of every
plan within the limit, and ``elimination`` finds it exactly, also with every single choice. The best price is where plans on both
sides of the limit are equally good; it follows from chords, in few steps (Everett 1963; Fisher 1981, "The Lagrangian Relaxation
Method"). Where decisions meet in circles this bound is above that of a linear program over marginals, elsewhere equal to it.

Example: three plans with (goal, limited) = (1, 9), (4, 4), (9, 3), and a limit of 5. At price 0 the first is the least, and too
large; the last is within. The chord between them has the price (9 - 1) / (9 - 3) = 4/3: there (4, 4) is less than either. It is
within, so the chord from the first plan to it is next, of price (4 - 1) / (9 - 4) = 3/5, and now no plan is below the chord: the
bound is 4 + 3/5 (4 - 5) = 3.4. No plan within 5 has a goal below it, and (4, 4) is the best of those seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.elimination import Elimination

_EQUAL = 1e-12
"""Relative difference of two sums that are the same but for the order of additions."""
_STEPS = 60
"""Chords for one limit at most; a bound from fewer is as valid."""


@dataclass(frozen=True, eq=False)
class Bound:
    """No plan within the limit has a goal below ``value``, and none that takes an option below ``with_option float64[N]``,
    decision after decision. ``plans``: up to two ``int64[D]`` that have nearly that, the last of them within the limit."""

    value: float
    with_option: np.ndarray
    plans: list[np.ndarray]


@dataclass(frozen=True, eq=False)
class _Seen:
    """What was least at a price: its value without the limit, that of each option, and the plan with its two sums."""

    price: float
    value: float
    with_option: np.ndarray
    plan: np.ndarray
    goal: float
    limited: float

    @property
    def sums(self) -> tuple[float, float]:
        return self.goal, self.limited


class Relaxation:
    """Bounds on ``goal`` for changing limits on ``limited``; what was found for one limit serves the next.

    Args:
        options: allowed choices of each decision.
        limited: None for bounds without a limit, which are exact.
    Raises:
        ValueError: more decisions meet than can be looked at together.
    """

    def __init__(self, problem: AdditiveProblem, options: Sequence[np.ndarray], goal: str, limited: str | None) -> None:
        self._options = options
        columns = [tuple(int(d) for d in row if d < problem.decisions) for row in problem.columns]
        scopes = [(d,) for d in range(problem.decisions)] + columns
        self._elimination = Elimination([len(own) for own in options], scopes)
        self._goal = _tables(problem, options, goal)
        self._limited = np.zeros_like(self._goal) if limited is None else _tables(problem, options, limited)
        self._goal_constant, self._limited_constant = (problem.constant.get(name or "", 0.0) for name in (goal, limited))
        self._free = self._least(0.0)
        self._seen = [self._free]
        self._smallest: _Seen | None = None

    def bound(self, limit: float = np.inf) -> Bound | None:
        """For one limit; None where no plan is within it."""
        free = self._free
        if free.limited <= limit:
            return Bound(free.value, free.with_option, [free.plan])
        if self._smallest is None:
            self._smallest = self._least(np.inf)
            self._seen.append(self._smallest)
        if self._smallest.limited > limit * (1 + _EQUAL * np.sign(limit)):
            return None
        above = min((seen for seen in self._seen if seen.limited > limit), key=lambda seen: seen.limited, default=free)
        within = max(
            (seen for seen in self._seen if seen.limited <= limit), key=lambda seen: seen.limited, default=self._smallest
        )
        for _ in range(_STEPS):
            price = max(within.goal - above.goal, 0.0) / (above.limited - within.limited)
            found = next((seen for seen in self._seen if seen.price == price), None) or self._least(price)
            if found not in self._seen:
                self._seen.append(found)
            chord = above.goal + price * above.limited
            if found.value >= chord - _EQUAL * abs(chord) or found.sums in (above.sums, within.sums):
                break
            if found.limited > limit:
                above = found
            else:
                within = found
        priced = [seen for seen in self._seen if np.isfinite(seen.price)]
        value = max(seen.value - seen.price * limit for seen in priced)
        with_option = np.max([seen.with_option - seen.price * limit for seen in priced], axis=0)
        return Bound(value, with_option, [above.plan, within.plan])

    def _least(self, price: float) -> _Seen:
        """Of the goal and the priced sum; of that sum alone at a price without bound."""
        priced = self._limited if np.isinf(price) else self._goal + price * self._limited if price else self._goal
        found = self._elimination.least(priced)
        constant = self._goal_constant + (price * self._limited_constant if price and np.isfinite(price) else 0.0)
        at = self._elimination.entries(found.positions)
        plan = np.array([own[p] for own, p in zip(self._options, found.positions, strict=True)], dtype=np.int64)
        goal, limited = self._goal[at].sum() + self._goal_constant, self._limited[at].sum() + self._limited_constant
        return _Seen(price, found.value + constant, found.with_option + constant, plan, float(goal), float(limited))


def _tables(problem: AdditiveProblem, options: Sequence[np.ndarray], objective: str) -> np.ndarray:
    """The tables of an objective one after another, over options alone: of every decision, then of every term."""
    own = [problem.noise[d, kept] if objective == "noise" else np.zeros(len(kept)) for d, kept in enumerate(options)]
    whole, first = problem.terms.get(objective), np.zeros(1, dtype=np.int64)
    for row, columns in enumerate(problem.columns):
        kept = [options[d] if d < problem.decisions else first for d in columns]
        size = int(np.prod([len(each) for each in kept]))
        own.append(np.zeros(size) if whole is None else whole[row][np.ix_(*kept)].ravel())
    return np.concatenate(own)


def largest(problem: AdditiveProblem, options: Sequence[np.ndarray]) -> dict[str, float]:
    """What no plan of ``options`` exceeds, by objective: the sum of the largest entries, and the largest step."""
    found, first = (
        {"noise": sum(float(problem.noise[d, kept].max()) for d, kept in enumerate(options))},
        np.zeros(1, dtype=np.int64),
    )
    kept = [np.ix_(*(options[d] if d < problem.decisions else first for d in columns)) for columns in problem.columns]
    for name, terms in problem.terms.items():
        found[name] = problem.constant[name] + sum(float(table[at].max()) for table, at in zip(terms, kept, strict=True))
    groups = problem.step_bytes.shape[1]
    if not problem.arenas:
        of_groups = [problem.step_bytes[:, g, options[problem.decisions - groups + g]].max(axis=1) for g in range(groups)]
        found["peak_activation_bytes"] = float(np.sum(of_groups, axis=0).max(initial=0.0))
        found["memory_bytes"] = found["weight_bytes"] + found["peak_activation_bytes"]
    return found
