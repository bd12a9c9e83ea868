"""Which layer gets which bits: exact fronts of the most truthful proxy, calibrated and refined by measurement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from hwmodels.errors import FileError
from hwsearch.documents.clock import Clock
from hwsearch.documents.origin import FoundBy, Origin
from hwsearch.documents.progress import Progress, Stage
from hwsearch.documents.results import ProxyCheck
from hwsearch.problem.request import Request
from hwsearch.quality.evaluate import Score
from hwsearch.quality.log import EvaluationLog
from hwsearch.quality.measurement import Glance
from hwsearch.search import checked_proxies, evolve, found, pareto, rounds
from hwsearch.search.checked_proxies import CheckedProxies
from hwsearch.search.posed import PosedSearch
from hwsearch.search.predict.screen import Screen, trust
from hwsearch.search.propose import given, uniform
from searchspaces.space import PlanRow, SearchSpace, matrix

FRONT_POINTS = 20
"""Latency budgets of the exact fronts, over all ways to cut the picture."""


def find_plans(
    posed: PosedSearch,
    proxies: CheckedProxies,
    log: EvaluationLog,
    glance: Glance | None,
    journal_path: Path,
    clock: Clock,
    progress: Progress,
) -> found.Search:
    """Exact fronts of the most truthful proxy, calibrated and refined by measurement; then the non-dominated plans and the chosen
    ones. Every way to cut the picture has its own front; every plan then takes its best way.

    Args:
        glance: what proposals are screened by once the fronts are measured; None: by nothing.
    """
    request, space = posed.request, posed.problem.space
    start = given.plan(space, posed.problem.network.widths)
    with clock.stage("exact front"), progress.stage("solving exactly, simulating the front", request.evaluations) as stage:
        solved = rounds.solve(
            posed.tables,
            proxies.best,
            space,
            posed.budgets,
            proxies.probes,
            proxies.losses_db,
            partial(_losses, log, stage),
            points=FRONT_POINTS,
            start=() if start is None else (start,),
            **_share(request),
        )
    uniforms = uniform.plans(space)
    _reconcile(space, log, journal_path)
    with clock.stage("refine"), progress.stage("refining by simulation", request.evaluations) as stage:
        evolve.refine(
            space,
            posed.tables,
            log,
            [*solved.anchors, *solved.plans, *uniforms.values()],
            evaluations=request.evaluations,
            batch=request.batch,
            sampler=request.sampler,
            seed=request.seed,
            storage_path=journal_path,
            advance=stage.advance,
            screen=_screen(solved, glance),
            tilings=["whole" if tiled.tiling is None else str(tiled.tiling) for tiled in posed.tilings.useful],
            methods=request.methods,
        )
    return _searched(posed, proxies, solved, uniforms, start, log.scores())


def _searched(
    posed: PosedSearch,
    proxies: CheckedProxies,
    solved: rounds.Rounds,
    uniforms: Mapping[str, PlanRow],
    start: PlanRow | None,
    scores: Mapping[PlanRow, Score],
) -> found.Search:
    """All measured plans with their prices, the front of them, and the plan for every role."""
    plans, rows = [*scores], matrix(scores)
    losses = np.array([score.loss_db for score in scores.values()])
    objectives, taken = posed.tilings.take(rows)
    counting, limits = posed.problem.space.counting, posed.problem.table.limits
    front = pareto.front_of(losses, objectives, limits)
    counts = counting.of_plans(rows) if counting else {}
    return found.Search(
        checks=proxies.checks,
        front_checks=_front_checks(proxies.best.proxy, solved),
        plans=plans,
        losses=losses,
        objectives=objectives,
        front=front,
        picks=pareto.choose(front, losses, objectives, posed.budgets, limits, counts),
        origins=_origins(plans, proxies.probes, solved.plans, uniforms, start),
        tilings=taken,
        methods=[score.method for score in scores.values()],
        rewritten=_ending(posed.request),
    )


def _ending(request: Request) -> str:
    """What names of plans of a rewritten network end in."""
    dropped, branches = len(request.dropped), len(request.branches)
    return (f"-without-{dropped}" if dropped else "") + (f"-branches-{branches}" if branches else "")


def _losses(log: EvaluationLog, stage: Stage, plans: Sequence[PlanRow]) -> Iterator[float]:
    """Simulated losses in dB, each a step of a stage."""
    for score in log(plans):
        stage.advance()
        yield score.loss_db


def _screen(solved: rounds.Rounds, glance: Glance | None) -> Screen | None:
    """Cheap looks, trusted as far as the plans of the exact fronts showed."""
    if glance is None:
        return None
    overrated = trust(solved.predicted_db, solved.simulated_db)
    return Screen(solved.prediction.loss_db, overrated, glance, glance.share)


def _reconcile(space: SearchSpace, log: EvaluationLog, journal_path: Path) -> None:
    """Measure again what the journal of a resumed run holds as measured and its log has lost: a copy of a run at work, or a line
    that was removed. Asked in the journal's order, the plans stand in the log's as if nothing had been lost.

    Raises:
        FileError: log and journal say different losses of one plan.
    """
    before = evolve.finished(space, journal_path)
    for (_, loss_db), score in zip(before, log([plan for plan, _ in before]), strict=True):
        if not score.agrees(loss_db):
            raise FileError(
                f"{journal_path} says that a plan loses {loss_db:.4f} dB, and the log of evaluations {score.loss_db:.4f} dB",
                "The two files are of different runs or versions. Move the journal away and go on with --resume.",
            )


def _share(request: Request) -> dict[str, int]:
    """What the exact fronts take of the evaluations: most of them in rounds, or half at once before another sampler goes on."""
    if request.sampler == "exact":
        return {"evaluations": max(1, request.evaluations * 3 // 4)}
    half = max(1, request.evaluations // 2)
    return {"evaluations": half, "rounds": 1, "batch": half}


def _front_checks(proxy: str, solved: rounds.Rounds) -> list[ProxyCheck]:
    """How well the loss of the exact plans was known before they were measured: by the proxy, and calibrated by the plans
    before them."""
    return [
        checked_proxies.beside(name, predicted, solved.simulated_db)
        for name, predicted in ((proxy, solved.by_proxy_db), (f"{proxy}, calibrated", solved.predicted_db))
        if len(predicted) > 1
    ]


def _origins(
    plans: Sequence[PlanRow],
    probes: Sequence[PlanRow],
    starts: Sequence[PlanRow],
    uniforms: Mapping[str, PlanRow],
    start: PlanRow | None,
) -> dict[int, Origin]:
    """Row -> where the plan first came from; the most telling origin wins."""
    known = dict.fromkeys(probes, Origin(FoundBy.PROBE)) | dict.fromkeys(starts, Origin(FoundBy.EXACT))
    if start is not None:
        known[start] = Origin(FoundBy.FILE)
    known |= {plan: Origin(FoundBy.UNIFORM, name) for name, plan in uniforms.items()}
    return {row: known.get(plan, Origin(FoundBy.REFINE)) for row, plan in enumerate(plans)}
