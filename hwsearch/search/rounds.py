"""Exact fronts in rounds: solve, measure the plans of the front, calibrate the damage by what was measured, solve again, until
the front brings no new plan.

What was predicted of each plan is kept from before it was measured, by the proxy and by the calibrated table: the honest error of
prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.errors import BudgetError
from hwsearch.damage import Damage
from hwsearch.search import exact
from hwsearch.search.refit import refit

if TYPE_CHECKING:
    from hwmodels.table import CostTable
    from searchspaces.space import SearchSpace

ROUNDS = 5
LEAST_POINTS = 8


@dataclass(frozen=True, eq=False)
class Rounds:
    """Plans ``int8[D]`` of all rounds in the order in which they were measured, and of each its loss in dB: as the proxy and as
    the calibrated table predicted it beforehand, and as measured (``float64[N]`` each)."""

    plans: list[np.ndarray]
    by_proxy_db: np.ndarray
    predicted_db: np.ndarray
    measured_db: np.ndarray
    count: int
    """Fronts that were solved."""


def solve(
    tables: Sequence[CostTable],
    damage: Damage,
    space: SearchSpace,
    budgets: Mapping[str, float],
    probes: np.ndarray,
    probe_losses_db: np.ndarray,
    evaluate: Callable[[Sequence[np.ndarray]], Iterable[float]],
    *,
    points: int,
    evaluations: int,
) -> Rounds:
    """Exact fronts and exact plans for ``budgets``, measured.

    Args:
        tables: prices, one for each way to cut the picture; each has a front of its own.
        damage: the proxy's; calibrated first by the plans ``probes int8[P, D]`` and their measured losses.
        evaluate: plans -> measured PSNR losses in dB, in the same order.
        points: latency budgets of a front, over all tables; evaluations: plans that may be measured.
    """
    known, losses = list(probes), list(probe_losses_db)
    found: list[np.ndarray] = []
    by_proxy, predicted, count = [], [], 0
    for _ in range(ROUNDS):
        table_of_damage = refit(damage, np.array(known), np.array(losses))
        count += 1
        solved: list[np.ndarray] = []
        for table in tables:
            solved += exact.within_budgets(table, table_of_damage, space, budgets)
            solved += _front(table, table_of_damage.noise, space, max(LEAST_POINTS, points // len(tables)))
        measured = {plan.tobytes() for plan in found}
        new = [plan for plan in {plan.tobytes(): plan for plan in solved}.values() if plan.tobytes() not in measured]
        new = new[: evaluations - len(found)]
        if not new:
            break
        by_proxy += damage.psnr_loss_db(np.stack(new)).tolist()
        predicted += table_of_damage.psnr_loss_db(np.stack(new)).tolist()
        losses += evaluate(new)
        known += new
        found += new
    return Rounds(found, np.array(by_proxy), np.array(predicted), np.array(losses[len(probes) :]), count)


def _front(table: CostTable, noise: np.ndarray, space: SearchSpace, points: int) -> list[np.ndarray]:
    """The exact front of one way to cut the picture; empty where no plan fits that way (another one was seen to fit)."""
    try:
        return exact.front(table, noise, space, points)
    except BudgetError:
        return []
