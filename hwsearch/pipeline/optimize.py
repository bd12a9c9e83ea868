"""The main job, from a network and a device to proven plans.

network --trace--> graph, workload          device --load--> cost table
     calibrate --> damage of each choice (proxies, checked against measured plans)
          exact front --> refined by measurement --> chosen plans --> proven in integers --> report
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hwsearch.documents.clock import Clock
from hwsearch.documents.progress import STEPS, Progress, Silent, follow
from hwsearch.documents.results import Results
from hwsearch.pipeline import assemble, damages, expectations, finalists
from hwsearch.pipeline.finalists import Finishing
from hwsearch.plans import prove
from hwsearch.plans.prove import PlanProof
from hwsearch.problem import complexity
from hwsearch.problem.request import Request
from hwsearch.quality import baseline
from hwsearch.quality.log import EvaluationLog
from hwsearch.quality.measurement import Remembering, prepare
from hwsearch.quality.measurement_cache import MeasurementCache
from hwsearch.quality.proxies import sqnr
from hwsearch.report import html
from hwsearch.runs import directory, plan_cache, score_cache
from hwsearch.runs.on_disk import REPORT
from hwsearch.runs.run import Run
from hwsearch.search import checked_proxies, find
from hwsearch.search.found import Search
from hwsearch.search.posed import PosedSearch, pose_search

if TYPE_CHECKING:
    from hwsearch.runs.cluster.coordinator import Coordinator

__all__ = ["Request", "optimize"]

EXPECTED_S = {
    "tracing the network, lowering it to the device": 2.0,
    "calibrating": 4.0,
    "quality proxies": 14.0,
    "signal to noise": 1.0,
    "checking the proxies on random plans": 20.0,
    "solving exactly, simulating the front": 6.0,
    "refining by simulation": 8.0,
    "running the chosen plans in integers": 12.0,
    "writing the report": 6.0,
}
"""Seconds of each stage for the built-in network on one core: the shares behind the time left, corrected while a run goes on."""


def optimize(request: Request, progress: Progress | None = None, shared: MeasurementCache | None = None) -> Results:
    """The whole job. Writes the run directory and returns what is in its ``results.json``.

    Args:
        shared: what runs for other devices have measured of the same network.
    Raises:
        HwsearchError: see ``hwmodels.errors``; nothing that was measured is lost, ``resume`` continues.
    """
    progress, clock = progress or Silent(), Clock()
    if (finished := _finished(request)) is not None:
        return finished
    if not request.resume:
        directory.check_empty(request.run_dir)
        request = complexity.settled(request, progress)
    progress.expect(EXPECTED_S)
    with clock.stage("prepare"), progress.stage("tracing the network, lowering it to the device", 1):
        posed = pose_search(request, shared.network if shared else None)
        problem, space, photos = posed.problem, posed.problem.space, posed.photos
        shared = shared or MeasurementCache(problem.network, [space])
        standing = _standing(posed)
        lead = _shared_study(posed)
    progress.say(f"{standing}, on the search pictures")
    with directory.RunDirectory.start(request, problem, photos) as run:
        clock.keep(run.clock_path)
        with clock.stage("calibrate"), progress.stage("calibrating", STEPS) as stage:
            report = follow(stage, STEPS)
            measuring = prepare(problem, photos, request.seed, shared, report, request.methods, posed.evaluator)
            glance = measuring.glance(problem, photos, request.seed)
            team = lead(posed.tables, measuring) if lead else None
        log = EvaluationLog(run.evaluations_path, team or Remembering(shared, measuring), space, clock.beat)
        shared.remember(space, log.scores())
        scores = score_cache.Scores.of(measuring, space, photos, request.seed, kept=request.cache and team is None)
        if scores.known:
            progress.say(f"{len(scores.known)} plans are known from an earlier run; --no-cache simulates them again")
        shared.remember(space, scores.known)
        if glance is not None:
            glance.seen.update(scores.looks)
        with clock.stage("proxies"):
            tables = damages.of_run(run, posed, shared, progress)
            with progress.stage("signal to noise", STEPS) as stage:
                measure = partial(sqnr.table, pairs=photos.crops, task=photos.task, progress=follow(stage, STEPS))
                ratios = shared.ratios(space, measure)
            proxies = checked_proxies.check(tables, space, log, request.probes, request.seed, progress)
        search = find.find_plans(posed, proxies, log, glance, run.journal_path, clock, progress)
        if request.quick:  # one plan is proven, so one is chosen
            search = replace(search, picks={search.shown: search.picks[search.shown]})
        if team is not None:
            team.finish()
        scores.keep(log.scores(), {} if glance is None else glance.seen)
        with clock.stage("prove"):
            finishing = Finishing(posed, measuring.calibration, search, plan_cache.Plans(request.cache))
            search = finalists.picked(finishing, progress)
            proofs = _proven(finishing, search, run.plans_dir, progress)
        with clock.stage("report"), progress.stage("writing the report", 1):
            results = assemble.results(posed, search, measuring.calibration, ratios, proofs, run, clock)
            results = run.finish(results)
            html.write(results, run.path)
    return results


def _shared_study(posed: PosedSearch) -> Callable[..., Coordinator] | None:
    """What makes the coordinator of the study that a request names; None where it names none, and no database driver is loaded.

    Raises:
        FileError: the database cannot be used.
        MismatchError: the study measures something else.
    """
    request, problem, photos = posed.request, posed.problem, posed.photos
    if request.storage is None or request.study is None:
        return None
    from hwsearch.runs.cluster import coordinator

    study = coordinator.connect(request, problem, photos)
    return partial(coordinator.Coordinator, study, request, problem, photos)


def _standing(posed: PosedSearch) -> str:
    """The floating-point network beside the simplest method, in words.

    Raises:
        UsageError: it is worse, and that was not forced; a run that goes on was asked before.
    """
    request, standing = posed.request, baseline.standing(posed.evaluator)
    if not request.resume:
        otherwise = partial(expectations.measured, request, posed.evaluator)
        baseline.check(standing, otherwise, force=request.force)
    return str(standing or f"floating point {posed.evaluator.float_db:.2f} dB")


def _proven(finishing: Finishing, search: Search, plans_dir: Path, progress: Progress) -> dict[int, PlanProof]:
    """The chosen plans, run in integers on the evaluation pictures; by row of ``search``, those whose proof fails, too."""
    posed, earlier, proofs = finishing.posed, finishing.earlier, {}
    names, rows = search.names(), list(dict.fromkeys(search.picks.values()))
    with progress.stage("running the chosen plans in integers", STEPS * len(rows)) as stage:
        for row in rows:
            report = follow(stage, STEPS)
            quantized = finishing(row, report)
            proofs[row] = prove.prove(
                names[row], quantized, posed.problem, search.tilings[row].tiling, posed.photos, plans_dir, earlier
            )
            report("proven" if proofs[row].unproven is None else "not proven", 1.0)
    if earlier.taken:
        progress.say("chosen plans, or their measurements, are taken from an earlier run; --no-cache repeats them")
    return proofs


def _finished(request: Request) -> Results | None:
    """The results of the run to go on with, where it is finished: nothing is measured, and no code of anybody is run.

    Raises:
        UsageError: the run was started differently.
    """
    if not request.resume or request.run_dir is None:
        return None
    run = Run(request.run_dir)
    if not run.is_finished:
        return None
    directory.check_request(run.path, request)
    if not (run.path / REPORT).is_file():
        html.write(run.results, run.path)
    return run.results
