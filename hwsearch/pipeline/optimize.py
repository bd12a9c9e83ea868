"""The main job, from a network and a device to proven plans.

network --trace--> graph, workload          device --load--> cost table
     calibrate --> damage of each choice (proxies, checked against measured plans)
          exact front --> refined by measurement --> chosen plans --> proven in integers --> report
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.cost import CostTable
from hwsearch.documents.clock import Clock
from hwsearch.documents.progress import STEPS, Progress, Silent, follow
from hwsearch.documents.results import ProxyCheck, Results
from hwsearch.pipeline import assemble, expectations
from hwsearch.plans import prove
from hwsearch.plans.prove import PlanProof
from hwsearch.problem.pictures import Pictures, choose_pictures
from hwsearch.problem.pose import Problem, pose
from hwsearch.problem.request import Request
from hwsearch.quality import baseline, chosen_proxy
from hwsearch.quality.damage import Damage
from hwsearch.quality.evaluate import Evaluator
from hwsearch.quality.log import EvaluationLog
from hwsearch.quality.measurement import Remembering, in_floating_point, prepare
from hwsearch.quality.proxies import sqnr
from hwsearch.quality.shared import Shared
from hwsearch.quant.calibrate import Calibration
from hwsearch.report import html
from hwsearch.runs import damage_cache, damage_file, directory, plan_cache, score_cache
from hwsearch.runs.run import REPORT, Run
from hwsearch.search import correlation, find, frame_rate, tiling_options
from hwsearch.search.exact import exact
from hwsearch.search.found import Search
from hwsearch.search.propose import random_plans
from hwsearch.search.tiling_options import TilingOptions
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.space import PlanRow, SearchSpace, matrix

if TYPE_CHECKING:
    from hwsearch.runs.cluster.coordinator import Coordinator

__all__ = ["Request", "optimize"]

EXPECTED_S = {
    "tracing the network, lowering it to the device": 2.0,
    "calibrating": 4.0,
    "quality proxies": 14.0,
    "checking the proxies on random plans": 20.0,
    "solving exactly, simulating the front": 6.0,
    "refining by simulation": 8.0,
    "running the chosen plans in integers": 12.0,
    "writing the report": 6.0,
}
"""Seconds of each stage for the built-in network on one core: the shares behind the time left, corrected while a run goes on."""


RANKED = 2
"""A quick run ranks plans on every second of the crops that it is calibrated on: on the built-in network its ranks of random
plans correlate with 0.993 where all of them give 1.000, and the plan that it proves is the same."""


def measure_damage(
    calibration: Calibration, photos: Pictures, float_mse: np.ndarray, seed: int, progress: Progress, *, quick: bool = False
) -> dict[str, Damage]:
    """The damage table of every proxy that searches use: noise measured on the crops, told in dB for pictures on which the
    floating-point network errs by ``float_mse``."""
    tables = {}
    searched = chosen_proxy.measured(calibration.graph, calibration.space, quick)
    if chosen_proxy.DEFAULT not in searched:
        progress.say(f"{chosen_proxy.DEFAULT} is not measured: one run of this network for each choice would take too long")
    with progress.stage("quality proxies", STEPS * len(searched)) as stage:
        for name, info in searched.items():
            report = follow(stage, STEPS)
            tables[name] = replace(
                info.measure(calibration, photos.crops[:: RANKED if quick else 1], seed, report, photos.task), float_mse=float_mse
            )
            report(name, 1.0)
    return tables


def check_proxies(
    damages: Mapping[str, Damage], space: SearchSpace, log: EvaluationLog, count: int, seed: int, progress: Progress
) -> tuple[list[ProxyCheck], list[PlanRow]]:
    """Measure random plans and say how well each proxy ranks them."""
    plans = random_plans.sample(space, count, seed=seed)
    with progress.stage("checking the proxies on random plans", len(plans)) as stage:
        measured = np.empty(len(plans))
        for i, score in enumerate(log(plans)):
            measured[i] = score.loss_db
            stage.advance()
    checks = []
    for name, damage in damages.items():
        predicted = damage.loss_db(matrix(plans))
        checks.append(
            ProxyCheck(
                name=name,
                spearman=correlation.spearman(predicted, measured),
                seconds=damage.seconds,
                predicted_db=predicted.tolist(),
                simulated_db=measured.tolist(),
            )
        )
    return checks, plans


@dataclass(frozen=True, eq=False)
class Posed:
    """What a run works on: the network on its device, the ways to cut the picture, the budgets, the pictures, and the judge of
    plans, which has seen the floating-point network."""

    problem: Problem
    tilings: TilingOptions
    budgets: Mapping[str, float]
    photos: Pictures
    evaluator: Evaluator

    @property
    def tables(self) -> list[CostTable]:
        """Prices, one table for each way to cut the picture that takes part."""
        return [tiled.table for tiled in self.tilings.useful]


def optimize(request: Request, progress: Progress | None = None, shared: Shared | None = None) -> Results:
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
    progress.expect(EXPECTED_S)
    with clock.stage("prepare"), progress.stage("tracing the network, lowering it to the device", 1):
        posed = _posed(request, shared.network if shared else None)
        problem, space, photos = posed.problem, posed.problem.space, posed.photos
        shared = shared or Shared(problem.network, [space])
        standing = _standing(request, posed)
        lead = _shared_study(request, problem, photos)
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
            damages = _tables(run, space, shared, photos, posed.evaluator.float_mse, request, progress)
            ratios = shared.ratios(space, partial(sqnr.table, pairs=photos.crops, task=photos.task))
            checks, probes = check_proxies(damages, space, log, request.probes, request.seed, progress)
        search = find.find_plans(
            request,
            problem,
            posed.tilings,
            posed.budgets,
            damages,
            checks,
            probes,
            log,
            glance,
            run.journal_path,
            clock,
            progress,
        )
        if request.quick:  # one plan is proven, so one is chosen
            role = "budget" if "budget" in search.picks else "knee"
            search = replace(search, picks={role: search.picks[role]})
        if team is not None:
            team.finish()
        scores.keep(log.scores(), {} if glance is None else glance.seen)
        with clock.stage("prove"):
            proofs = _proven(request, posed, measuring.calibration, search, run.plans_dir, progress)
        with clock.stage("report"), progress.stage("writing the report", 1):
            results = assemble.results(
                request,
                problem,
                posed.tilings,
                photos,
                search,
                measuring.calibration,
                ratios,
                proofs,
                run,
                clock.wall_s,
                clock.stages_s,
            )
            results = run.finish(results)
            html.write(results, run.path)
    return results


def _shared_study(request: Request, problem: Problem, photos: Pictures) -> Callable[..., Coordinator] | None:
    """What makes the coordinator of the study that a request names; None where it names none, and no database driver is loaded.

    Raises:
        FileError: the database cannot be used.
        MismatchError: the study measures something else.
    """
    if request.storage is None or request.study is None:
        return None
    from hwsearch.runs.cluster import coordinator

    study = coordinator.connect(request, problem, photos)
    return partial(coordinator.Coordinator, study, request, problem, photos)


def _posed(request: Request, network: LoadedNetwork | None) -> Posed:
    """Whatever can be refused is refused here, before anything is measured.

    Raises:
        BudgetError: no plan meets the budgets on price, or holds the rate.
    """
    problem = pose(request, network)
    budgets = frame_rate.budgets_with(request.budgets, request.fps)
    tilings = tiling_options.left_open(problem, request, budgets)
    tables = [tiled.table for tiled in tilings.useful]
    if request.fps is not None:
        frame_rate.check_rate(request.fps, tables, problem.space, request.budgets)
    exact.check_feasible(tables, problem.space, budgets)
    photos = choose_pictures(request, problem.network)
    return Posed(problem, tilings, budgets, photos, in_floating_point(problem, photos))


def _standing(request: Request, posed: Posed) -> str:
    """The floating-point network beside the simplest method, in words.

    Raises:
        UsageError: it is worse, and that was not forced; a run that goes on was asked before.
    """
    standing = baseline.standing(posed.evaluator)
    if not request.resume:
        otherwise = partial(expectations.measured, request, posed.evaluator)
        baseline.check(standing, otherwise, force=request.force)
    return str(standing or f"floating point {posed.evaluator.float_db:.2f} dB")


def _proven(
    request: Request, posed: Posed, calibration: Calibration, search: Search, plans_dir: Path, progress: Progress
) -> dict[int, PlanProof]:
    """The chosen plans, run in integers on the evaluation pictures; by row of ``search``, those whose proof fails, too."""
    names, rows, proofs = search.names(), list(dict.fromkeys(search.picks.values())), {}
    earlier = plan_cache.Plans(request.cache)
    with progress.stage("running the chosen plans in integers", STEPS * len(rows)) as stage:
        for row in rows:
            report = follow(stage, STEPS)
            own = calibration.by(search.methods[row])
            plan = search.plans[row]
            quantized = own.quantized(plan) if request.quick else earlier.finished(own, plan, posed.photos, request.seed, report)
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


def _tables(
    run: directory.RunDirectory,
    space: SearchSpace,
    shared: Shared,
    photos: Pictures,
    float_mse: np.ndarray,
    request: Request,
    progress: Progress,
) -> dict[str, Damage]:
    """The damage tables of a run: from its directory, where an earlier process left them, else from the cache, else measured and
    written to both."""
    if run.damage_path.exists():
        with progress.stage("quality proxies", 1):
            return damage_file.load(run.damage_path, space)

    tables = shared.tables(space, partial(measured_tables, photos, float_mse, request, progress))
    damage_file.save(run.damage_path, tables, space)
    return tables


def measured_tables(
    photos: Pictures, float_mse: np.ndarray, request: Request, progress: Progress, calibration: Calibration
) -> dict[str, Damage]:
    """The damage tables of a calibrated network, from the cache of this person or for it."""
    searched = chosen_proxy.measured(calibration.graph, calibration.space, request.quick)
    name = damage_cache.key(calibration, photos, request.seed, searched, quick=request.quick)
    if request.cache and (known := damage_cache.load(name, calibration.space)) is not None:
        progress.say("quality proxies are taken from an earlier run; --no-cache measures them again")
        return known
    found = measure_damage(calibration, photos, float_mse, request.seed, progress, quick=request.quick)
    if request.cache:
        damage_cache.save(name, found, calibration.space)
    return found
