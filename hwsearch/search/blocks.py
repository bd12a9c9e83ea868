"""Blocks of a network as decisions of a search: which are left out, and how wide what is left is, at one price.

Each block that may go (``searchspaces.networks.adapted.blocks``) is left out once, and what the network then loses is measured in
floating point. From the blocks that lose least for the weights that they hold a chain of smaller networks is built, each without
one more of them. Every network of the chain is priced as what it is, has damages of its own, and its exact front; the plans of
all fronts compete for being measured by the volume that they promise (``propose.hypervolume_batch``), with losses against the
whole network. Nothing is trained: what a training would win back is not known to the search. ``shares`` splits evaluations
beforehand, for searches that are told how many they may have.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.errors import BudgetError
from hwmodels.pricing.table import CostTable
from hwsearch.quality.damage import Damage
from hwsearch.search.exact import exact
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.alternatives import lower_all
from hwsearch.search.predict import interactions
from hwsearch.search.propose import hypervolume_batch, uniform
from searchspaces.networks.adapted.blocks import inside
from searchspaces.space import PlanRow, SearchSpace, distinct, matrix

POINTS = 12
"""Latency budgets of the exact front of each network."""
BATCH = 12
"""Plans measured between two calibrations."""
ANCHORS = 3
"""One in so many evaluations may go to plans of one width, shared by the networks."""
GAP = 0.002
"""Of a front's plans in noise power."""


@dataclass(frozen=True)
class Block:
    """A block that may go: its name, what the network loses without it in floating point, and the weights that it holds."""

    name: str
    loss_db: float
    weights: int


def chain(
    blocks: Sequence[Block], loss_db: Callable[[tuple[str, ...]], float], most_db: float, count: int
) -> list[tuple[str, ...]]:
    """Up to ``count`` sets of blocks to leave out, each with one more, in the order of what a weight that goes costs in quality.

    A block inside of one that goes, or around one, is passed over; so is one with which more than ``most_db`` are lost.

    Args:
        loss_db: what the network loses without a set of blocks, in floating point.
    """
    found: list[tuple[str, ...]] = []
    gone: tuple[str, ...] = ()
    for block in sorted(blocks, key=lambda block: (max(block.loss_db, 0.0) / block.weights, block.name)):
        if len(found) == count:
            break
        if block.loss_db > most_db or any(inside(block.name, other) or inside(other, block.name) for other in gone):
            continue
        if loss_db((*gone, block.name)) > most_db:
            continue
        gone = (*gone, block.name)
        found.append(gone)
    return found


@dataclass(frozen=True, eq=False)
class Variant:
    """The network without some of its blocks, with prices and damages of its own.

    Attributes:
        dropped: the blocks; empty: the whole network.
        tables: prices, one table for each way to cut the picture.
        damage: of its choices, against the variant itself in floating point; ``lost_db``: what that loses against the whole.
        evaluate: plans -> measured losses against the whole network in dB, in the same order; None where none is measured.
    """

    dropped: tuple[str, ...]
    space: SearchSpace
    tables: Sequence[CostTable]
    damage: Damage
    lost_db: float
    evaluate: Callable[[Sequence[PlanRow]], Iterable[float]] | None = None


@dataclass(frozen=True)
class Measured:
    """A plan of a variant: ``objectives`` are (loss in dB, latency in s, memory in bytes), ``predicted_db`` its loss as foretold;
    NaN of plans of one width, which nothing foretold."""

    variant: Variant
    plan: PlanRow
    objectives: tuple[float, float, float]
    predicted_db: float


def search(variants: Sequence[Variant], evaluations: int, most_db: float, seed: int = 0) -> list[Measured]:
    """Measure plans of all variants, those that promise most beside what is measured; in the order of measurement.

    Args:
        evaluations: plans that may be measured; fewer are where the fronts promise nothing more.
        most_db: a plan that loses more is of no use.
    """
    searched = [_Searched(variant, seed) for variant in variants]
    found = [one for own in searched for one in own.anchors(max(1, evaluations // ANCHORS // len(searched)))][:evaluations]
    ideal, reference = box(variants, most_db)
    while len(found) < evaluations:
        offered = [(own, plan, values) for own in searched for plan, values in own.offered(found)]
        if not offered:
            break
        values, measured = np.array([values for *_, values in offered]), np.array([one.objectives for one in found])
        picked = hypervolume_batch.pick(values, measured, ideal, reference, min(BATCH, evaluations - len(found)))
        if not picked:
            break
        for own in searched:
            mine = [(offered[at][1], float(values[at, 0])) for at in picked if offered[at][0] is own]
            found += own.measured([plan for plan, _ in mine], [told for _, told in mine])
    return found


def shares(
    variants: Sequence[Variant], evaluations: int, most_db: float, least: int, budgets: Mapping[str, float], seed: int = 0
) -> list[int]:
    """How many of ``evaluations`` each network is worth. Of the predicted plans of all, those are taken one after another that
    together promise most volume; a network that owns some of them gets ``least``, and of the rest as its plans are many. Their
    sum is ``evaluations``.

    Args:
        most_db: a plan that loses more is of no use.
        least: where that is not enough for all, those get it whose plans came first.
        budgets: upper limits in SI units, of which those on latency and memory say which plans are of use too.
    """
    offered = [(at, values) for at, own in enumerate(variants) for _, values in _Searched(own, seed).offered([])]
    ideal, reference = box(variants, most_db)
    wanted = [budgets.get("latency", np.inf), budgets.get("memory", np.inf)]
    reference[1:] = np.maximum(np.minimum(reference[1:], wanted), ideal[1:] * (1 + 1e-9))
    values = np.array([values for _, values in offered]).reshape(-1, len(ideal))
    picked = hypervolume_batch.pick(values, np.empty((0, len(ideal))), ideal, reference, evaluations)
    owners = [offered[at][0] for at in picked] or [0]  # nothing promises anything: as if the first were alone
    kept = [*dict.fromkeys(owners)][: max(1, evaluations // max(least, 1))]
    owned = np.bincount([at for at in owners if at in kept], minlength=len(variants))
    found = np.where(owned > 0, min(least, evaluations), 0)
    rest = evaluations - int(found.sum())
    more = owned * rest / owned.sum()
    found = found + np.floor(more).astype(int)
    for at in np.argsort(np.floor(more) - more, kind="stable")[: evaluations - int(found.sum())]:
        found[at] += 1
    return [int(share) for share in found]


def box(variants: Sequence[Variant], most_db: float) -> tuple[np.ndarray, np.ndarray]:
    """(ideal, reference) of (loss, latency, memory): nothing lost at the least price of any variant, and ``most_db`` at the
    price of the widest plan of all."""
    least: list[list[float]] = []
    largest: list[list[float]] = []
    for variant in variants:
        problem = _problem(variant, np.zeros_like(variant.damage.noise))
        for end, prices in ((0, least), (-1, largest)):
            costs = problem.costs(np.array([[own[end] for own in problem.options]]))
            prices.append([float(costs[name][0]) for name in hypervolume_batch.PRICES])
    return np.array([0.0, *np.min(least, axis=0)]), np.array([most_db, *np.max(largest, axis=0)])


def _limits(variant: Variant) -> Mapping[str, float]:
    return {name: float(value) for name, value in variant.tables[0].limits.items() if value is not None}


def _front(variant: Variant, noise: np.ndarray) -> list[PlanRow]:
    """The exact fronts of all ways to cut the picture; no plan may fit one of them."""
    found: list[PlanRow] = []
    for table in variant.tables:
        with contextlib.suppress(BudgetError):
            found += exact.front(table, noise, variant.space, POINTS, gap=GAP)
    return found


def _problem(variant: Variant, noise: np.ndarray) -> AdditiveProblem:
    return lower_all(variant.tables, noise, variant.space, _limits(variant))


class _Searched:
    """A variant while it is searched."""

    def __init__(self, variant: Variant, seed: int) -> None:
        self.variant, self._seed = variant, seed
        self._prices = _problem(variant, np.zeros_like(variant.damage.noise))

    def anchors(self, count: int) -> list[Measured]:
        """Plans of one width, measured."""
        plans = uniform.anchors(self.variant.space, self._prices, _limits(self.variant), count)
        return self.measured(plans, [float("nan")] * len(plans))

    def measured(self, plans: Sequence[PlanRow], predicted_db: Sequence[float]) -> list[Measured]:
        """Plans, measured and priced."""
        if not plans:
            return []
        assert self.variant.evaluate is not None
        losses = np.array([*self.variant.evaluate(plans)])
        values = self._objectives(matrix(plans), losses)
        return [
            Measured(self.variant, plan, (float(loss), float(latency), float(memory)), told)
            for plan, (loss, latency, memory), told in zip(plans, values, predicted_db, strict=True)
        ]

    def offered(self, found: Sequence[Measured]) -> list[tuple[PlanRow, np.ndarray]]:
        """Plans of the predicted front that are not measured yet, with their predicted objectives."""
        variant = self.variant
        known = [one for one in found if one.variant is variant]
        losses = np.array([one.objectives[0] for one in known]) - variant.lost_db
        plans = matrix([one.plan for one in known]) if known else np.empty((0, variant.space.decisions), dtype=np.int8)
        prediction = interactions.calibrate(variant.damage, plans, losses) if known else interactions.alone(variant.damage)
        problem = _problem(variant, prediction.damage.noise)
        solved = _front(variant, prediction.damage.noise)
        if not solved:
            return []
        rng = np.random.default_rng((self._seed, len(found)))
        filled = hypervolume_batch.fill(problem, matrix(solved), _limits(variant), rng)
        seen = {one.plan for one in known}
        fresh = [plan for plan in distinct(map(variant.space.row, filled)) if plan not in seen]
        if not fresh:
            return []
        rows = matrix(fresh)
        return [*zip(fresh, self._objectives(rows, variant.lost_db + prediction.loss_db(rows)), strict=True)]

    def _objectives(self, plans: np.ndarray, losses_db: np.ndarray) -> np.ndarray:
        """(loss, latency, memory) ``float64[P, 3]``."""
        costs = self._prices.costs(plans)
        return np.stack([losses_db, *(costs[name] for name in hypervolume_batch.PRICES)], axis=1)
