"""A plan of few bits is picked by what it loses once it is finished.

What finishing makes up for differs from plan to plan. Of shipped FSRCNN within 8.9 KiB and 250 ms on an STM32H743, the plan that
loses least as simulated (0.124 dB) loses 0.064 dB when it is polished, and the third (0.133 dB) 0.036 dB; on the evaluation
pictures 0.132 and 0.061 dB. So the first few are finished, and the one that then loses least on the search pictures is picked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from hwmodels.numbers import INT8, bits_of
from hwsearch.documents.progress import STEPS, Progress, follow
from hwsearch.quant import methods
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.engine.simulate import simulated
from hwsearch.quant.method import Progress as Report
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.runs.plan_cache import Plans
from hwsearch.search import pareto
from hwsearch.search.found import Search
from hwsearch.search.posed import PosedSearch
from searchspaces.space import matrix

FINALISTS = 3
"""Plans that are finished before one is picked, where the request does not say how many; one, where a method was asked for that
may train for long."""


@dataclass
class Finishing:
    """Plans of a search, finished, each of them once; ``earlier``: what other runs have finished."""

    posed: PosedSearch
    calibration: Calibration
    search: Search
    earlier: Plans
    _made: dict[int, QuantizedGraph] = field(default_factory=dict)

    def __call__(self, row: int, progress: Report) -> QuantizedGraph:
        """The plan in ``row``, as it is used."""
        if row not in self._made:
            own, plan, request = self.calibration.by(self.search.methods[row]), self.search.plans[row], self.posed.request
            finished = partial(self.earlier.finished, photos=self.posed.photos, seed=request.seed, progress=progress)
            self._made[row] = own.quantized(plan) if request.quick else finished(own, plan)
        return self._made[row]


def picked(finishing: Finishing, progress: Progress) -> Search:
    """The search with the best of its finalists as the plan that is recommended."""
    posed, search = finishing.posed, finishing.search
    rows = _rows(posed, search)
    if len(rows) < 2:
        return search
    losses_db = {}
    with progress.stage("finishing plans, to pick the best", STEPS * len(rows)) as stage:
        for row in rows:
            report = follow(stage, STEPS)
            network = finishing(row, report)
            losses_db[row] = posed.evaluator.score(partial(simulated, network)).loss_db
            report("finished", 1.0)
    best = min(losses_db, key=losses_db.__getitem__)
    return replace(search, picks=search.picks | {search.shown: best}, finalists=losses_db)


def _rows(posed: PosedSearch, search: Search) -> list[int]:
    """Plans that are finished before one is picked: those that lose least of no higher price than is asked for, or than the knee
    has. Fewer than two where finishing changes nothing, or a loss is asked for, which what was simulated has to meet."""
    request, problem, row = posed.request, posed.problem, search.picks[search.shown]
    widths = [bits_of(width) for given in problem.space.named(search.plans[row]) for width in given.values()]
    if request.quick or problem.graph.remembered or "loss" in posed.budgets or min(widths) >= INT8.bits:
        return []
    counting = problem.space.counting
    counted = counting.of_plans(matrix(search.plans)) if counting else {}
    values = pareto.columns(search.losses, search.objectives) | counted
    own = {name: float(values[pareto.LIMITS[name]][row]) for name in ("latency", "memory")}
    usual = FINALISTS if request.methods == (methods.USUAL,) else 1
    return pareto.within(values, posed.budgets or own, problem.table.limits)[: request.finalists or usual]
