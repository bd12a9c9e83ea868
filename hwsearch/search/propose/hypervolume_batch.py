"""Which plans of a predicted front to measure: those that together add most volume to what is measured.

Exact fronts are a few plans, one for each budget that was swept; between them lie thousands that the same damage table says are
as good a trade. ``fill`` finds many of them by exchanges and crossings, priced and judged by sums alone. ``pick`` takes a batch,
one plan after another, each for the share of the box of objectives that it would dominate and nothing measured or picked does
(greedy hypervolume subset selection; the volume is estimated by counting random points).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwsearch.search import pareto
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.heuristics import feasible

POINTS = 8192
"""Random points that measure the volume: 0.5 % of error for a tenth of the box."""
GENERATIONS = 12
CHILDREN = 600
MOST = 800
"""Plans of the predicted front that are kept."""


def fill(problem: AdditiveProblem, plans: np.ndarray, limits: Mapping[str, float], rng: np.random.Generator) -> np.ndarray:
    """Plans ``int8[N, D]`` that the sums say are not dominated in (noise, latency, memory), found around ``plans int8[P, D]``."""
    front = _front(problem, plans, limits)
    for _ in range(GENERATIONS if len(front) else 0):
        parents = front[rng.integers(len(front), size=(2, CHILDREN))]
        crossed = np.where(rng.random(parents[0].shape) < 0.5, parents[0], parents[1])
        children = np.concatenate([_stepped(problem, parents[0], rng), _stepped(problem, crossed, rng)])
        front = _front(problem, np.concatenate([front, children]), limits)
        if len(front) > MOST:
            front = front[np.sort(rng.choice(len(front), MOST, replace=False))]
    return front


def objectives(problem: AdditiveProblem, plans: np.ndarray, losses_db: np.ndarray) -> np.ndarray:
    """(loss, latency, memory) ``float64[P, 3]`` of ``plans int8[P, D]``."""
    costs = problem.costs(plans)
    return np.stack([losses_db, *(costs[name] for name in pareto.PRICES)], axis=1)


def corners(problem: AdditiveProblem, worst_db: float) -> tuple[np.ndarray, np.ndarray]:
    """(ideal, reference) of (loss, latency, memory) ``float64[3]``: nothing lost at the price of the narrowest plan, and
    ``worst_db`` at that of the widest."""
    narrowest, widest = (np.array([[own[end] for own in problem.options]]) for end in (0, -1))
    return objectives(problem, narrowest, np.zeros(1))[0], objectives(problem, widest, np.array([worst_db]))[0]


def _stepped(problem: AdditiveProblem, plans: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each plan with one random decision a step up and another a step down, as far as there is room."""
    counts = np.array([len(options) for options in problem.options])
    options = np.full((problem.decisions, counts.max()), np.iinfo(plans.dtype).max, dtype=plans.dtype)
    for decision, allowed in enumerate(problem.options):
        options[decision, : len(allowed)] = allowed
    moved, rows = plans.copy(), np.arange(len(plans))
    for decisions, step in zip(rng.integers(problem.decisions, size=(len(plans), 2)).T, (1, -1), strict=True):
        places = (options[decisions] < moved[rows, decisions, None]).sum(axis=1) + step
        room = (places >= 0) & (places < counts[decisions])
        moved[rows[room], decisions[room]] = options[decisions[room], places[room]]
    return moved


def _front(problem: AdditiveProblem, plans: np.ndarray, limits: Mapping[str, float]) -> np.ndarray:
    plans = np.unique(plans, axis=0)
    costs = problem.costs(plans)
    plans, costs = plans[within := feasible(costs, limits)], {name: values[within] for name, values in costs.items()}
    found: np.ndarray = plans[pareto.non_dominated(np.stack([costs["noise"], *(costs[name] for name in pareto.PRICES)], axis=1))]
    return found


def pick(offered: np.ndarray, measured: np.ndarray, ideal: np.ndarray, reference: np.ndarray, count: int) -> list[int]:
    """Rows of ``offered float64[N, K]`` to measure, in the order of what they add; fewer than ``count`` when nothing is added any
    more.

    Args:
        measured: objectives ``float64[M, K]`` of plans that are measured.
        ideal, reference: ends of the box, ``float64[K]``.
    """
    span = np.where(reference > ideal, reference - ideal, 1.0)
    points = np.random.default_rng(0).random((POINTS, len(span)))

    def dominated(values: np.ndarray) -> np.ndarray:
        scaled = (values - ideal) / span
        found: np.ndarray = np.logical_and.reduce([scaled[:, k, None] <= points[:, k] for k in range(len(span))])
        return found

    free = ~dominated(measured).any(axis=0)
    covers = dominated(offered)
    picked: list[int] = []
    while len(picked) < count:
        gains = covers[:, free].sum(axis=1)
        best = int(np.argmax(gains)) if len(gains) else 0
        if not len(gains) or gains[best] == 0:
            break
        picked.append(best)
        free &= ~covers[best]
    return picked
