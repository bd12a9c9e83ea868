"""What low-rank branches promise: the noise that they take of the rounding of their layers, and what the device asks for it.

How much of a layer's noise is left beside a branch is told by its weights and the second moments of what it reads, with and
without the branch rounded by the same error-compensated rounding; the noise itself is that of the damage table. Prices are those
of the network with all branches of one rank, layer by layer, at 8 bits beside the width in question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from hwmodels import cost
from hwmodels.numbers import Int
from hwsearch.problem.pose import Problem
from hwsearch.quality.damage import Damage
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.observe.moments import Moments
from hwsearch.quant.weights import reach
from hwsearch.quant.weights.rounding import compensated, output_error
from hwsearch.search.branches import Offer
from searchspaces.ir import branches
from searchspaces.ir.graph import Node
from searchspaces.space import PlanRow, matrix

RANKS = (1, 2, 4, 8)
LAYERS = 16
"""Layers that are looked at, those with most weights."""
DAMPING = 0.01
"""Share of the mean diagonal that is added to second moments, as in GPTQ."""


class Posed(Protocol):
    """What holds a network on the device."""

    @property
    def problem(self) -> Problem: ...


def offers(
    problem: Problem, calibration: Calibration, damage: Damage, branched: Callable[[Mapping[str, int]], Posed]
) -> list[Offer]:
    """Branches of all ``RANKS`` for the layers with most weights.

    Args:
        damage: of the choices of ``problem``; ``branched``: what holds the problem with branches.
    """
    graph, found = problem.graph, []
    most = branches.candidates(graph)
    heaviest = sorted(most, key=lambda name: -graph[name].weights["weight"].numel())[:LAYERS]
    alone = _prices(problem, _at_8_bits(problem))
    whole = np.sum([*alone.values()], axis=0)
    for rank in RANKS:
        ranks = {name: rank for name in heaviest if rank <= max(most[name] // 2, 1)}
        if not ranks:
            continue
        other = branched(ranks).problem
        beside = _prices(other, _at_8_bits(other))
        for name in ranks:
            parts = [name, *(f"{name}.{part}" for part in (branches.DOWN, branches.UP, branches.SUM))]
            extra = np.sum([beside[part] for part in parts if part in beside], axis=0) - alone[name]
            found.append(_offer(problem, calibration, damage, name, rank, np.maximum(extra, 0.0) / whole, whole))
    return found


def _offer(
    problem: Problem, calibration: Calibration, damage: Damage, name: str, rank: int, extra: np.ndarray, whole: np.ndarray
) -> Offer:
    space, layer = problem.space, problem.graph[name]
    decision = space.layer_names.index(name)
    choices = space.choices(decision)
    noise = damage.noise[decision, choices]
    moments = calibration.moments[name]
    shares = [_share_left(layer, rank, number, moments) for number in (space.weight_formats[choice] for choice in choices)]
    price = [_prices(problem, _with(_at_8_bits(problem), decision, choice))[name] / whole for choice in choices]
    return Offer(name, rank, noise, noise * np.array(shares), np.array(price), extra)


def _share_left(layer: Node, rank: int, number: object, moments: Moments) -> float:
    """The share of the noise of a layer's rounding that is left beside a branch, both rounded to ``number``."""
    if not isinstance(number, Int) or number.is_wide:
        return 1.0
    own = layer.weights["weight"].flatten(1).numpy()
    beside = branches.beside(layer, rank).flatten(1).numpy()
    before, after = (_noise(rows, moments, number) for rows in (own, beside))
    return after / before if before > 0 else 1.0


def _noise(rows: np.ndarray, moments: Moments, number: Int) -> float:
    step = (reach.least_squares(rows, number.bits) / number.narrow_limit).astype(np.float32)
    rounded = compensated(rows, moments.fit[0], step, number.narrow_limit, DAMPING) * step[:, None]
    return float(output_error(rounded - rows, moments.held[0]).sum())


def _at_8_bits(problem: Problem) -> PlanRow:
    return problem.space.nearest([8] * problem.space.decisions)


def _with(plan: PlanRow, decision: int, choice: int) -> PlanRow:
    changed = [*plan]
    changed[decision] = choice
    return plan.space.row(changed)


def _prices(problem: Problem, plan: PlanRow) -> dict[str, np.ndarray]:
    """Layer -> seconds and bytes of weights ``float64[2]``."""
    rows = cost.explain(problem.table, matrix([plan])[0])
    return {row["name"]: np.array([row["latency_s"], row["weight_bytes"]], dtype=np.float64) for row in rows}
