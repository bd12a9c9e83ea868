"""Exact plans of least damage: for given limits, for budgets, and the whole front by sweeping budgets.

All of it stands on ``solver``, which proves each plan optimal for the additive problem of ``additive``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from hwmodels.errors import BudgetError, UsageError
from hwsearch.quality.damage import Damage, loss_of_noise
from hwsearch.search import pareto
from hwsearch.search.exact.additive import lower
from hwsearch.search.exact.integer_program import Solution
from hwsearch.search.exact.solver import Solver, infeasible
from searchspaces.space import PlanRow, distinct, matrix

if TYPE_CHECKING:
    from hwmodels.cost import CostTable
    from searchspaces.space import SearchSpace

__all__ = ["Solution", "Solver", "check_feasible", "front", "fronts", "noise_of_loss", "solve", "sweep", "within_budgets"]

BUDGETS = pareto.LIMITS | {"loss": "noise"}
"""Budget as people name it -> objective of the additive problem."""
GAP = 0.002
"""Of the plans of a front in noise power, below 0.01 dB; the damage that is summed is not known that well."""


def solve(
    table: CostTable,
    noise: np.ndarray,
    limits: Mapping[str, float],
    space: SearchSpace,
    *,
    minimise: str = "noise",
    warm: Sequence[np.ndarray] = (),
) -> Solution:
    """The plan that minimises one objective under limits on any of the others.

    Args:
        noise: ``float64[D, C]``, output noise power of each choice.
        limits: objective (see ``additive.OBJECTIVES``) -> upper limit, in SI units.
        warm: plans near the optimum, if known; they speed the search up and never change its result.
    Raises:
        BudgetError: no plan meets the limits; says the best value that can be reached for each one.
    """
    return Solver(lower(table, noise, space, {minimise, *limits})).solve(limits, minimise, warm)


def check_feasible(tables: Sequence[CostTable], space: SearchSpace, budgets: Mapping[str, float]) -> None:
    """Whether any plan meets the device's hard limits and the budgets on price (a budget on quality needs measurement) in one of
    the tables: one for each way to cut the picture.

    Raises:
        BudgetError: none does; says the best value that can be reached.
    """
    limits = price_limits(tables[0], budgets)
    solvers = [_priced(table, space, limits) for table in tables]
    if limits and all(solver.minimum(limits, next(iter(limits))) is None for solver in solvers):
        raise infeasible(solvers, limits)


def least_latency_s(tables: Sequence[CostTable], space: SearchSpace, budgets: Mapping[str, float]) -> float | None:
    """Latency of the fastest plan within the device's hard limits and the budgets on anything but latency and quality; None
    where no plan meets them."""
    limits = price_limits(tables[0], {name: value for name, value in budgets.items() if name != "latency"})
    found = [_priced(table, space, limits).minimum(limits, "latency_s") for table in tables]
    return min((solution.objective for solution in found if solution is not None), default=None)


def _priced(table: CostTable, space: SearchSpace, limits: Mapping[str, float]) -> Solver:
    """A solver that knows prices and no damage."""
    return Solver(lower(table, np.zeros(space.allowed.shape), space, limits))


def price_limits(table: CostTable, budgets: Mapping[str, float]) -> dict[str, float]:
    """The device's hard limits and the budgets, without that on quality, as limits on objectives.

    Raises:
        UsageError: a budget on energy, for a device whose energy is not known.
    """
    if "energy" in budgets and not np.isfinite(table.energy_j).all():
        raise UsageError(
            f"the energy on {table.device} is not known: its file has no figure of energy or power",
            "Leave the budget on energy out, or add [energy] to a device file of your own (`hwsearch devices schema`).",
        )
    return _merged(table.limits, {BUDGETS[name]: value for name, value in budgets.items() if name != "loss"})


def _merged(*limits: Mapping[str, float]) -> dict[str, float]:
    """The tighter of limits that are given twice."""
    found: dict[str, float] = {}
    for name, value in (item for given in limits for item in given.items()):
        found[name] = min(value, found.get(name, np.inf))
    return found


def within_budgets(table: CostTable, damage: Damage, space: SearchSpace, budgets: Mapping[str, float]) -> list[PlanRow]:
    """Exact plans for the budgets: the least damage within the price budgets and, where quality is budgeted, the fastest and the
    smallest plan whose predicted loss is within it. Empty without budgets, or where the prediction sees no such plan."""
    if not budgets:
        return []
    price = price_limits(table, budgets)
    solver = Solver(lower(table, damage.noise, space, price))
    found = [solver.minimum(price)]
    if "loss" in budgets:
        quality = price | {"noise": noise_of_loss(budgets["loss"], damage.float_mse)}
        found += [solver.minimum(quality, goal) for goal in ("latency_s", "memory_bytes")]
    return distinct(space.row(solution.plan) for solution in found if solution is not None)


def noise_of_loss(loss_db: float, float_mse: np.ndarray) -> float:
    """Output noise power at which the mean PSNR loss over pictures is ``loss_db``: the inverse of ``damage.loss_of_noise``."""
    if loss_db <= 0:
        return 0.0
    high = float(np.max(float_mse)) * 10 ** (loss_db / 10)
    return float(brentq(lambda noise: float(loss_of_noise(np.array(noise), float_mse)) - loss_db, 0.0, high, xtol=1e-12))


def front(
    table: CostTable,
    noise: np.ndarray,
    space: SearchSpace,
    points: int = 20,
    gap: float = 0.0,
) -> list[PlanRow]:
    """Plans of the exact front in (noise, latency, memory), by latency, within the device's hard limits.

    Latency budgets sweep from the fastest plan to that of least noise; budgets on weight bytes and on the peak sweep likewise
    with a third of the points. Each problem starts from the plans already found.

    Args:
        gap: see ``Solver``.
    Raises:
        BudgetError: no plan meets the limits.
    """
    limits = table.limits
    problem = lower(table, noise, space, limits)
    solver = Solver(problem, gap)
    best = solver.solve(limits)
    found = [best.plan]
    for axis, count in (("latency_s", points), ("weight_bytes", points // 3), ("peak_activation_bytes", points // 3)):
        found += sweep(solver, axis, count, limits, best.plan)
    plans = distinct(map(space.row, found))
    costs = problem.costs(matrix(plans))
    keep = pareto.non_dominated(np.stack([costs[name] for name in ("latency_s", "noise", "memory_bytes")], axis=1))
    order = np.lexsort((costs["noise"], costs["latency_s"]))
    return [plans[i] for i in order if keep[i]]


def fronts(tables: Sequence[CostTable], noise: np.ndarray, space: SearchSpace, points: int) -> list[PlanRow]:
    """The exact fronts of all ways to cut the picture, one after the other, each to within ``GAP``; empty where no plan fits any
    way."""
    found: list[PlanRow] = []
    for table in tables:
        with contextlib.suppress(BudgetError):
            found += front(table, noise, space, points, GAP)
    return found


def sweep(solver: Solver, axis: str, count: int, limits: Mapping[str, float], best: np.ndarray) -> list[np.ndarray]:
    """Plans of least noise under ``count`` budgets on ``axis``, spaced geometrically from its minimum to what plan ``best``
    needs."""
    least = solver.minimum(limits, axis, [best])
    high = float(solver.problem.costs(best[None])[axis][0])
    if least is None or count < 1 or least.objective >= high:
        return []
    found = [least.plan]
    for budget in np.geomspace(max(least.objective, high * 1e-6), high, count)[:-1]:
        # The sum that defines the minimum, in another order, may differ in its last bits.
        solution = solver.minimum(_merged(limits, {axis: float(budget) * (1 + 1e-12)}), "noise", found[-1:])
        if solution is not None:
            found.append(solution.plan)
    return found
