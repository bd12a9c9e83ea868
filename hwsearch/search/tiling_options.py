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
from hwmodels.tiling import tiles, tiling
from hwmodels.tiling.tiles import Cut
from hwmodels.tiling.tiling import Tiling
from hwsearch.documents.results import TilingPoint
from hwsearch.problem.pose import Problem, Request
from hwsearch.search import pareto
from hwsearch.search.exact.alternatives import fastest_within, take
from searchspaces.space import PlanRow, matrix


def every(problem: Problem, halo: str | None = None) -> list[Cut]:
    """The whole picture and all candidates of ``tiles.candidates``, or those with one kind of halo, priced.

    Raises:
        UsageError: no such halo.
    """
    if halo is not None and halo not in tiling.HALOS:
        raise UsageError(f"--halo {halo!r} is not known", closest(halo, tiling.HALOS))
    found = [t for t in tiles.candidates(problem.workload) if halo in (None, t.halo)]
    return [problem.cut, *(tiles.lower(problem.device, problem.workload, problem.space, t) for t in found)]


@dataclass(frozen=True, eq=False)
class Ways:
    """How the picture may be cut: all that were priced, and those that take part in the search; ``limits`` in bytes decide."""

    priced: tuple[Cut, ...]
    useful: tuple[Cut, ...]
    limits: Mapping[str, float]

    def take(self, plans: np.ndarray) -> tuple[cost.Objectives, list[Cut]]:
        """The price of ``plans int8[P, D]``, each cut in its best way, and that way."""
        prices = [cost.estimate(cut.table, plans) for cut in self.useful]
        best = fastest_within([pareto.columns(np.zeros(len(plans)), price) for price in prices], self.limits)
        chosen = cost.Objectives(*(take(best, columns) for columns in zip(*prices, strict=True)))
        return chosen, [self.useful[i] for i in best]


def ways(problem: Problem, request: Request, budgets: Mapping[str, float]) -> Ways:
    """The ways that a request leaves open (see ``Request.tile``)."""
    limits = {name: float(value) for name, value in problem.table.limits.items()}
    if "memory" in budgets:
        limits["memory_bytes"] = budgets["memory"]
    asked = request.tile
    if asked is None:
        asked = "whole" if fits_every(problem.cut, limits) else "auto"
    if asked != "auto":
        return Ways((problem.cut,), (problem.cut,), limits)
    priced = every(problem, request.halo)
    return Ways(tuple(priced), tuple(useful(priced, limits)), limits)


def useful(cuts: Iterable[Cut], limits: Mapping[str, float]) -> list[Cut]:
    """The cuts that may be the fastest that fits for some plan; where none fits any, the one that needs least memory."""
    cuts = list(cuts)
    fitting = [cut for cut in cuts if _within(_extreme(cut, widest=False), limits)]
    if not fitting:
        return [min(cuts, key=lambda cut: _extreme(cut, widest=False)["peak_activation_bytes"])]
    kept: list[Cut] = []
    for cut in sorted(fitting, key=lambda cut: float(cut.table.latency_s.max(axis=(1, 2, 3)).sum() + cut.table.inference_s)):
        if not any(_fits_where(other, cut, limits) and tiles.never_faster(cut.table, other.table) for other in kept):
            kept.append(cut)
    return kept


def fits_every(cut: Cut, limits: Mapping[str, float]) -> bool:
    """Whether every plan is within the memory limits."""
    most = _extreme(cut, widest=True)
    if cut.table.arenas:
        most["peak_activation_bytes"] = float(max(arena.most_bytes for arena in cut.table.arenas))
        most["memory_bytes"] = most["weight_bytes"] + most["peak_activation_bytes"]
    return _within(most, limits)


def _fits_where(cut: Cut, other: Cut, limits: Mapping[str, float]) -> bool:
    """Whether ``cut`` fits under every plan under which ``other`` does."""
    if fits_every(cut, limits):
        return True
    if cut.table.arenas:
        return False
    return all(np.any(np.all(other.table.live >= step, axis=1)) for step in cut.table.live)


def _extreme(cut: Cut, *, widest: bool) -> dict[str, float]:
    """Bytes with every choice at its largest, or at its smallest: bounds for all plans (where a planner lays out the arena, only
    the smallest is one)."""
    table, which = cut.table, np.max if widest else np.min
    peak = float(table.live.sum(axis=1).max() * which(table.element_bytes)) + table.runtime_bytes
    weights = float(which(table.weight_bytes, axis=(1, 2)).sum())
    return {"weight_bytes": weights, "peak_activation_bytes": peak, "memory_bytes": weights + peak}


def _within(values: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    return all(values[name] <= limit for name, limit in limits.items() if name in values)


def curve(cuts: Sequence[Cut], plan: PlanRow, limits: Mapping[str, float], chosen: Cut) -> list[TilingPoint]:
    """What every way costs under one plan: the whole picture, strips that keep rows, strips and tiles that compute
    their borders again, with shrinking size."""
    width = cuts[0].workload.tensors[0].width
    points = []
    for cut in sorted(cuts, key=lambda cut: _order(cut.tiling, width)):
        price = cost.estimate(cut.table, matrix([plan]))
        values = {name: float(column[0]) for name, column in pareto.columns(np.zeros(1), price).items()}
        points.append(
            TilingPoint(
                tiling=cut.tiling,
                tiles=cut.tiles,
                macs=cut.macs,
                latency_s=values["latency_s"],
                peak_activation_bytes=int(values["peak_activation_bytes"]),
                energy_j=values["energy_j"] if np.isfinite(values["energy_j"]) else None,
                fits=_within(values, limits),
                chosen=cut.tiling == chosen.tiling,
            )
        )
    return points


def _order(tiling: Tiling | None, width: int) -> tuple[int, int]:
    if tiling is None:
        return 0, 0
    kind = 1 if tiling.halo == "keep" else 2 if tiling.width == width else 3
    return kind, -tiling.height * tiling.width
