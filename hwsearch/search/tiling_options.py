"""How the picture is cut in a search: which ways take part, which of them a plan takes, and what the choice looks like.

Quality does not depend on the cut: tiles join exactly. So widths are measured once, and every plan takes the fastest way that
fits into the memory there is. Ways that can be the fastest for no plan are left out, by proof, before the search begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels import cost
from hwmodels.errors import UsageError, closest
from hwmodels.pricing.table import CostTable
from hwmodels.tiling import tiles, tiling
from hwmodels.tiling.tiles import PricedTiling
from hwmodels.tiling.tiling import Tiling
from hwsearch.documents.results import TilingPoint
from hwsearch.problem.pose import Problem
from hwsearch.problem.request import Request
from hwsearch.search import pareto
from hwsearch.search.exact.alternatives import fastest_within, take
from searchspaces.ir.tiled import placed
from searchspaces.space import PlanRow, matrix


def every(problem: Problem, halo: str | None = None) -> list[PricedTiling]:
    """The whole picture and all candidates of ``tiles.candidates``, or those with one kind of halo, priced.

    Raises:
        UsageError: no such halo.
    """
    if halo is not None and halo not in tiling.HALOS:
        raise UsageError(f"--halo {halo!r} is not known", closest(halo, tiling.HALOS))
    cuts = tiles.candidates(problem.workload) if placed(problem.graph) is None else []
    found = [t for t in cuts if halo in (None, t.halo)]
    return [problem.tiled, *(tiles.lower(problem.device, problem.workload, problem.space, t) for t in found)]


@dataclass(frozen=True, eq=False)
class TilingOptions:
    """How the picture may be cut: all that were priced, and those that take part in the search; ``limits`` in bytes decide."""

    priced: tuple[PricedTiling, ...]
    useful: tuple[PricedTiling, ...]
    limits: Mapping[str, float]

    @property
    def tables(self) -> list[CostTable]:
        """Prices, one table for each way that takes part."""
        return [tiled.table for tiled in self.useful]

    def take(self, plans: np.ndarray) -> tuple[cost.Objectives, list[PricedTiling]]:
        """The price of ``plans int8[P, D]``, each cut in its best way, and that way."""
        prices = [cost.estimate(tiled.table, plans) for tiled in self.useful]
        best = fastest_within([pareto.columns(np.zeros(len(plans)), price) for price in prices], self.limits)
        chosen = cost.Objectives(*(take(best, columns) for columns in zip(*prices, strict=True)))
        return chosen, [self.useful[i] for i in best]


def left_open(problem: Problem, request: Request, budgets: Mapping[str, float]) -> TilingOptions:
    """The ways that a request leaves open (see ``Request.tile``)."""
    limits = {name: float(value) for name, value in problem.table.limits.items()}
    if "memory" in budgets:
        limits["memory_bytes"] = budgets["memory"]
    asked = request.tile
    if asked is None:
        asked = "whole" if fits_every(problem.tiled, limits) else "auto"
    if asked != "auto":
        return TilingOptions((problem.tiled,), (problem.tiled,), limits)
    priced = every(problem, request.halo)
    return TilingOptions(tuple(priced), tuple(useful(priced, limits)), limits)


def useful(tilings: Iterable[PricedTiling], limits: Mapping[str, float]) -> list[PricedTiling]:
    """The cuts that may be the fastest that fits for some plan; where none fits any, the one that needs least memory."""
    tilings = list(tilings)
    fitting = [tiled for tiled in tilings if _within(_extreme(tiled, widest=False), limits)]
    if not fitting:
        return [min(tilings, key=lambda tiled: _extreme(tiled, widest=False)["peak_activation_bytes"])]
    kept: list[PricedTiling] = []
    for tiled in sorted(
        fitting, key=lambda tiled: float(tiled.table.latency_s.max(axis=(1, 2, 3)).sum() + tiled.table.inference_s)
    ):
        if not any(_fits_where(other, tiled, limits) and tiles.never_faster(tiled.table, other.table) for other in kept):
            kept.append(tiled)
    return kept


def fits_every(tiled: PricedTiling, limits: Mapping[str, float]) -> bool:
    """Whether every plan is within the memory limits."""
    most = _extreme(tiled, widest=True)
    if tiled.table.arenas:
        most["peak_activation_bytes"] = float(max(arena.most_bytes for arena in tiled.table.arenas))
        most["memory_bytes"] = most["weight_bytes"] + most["peak_activation_bytes"]
    return _within(most, limits)


def _fits_where(tiled: PricedTiling, other: PricedTiling, limits: Mapping[str, float]) -> bool:
    """Whether ``tiled`` fits under every plan under which ``other`` does."""
    if fits_every(tiled, limits):
        return True
    if tiled.table.arenas:
        return False
    return all(np.any(np.all(other.table.live >= step, axis=1)) for step in tiled.table.live)


def _extreme(tiled: PricedTiling, *, widest: bool) -> dict[str, float]:
    """Bytes with every choice at its largest, or at its smallest: bounds for all plans (where a planner lays out the arena, only
    the smallest is one)."""
    table, which = tiled.table, np.max if widest else np.min
    peak = float(table.live.sum(axis=1).max() * which(table.element_bytes)) + table.runtime_bytes
    weights = sum(float(which(table.stored_bytes(row))) for row in range(len(table.layers)))
    return {"weight_bytes": weights, "peak_activation_bytes": peak, "memory_bytes": weights + peak}


def _within(values: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    return all(values[name] <= limit for name, limit in limits.items() if name in values)


def curve(tilings: Sequence[PricedTiling], plan: PlanRow, limits: Mapping[str, float], chosen: PricedTiling) -> list[TilingPoint]:
    """What every way costs under one plan: the whole picture, strips that keep rows, strips and tiles that compute
    their borders again, with shrinking size."""
    width = tilings[0].workload.tensors[0].width
    points = []
    for tiled in sorted(tilings, key=lambda tiled: _order(tiled.tiling, width)):
        price = cost.estimate(tiled.table, matrix([plan]))
        values = {name: float(column[0]) for name, column in pareto.columns(np.zeros(1), price).items()}
        points.append(
            TilingPoint(
                tiling=tiled.tiling,
                tiles=tiled.tiles,
                macs=tiled.macs,
                latency_s=values["latency_s"],
                peak_activation_bytes=int(values["peak_activation_bytes"]),
                energy_j=values["energy_j"] if np.isfinite(values["energy_j"]) else None,
                fits=_within(values, limits),
                chosen=tiled.tiling == chosen.tiling,
            )
        )
    return points


def _order(tiling: Tiling | None, width: int) -> tuple[int, int]:
    if tiling is None:
        return 0, 0
    kind = 1 if tiling.halo == "keep" else 2 if tiling.width == width else 3
    return kind, -tiling.height * tiling.width
