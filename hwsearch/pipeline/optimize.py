"""The main job, from a network and a device to proven plans.

network --trace--> graph, workload          device --load--> cost table
     calibrate --> damage of each choice (proxies, checked against measured plans)
          exact front --> refined by measurement --> chosen plans --> proven in integers --> report
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hwsearch.documents.clock import Clock
from hwsearch.documents.progress import STEPS, Progress, Silent, follow
from hwsearch.documents.results import ProxyCheck, Results
from hwsearch.pipeline import assemble
from hwsearch.plans import prove
from hwsearch.problem.pose import Pictures, Request, choose_pictures, pose
from hwsearch.quality import baseline, proxies
from hwsearch.quality.damage import Damage
from hwsearch.quality.evaluate import Score, on_patches
from hwsearch.quality.log import EvaluationLog
from hwsearch.quality.measuring import in_floating_point, prepare
from hwsearch.quality.proxies import sqnr
from hwsearch.quality.shared import Shared
from hwsearch.quant.calibrate import Calibration
from hwsearch.report import html
from hwsearch.runs import damage_file, directory
from hwsearch.runs.cluster import coordinator
from hwsearch.runs.cluster.coordinator import Coordinator
from hwsearch.runs.run import REPORT, Run
from hwsearch.search import find, frame_rate, rounds, tiling_options
from hwsearch.search.exact import exact
from hwsearch.search.predict.screen import Screen, trust
from hwsearch.search.propose import random_plans
from searchspaces.ir.graph import execute
from searchspaces.space import PlanRow, SearchSpace, matrix

__all__ = ["Request", "optimize"]

EXPECTED_S = {
    "tracing the network, lowering it to the device": 2.0,
    "calibrating": 4.0,
    "quality proxies": 14.0,
    "checking the proxies on random plans": 20.0,
    "solving exactly, measuring the front": 6.0,
    "refining by measurement": 8.0,
    "running the chosen plans in integers": 12.0,
    "writing the report": 6.0,
}
"""Seconds of each stage for the built-in network on one core: the shares behind the time left, corrected while a run goes on."""


def measure_damage(
    calibration: Calibration, photos: Pictures, float_mse: np.ndarray, seed: int, progress: Progress
) -> dict[str, Damage]:
    """The damage table of every proxy that searches use: noise measured on the crops, told in dB for pictures on which the
    floating-point network errs by ``float_mse``."""
    tables = {}
    searched = {name: info for name, info in proxies.PROXIES.items() if info.searched}
    with progress.stage("quality proxies", STEPS * len(searched)) as stage:
        for name, info in searched.items():
            report = follow(stage, STEPS)
            tables[name] = replace(info.measure(calibration, photos.crops, seed, report, photos.task), float_mse=float_mse)
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
            measured[i] = score.psnr_loss_db
            stage.advance()
    checks = []
    for name, damage in damages.items():
        predicted = damage.psnr_loss_db(matrix(plans))
        checks.append(
            ProxyCheck(
                name=name,
                spearman=random_plans.spearman(predicted, measured),
                seconds=damage.seconds,
                predicted_db=predicted.tolist(),
                measured_db=measured.tolist(),
            )
        )
    return checks, plans


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
    progress.expect(EXPECTED_S)
    with clock.stage("prepare"), progress.stage("tracing the network, lowering it to the device", 1):
        problem = pose(request, shared.network if shared else None)
        shared = shared or Shared(problem.network, [problem.space])
        budgets = frame_rate.budgets_with(request.budgets, request.fps)
        ways = tiling_options.ways(problem, request, budgets)
        tables = [cut.table for cut in ways.useful]
        if request.fps is not None:
            frame_rate.check_rate(request.fps, tables, problem.space, request.budgets)
        exact.check_feasible(tables, problem.space, budgets)
        photos = choose_pictures(request, problem.network)
        evaluator = in_floating_point(problem, photos)
        standing = baseline.standing(evaluator)
        if not request.resume:
            baseline.check(standing, force=request.force)
        study = coordinator.connect(request, problem, photos)
    progress.say(f"{standing or f'floating point {evaluator.float_psnr_db:.2f} dB'}, on the search pictures")
    with directory.RunDirectory.start(request, problem, photos) as run:
        with clock.stage("calibrate"), progress.stage("calibrating", STEPS) as stage:
            measuring = prepare(problem, photos, request.seed, shared, follow(stage, STEPS), request.methods, evaluator)
            calibration = measuring.calibration
            patches = on_patches(lambda x: execute(problem.graph, x), photos.search, photos.task, request.seed)
            team = Coordinator(study, request, problem, photos, tables, measuring) if study else None

        def score(plan: PlanRow) -> Score:
            return shared.score(plan, measuring)

        log = EvaluationLog(run.evaluations_path, team or (lambda plans: map(score, plans)), problem.space)
        shared.remember(problem.space, log.scores())
        with clock.stage("proxies"):
            damages = _tables(run, problem.space, shared, photos, evaluator.float_mse, request.seed, progress)
            ratios = shared.ratios(problem.space, lambda whole: sqnr.table(whole, photos.crops, photos.task))
            checks, probes = check_proxies(damages, problem.space, log, request.probes, request.seed, progress)

        def look(solved: rounds.Rounds) -> Screen | None:
            if patches is None or len(request.methods) > 1:  # what one method makes hopeless, another may not
                return None
            usual = calibration.by(request.methods[0])
            return Screen(
                solved.prediction.psnr_loss_db,
                trust(solved.predicted_db, solved.measured_db),
                lambda plan: patches.losses_db(lambda x: usual.simulate(plan, x)),
                patches.pixels / evaluator.pixels,
            )

        search = find.find_plans(
            request, problem, ways, budgets, damages, checks, probes, log, look, run.journal_path, clock, progress
        )
        if team is not None:
            team.finish()
        names = search.names()
        rows = list(dict.fromkeys(search.picks.values()))
        with clock.stage("prove"), progress.stage("running the chosen plans in integers", STEPS * len(rows)) as stage:
            proofs = {}
            for row in rows:
                report = follow(stage, STEPS)
                found = calibration.by(search.methods[row])
                quantized = found.finished(search.plans[row], seed=request.seed, progress=report)
                tiling = search.cuts[row].tiling
                proofs[row] = prove.prove(names[row], quantized, problem, tiling, photos, run.plans_dir)
                report("proven", 1.0)
        with clock.stage("report"), progress.stage("writing the report", 1):
            results = assemble.results(request, problem, ways, photos, search, ratios, proofs, run, clock.wall_s, clock.stages_s)
            run.finish(results)
            html.write(results, run.path)
    return results


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
    seed: int,
    progress: Progress,
) -> dict[str, Damage]:
    """The damage tables of a run: from its directory, where an earlier process left them, else measured and written there."""
    if run.damage_path.exists():
        with progress.stage("quality proxies", 1):
            return damage_file.load(run.damage_path, space)
    tables = shared.tables(space, lambda whole: measure_damage(whole, photos, float_mse, seed, progress))
    damage_file.save(run.damage_path, tables, space)
    return tables
