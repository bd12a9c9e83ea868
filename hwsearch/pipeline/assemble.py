"""From arrays to documents: plans, their proof, and the results of a run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from hwmodels import cost
from hwmodels.fitting import agreement
from hwmodels.numbers import Precision
from hwsearch.documents.clock import Clock
from hwsearch.documents.plan import Plan
from hwsearch.documents.results import (
    Crop,
    DeviceFacts,
    Fact,
    LayerRow,
    NamedQuality,
    Point,
    Reference,
    Results,
    ScheduleStep,
    SignalToNoise,
    TilingPoint,
)
from hwsearch.documents.versions import versions
from hwsearch.pipeline import notes
from hwsearch.plans import prove
from hwsearch.plans.prove import PlanProof
from hwsearch.problem.pictures import Pictures
from hwsearch.problem.pose import Problem
from hwsearch.quality import figures
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.report.crops import save_crops
from hwsearch.runs.directory import RunDirectory
from hwsearch.search import tiling_options
from hwsearch.search.found import Search
from hwsearch.search.posed import PosedSearch
from hwsearch.search.tiling_options import TilingOptions
from searchspaces.ir.graph import execute


def _plan(
    name: str, row: int, posed: PosedSearch, search: Search, calibration: Calibration, proof: PlanProof | None = None
) -> Plan:
    """One measured row as a plan document."""
    return prove.plan_of(
        name,
        search.plans[row],
        posed.request,
        posed.problem,
        posed.photos,
        predicted=prove.price_of(search.objectives, row, float(search.losses[row])),
        tiling=search.tilings[row].tiling,
        origin=search.origins[row],
        proof=proof,
        method=search.methods[row],
        made_by=calibration.by(search.methods[row]).made_by(search.plans[row]),
    )


def _device_facts(problem: Problem) -> DeviceFacts:
    """The device's numbers, ready to print, with their sources."""
    device = problem.device
    facts = [Fact(key=key, value=value, source=source, note=note) for key, value, source, note in device.facts()]
    assumptions = [f"{fact.key}: {fact.value}" + (f" ({fact.note})" if fact.note else "") for fact in facts if not fact.source]
    return DeviceFacts(
        name=device.name,
        title=device.title,
        kind=device.kind,
        runtime=device.runtime,
        hypothetical=device.hypothetical,
        compared=agreement.compared(device),
        doubt=agreement.doubt(device),
        facts=facts,
        assumptions=assumptions,
    )


def _tilings(tilings: TilingOptions, search: Search, row: int) -> list[TilingPoint]:
    """What the ways to cut the picture cost under one plan, where there was a choice."""
    if len(tilings.priced) == 1:
        return []
    return tiling_options.curve(tilings.priced, search.plans[row], tilings.limits, search.tilings[row])


def reference(problem: Problem, photos: Pictures) -> Reference:
    """The floating-point network on the evaluation samples, and its price on the device's best floating-point units."""
    task, samples = photos.task, photos.evaluation
    quality, second = figures.on(lambda x: execute(problem.graph, x), samples, task)
    simplest = [figure.quality for sample in samples if (figure := task.baseline(sample)) is not None]
    precision = next((name for name in ("FP16", "FP32") if name in problem.device.rates), None)
    latency = cost.uniform(problem.device, problem.workload, Precision.parse(precision)).latency_s if precision else None
    return Reference(
        quality_db=float(quality.mean()),
        second=second,
        baseline_db=float(np.mean(simplest)) if simplest else None,
        weight_bytes=4 * (problem.graph.parameters + problem.graph.constants),
        latency_s=latency,
        precision=precision,
    )


def _crops(name: str, quantized: QuantizedGraph, problem: Problem, photos: Pictures, run: RunDirectory) -> list[Crop]:
    """Magnified details of the evaluation pictures: original, baseline, floating point, plan, error; none where outputs are no
    pictures."""
    made, task = [], photos.task
    for pair in photos.evaluation:
        with torch.no_grad():
            float_, plan = (task.picture(y) for y in (execute(problem.graph, pair.low), integer.run(quantized, pair.low)))
        simplest = task.simplest(pair)
        if float_ is None or plan is None or simplest is None:
            continue
        made.append(
            save_crops(
                run.path,
                pair.name,
                high=pair.high,
                bicubic=simplest,
                float_=float_,
                plan=plan,
                scale=task.border,
                plan_name=name,
            )
        )
    return made


def _points(search: Search) -> list[Point]:
    """Every measured plan, in objectives."""
    names = search.names()
    return [
        Point(
            **prove.price_of(search.objectives, row, float(search.losses[row])).model_dump(),
            origin=search.origins[row],
            on_front=row in search.front,
            plan=names.get(row),
        )
        for row in range(len(search.plans))
    ]


def _layers(search: Search, row: int) -> list[LayerRow]:
    """What each layer costs under one plan."""
    return [LayerRow(**entry) for entry in cost.explain(search.tilings[row].table, search.plans[row])]


def _schedule(search: Search, row: int) -> list[ScheduleStep]:
    """What is in activation memory while each layer runs, under one plan."""
    return [ScheduleStep(layer=layer, live_bytes=live) for layer, live in search.tilings[row].schedule(search.plans[row])]


def results(
    posed: PosedSearch,
    search: Search,
    calibration: Calibration,
    sqnr: list[SignalToNoise],
    proofs: Mapping[int, PlanProof],
    run: RunDirectory,
    clock: Clock,
) -> Results:
    """Everything that the run shows, as one document."""
    request, problem, photos = posed.request, posed.problem, posed.photos
    names = search.names()
    shown = search.picks[search.shown]
    return Results(
        target=problem.device.name,
        network=problem.network.name,
        scale=problem.network.scale,
        input_height=problem.input_size[0],
        input_width=problem.input_size[1],
        macs=problem.workload.macs,
        parameters=problem.graph.parameters,
        space_size=problem.space.size,
        scope=problem.space.scope,
        reference=reference(problem, photos),
        quality=NamedQuality(name=photos.task.quality.name, unit=photos.task.quality.unit),
        second=NamedQuality(name=photos.task.second.name, unit=photos.task.second.unit),
        baseline=photos.task.baseline_name,
        device=_device_facts(problem),
        uncounted=list(problem.graph.uncounted),
        notes=[*notes.sentences(posed, search, proofs), *notes.about_versions(run.read())],
        front=[
            _plan(names[row], row, posed, search, calibration, proofs.get(row)) for row in sorted(names, key=names.__getitem__)
        ],
        chosen={role: names[row] for role, row in search.picks.items()},
        finalists={names[row]: loss_db for row, loss_db in search.finalists.items()},
        points=_points(search),
        proxies=search.checks,
        front_proxies=search.front_checks,
        sqnr=sqnr,
        layers={names[row]: _layers(search, row) for row in proofs},
        schedule={names[row]: _schedule(search, row) for row in proofs},
        crops=_crops(names[shown], proofs[shown].quantized, problem, photos, run),
        pictures={
            "calibration": photos.calibration,
            "search": [pair.name for pair in photos.search],
            "evaluation": [pair.name for pair in photos.evaluation],
        },
        budgets=dict(posed.budgets),
        fps=request.fps,
        tilings=_tilings(posed.tilings, search, shown),
        limits={name: float(value) for name, value in problem.table.limits.items()},
        command=request.command,
        seed=request.seed,
        evaluations=len(search.plans),
        wall_s=clock.wall_s,
        stages_s=clock.stages_s,
        versions=versions(),
        created=prove.now(),
        resumed=run.read().legs,
    )
