"""The additive problem of a network whose picture may be cut in several ways, of which every plan takes its best."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from hwsearch.search.exact.additive import OBJECTIVES, AdditiveProblem, lower

if TYPE_CHECKING:
    from hwmodels.cost import CostTable
    from searchspaces.space import SearchSpace


@dataclass(frozen=True, eq=False)
class Alternatives(AdditiveProblem):
    """A plan costs what it costs in the fastest way within ``limits``, or in the way that breaks them least.

    Attributes:
        ways: one problem for each way; they differ in prices alone. The inherited fields are those of the first.
        limits: objective -> upper limit.
    """

    ways: tuple[AdditiveProblem, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)

    def costs(self, plans: np.ndarray, of: Collection[str] = OBJECTIVES) -> dict[str, np.ndarray]:
        return self._best([way.costs(plans, self._and_ranked(of)) for way in self.ways])

    def costs_of_changes(self, plan: np.ndarray, of: Collection[str] = OBJECTIVES) -> dict[str, np.ndarray]:
        return self._best([way.costs_of_changes(plan, self._and_ranked(of)) for way in self.ways])

    def _and_ranked(self, of: Collection[str]) -> set[str]:
        """With what tells which way is best."""
        return {*of, "latency_s", *self.limits}

    def way(self, plan: np.ndarray) -> int:
        """Index of the way that a plan ``int8[D]`` takes."""
        return int(fastest_within([way.costs(plan[None]) for way in self.ways], self.limits)[0])

    def _best(self, costs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        best = fastest_within(costs, self.limits)
        return {name: take(best, [each[name] for each in costs]) for name in costs[0]}


def lower_all(tables: Sequence[CostTable], noise: np.ndarray, space: SearchSpace, limits: Mapping[str, float]) -> AdditiveProblem:
    """``additive.lower`` for a picture that may be cut in several ways, one table each."""
    ways = tuple(lower(table, noise, space) for table in tables)
    if len(ways) == 1:
        return ways[0]
    return Alternatives(**{f.name: getattr(ways[0], f.name) for f in fields(ways[0])}, ways=ways, limits=limits)


def fastest_within(costs: Sequence[Mapping[str, np.ndarray]], limits: Mapping[str, float]) -> np.ndarray:
    """For each plan, which of several costs (objective -> ``float64[P]``) is the fastest within ``limits``; where none is within
    them, the one that breaks them least: ``int64[P]``. The first of equals."""
    latency = np.stack([each["latency_s"] for each in costs])
    excess = np.zeros(latency.shape)
    for name, limit in limits.items():
        excess += [np.maximum(each[name] / limit - 1, 0.0) for each in costs]
    found: np.ndarray = np.lexsort((latency, excess), axis=0)[0]
    return found


def take(best: np.ndarray, columns: Sequence[np.ndarray]) -> np.ndarray:
    """``columns[best[p]][p]`` for every plan p."""
    found: np.ndarray = np.stack(columns)[best, np.arange(len(best))]
    return found
