"""Exact fronts in rounds: measure plans of one width; then solve, measure those plans of the front that promise most, calibrate
the damage by what was measured, and solve again, until the front promises nothing more.

What was predicted of each plan is kept from before it was measured, by the proxy and as calibrated: the honest error of
prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hwsearch.quality.damage import Damage
from hwsearch.search.exact import exact
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.alternatives import lower_all
from hwsearch.search.predict import interactions
from hwsearch.search.predict.interactions import Prediction
from hwsearch.search.propose import hypervolume_batch, uniform
from hwsearch.search.propose.hypervolume_batch import objectives
from searchspaces.space import PlanRow, distinct, matrix

if TYPE_CHECKING:
    from hwmodels.pricing.table import CostTable
    from searchspaces.space import SearchSpace

ROUNDS = 12
LEAST_POINTS = 8
BATCH = 12
"""Plans measured between two calibrations of the damage."""
ANCHORS = 3
"""One in so many evaluations may go to plans of one width."""
WORST_LOSS_DB = 1.0
"""A plan that loses more competes with bicubic enlargement, not with other plans; where even the front loses more, its median."""


@dataclass(frozen=True, eq=False)
class Rounds:
    """Plans of all rounds in the order in which they were measured, and of each its loss in dB: as predicted
    beforehand by the proxy, and by its table calibrated and corrected; and as measured (``float64[N]`` each)."""

    plans: list[PlanRow]
    by_proxy_db: np.ndarray
    predicted_db: np.ndarray
    simulated_db: np.ndarray
    count: int
    """Fronts that were solved."""
    prediction: Prediction
    """As learned for the last front."""
    anchors: list[PlanRow]
    """Plans of one width, and one that was there before, that were measured before any front was solved."""


def solve(
    tables: Sequence[CostTable],
    damage: Damage,
    space: SearchSpace,
    budgets: Mapping[str, float],
    probes: Sequence[PlanRow],
    probe_losses_db: np.ndarray,
    evaluate: Callable[[Sequence[PlanRow]], Iterable[float]],
    *,
    points: int,
    evaluations: int,
    rounds: int = ROUNDS,
    batch: int = BATCH,
    start: Sequence[PlanRow] = (),
) -> Rounds:
    """Exact fronts and exact plans for ``budgets``, measured.

    Args:
        tables: prices, one for each way to cut the picture; each has a front of its own.
        damage: the proxy's; calibrated first by the plans ``probes`` and their measured losses.
        evaluate: plans -> measured PSNR losses in dB, in the same order.
        points: latency budgets of a front, over all tables; evaluations: plans that may be measured, those of one width
            included; rounds: fronts solved at most; batch: plans measured of each; start: plans that are measured before all.
    """
    limits = tables[0].limits
    prices = lower_all(tables, np.zeros_like(damage.noise), space, limits)
    anchors = distinct([*start, *uniform.anchors(space, prices, limits, evaluations // ANCHORS)])
    known, losses = [*anchors, *probes], [*evaluate(anchors), *probe_losses_db]
    before = len(known)
    found: list[PlanRow] = []
    by_proxy, predicted, count = [], [], 0
    for _ in range(rounds):
        prediction = interactions.calibrate(damage, matrix(known), np.array(losses))
        table_of_damage = prediction.damage
        count += 1
        wanted = [plan for table in tables for plan in exact.within_budgets(table, table_of_damage, space, budgets)]
        solved = exact.fronts(tables, table_of_damage.noise, space, max(LEAST_POINTS, points // len(tables)))
        problem = lower_all(tables, table_of_damage.noise, space, limits)
        left = evaluations - len(anchors) - len(found)
        new = _promising(space, problem, prediction, limits, wanted, solved, known, losses, min(batch, left))
        if not new:
            break
        by_proxy += damage.loss_db(matrix(new)).tolist()
        predicted += prediction.loss_db(matrix(new)).tolist()
        losses += evaluate(new)
        known += new
        found += new
    return Rounds(found, np.array(by_proxy), np.array(predicted), np.array(losses[before:]), count, prediction, anchors)


def _promising(
    space: SearchSpace,
    problem: AdditiveProblem,
    prediction: Prediction,
    limits: Mapping[str, float],
    wanted: Sequence[PlanRow],
    solved: Sequence[PlanRow],
    known: Sequence[PlanRow],
    losses: Sequence[float],
    count: int,
) -> list[PlanRow]:
    """Up to ``count`` plans to measure next: those for budgets that are not known yet, then what promises most volume beside the
    known plans."""
    seen = set(known)
    new = [plan for plan in distinct(wanted) if plan not in seen][:count]
    if not solved:
        return new
    exact_plans = matrix(solved)
    offered = distinct(map(space.row, hypervolume_batch.fill(problem, exact_plans, limits, np.random.default_rng(len(known)))))
    rows = matrix(offered)
    values = objectives(problem, rows, prediction.loss_db(rows))
    done = [*known, *new]
    predicted = prediction.loss_db(matrix(new)).tolist() if new else []
    measured = objectives(problem, matrix(done), np.array([*losses, *predicted])) if done else values[:0]
    ends = objectives(problem, exact_plans, prediction.loss_db(exact_plans))
    ideal, reference = hypervolume_batch.corners(problem, max(WORST_LOSS_DB, float(np.median(ends[:, 0]))))
    fresh = [at for at, plan in enumerate(offered) if plan not in seen]
    picked = hypervolume_batch.pick(values[fresh], measured, ideal, reference, count - len(new))
    return [*new, *(offered[fresh[at]] for at in picked)]
