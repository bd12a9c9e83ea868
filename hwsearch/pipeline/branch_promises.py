"""What low-rank branches promise: the noise that they take of the rounding of their layers, and what the device asks for it.

How much of a layer's noise is left beside a branch is told by its weights and the second moments of what it reads, with and
without the branch rounded by the same error-compensated rounding; the noise itself is that of the damage table. Prices are those
of the network with all branches of one rank, layer by layer, at 8 bits beside the width in question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from hwmodels import cost
from hwmodels.numbers import Int, NumberFormat
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
    known = {name: _Alone.of(problem, calibration, damage, name, whole) for name in heaviest}
    for rank in RANKS:
        ranks = {name: rank for name in heaviest if rank <= max(most[name] // 2, 1)}
        if not ranks:
            continue
        other = branched(ranks).problem
        beside = _prices(other, _at_8_bits(other))
        for name in ranks:
            parts = [name, *(f"{name}.{part}" for part in (branches.DOWN, branches.UP, branches.SUM))]
            extra = np.sum([beside[part] for part in parts if part in beside], axis=0) - alone[name]
            found.append(known[name].offer(rank, np.maximum(extra, 0.0) / whole))
    return found


@dataclass(frozen=True, eq=False)
class _Alone:
    """A layer without a branch, over the W widths that it may have: output noise ``float64[W]``, price ``float64[W, 2]`` in
    shares of what the network costs, and noise of rounding its weights, 0 where they are not rounded to a few bits."""

    layer: Node
    widths: list[NumberFormat]
    moments: Moments
    noise: np.ndarray
    price: np.ndarray
    rounding: list[float]

    @classmethod
    def of(cls, problem: Problem, calibration: Calibration, damage: Damage, name: str, whole: np.ndarray) -> _Alone:
        space, layer, moments = problem.space, problem.graph[name], calibration.moments[name]
        decision = space.layer_names.index(name)
        choices = space.choices(decision)
        widths = [space.weight_formats[choice] for choice in choices]
        price = [_prices(problem, _with(_at_8_bits(problem), decision, choice))[name] / whole for choice in choices]
        weight = layer.weights["weight"]
        rounding = [_noise(weight, moments, number) for number in widths]
        return cls(layer, widths, moments, damage.noise[decision, choices], np.array(price), rounding)

    def offer(self, rank: int, extra: np.ndarray) -> Offer:
        """The layer beside a branch, of which both are rounded: what share of the noise is left."""
        beside = branches.beside(self.layer, rank)
        shares = [
            _noise(beside, self.moments, number) / before if before > 0 else 1.0
            for number, before in zip(self.widths, self.rounding, strict=True)
        ]
        return Offer(self.layer.name, rank, self.noise, self.noise * np.array(shares), self.price, extra)


def _noise(weight: Tensor, moments: Moments, number: NumberFormat) -> float:
    """Noise power that rounding to a few bits brings to the output; 0 for other formats."""
    if not isinstance(number, Int) or number.is_wide:
        return 0.0
    rows = weight.flatten(1).numpy()
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
