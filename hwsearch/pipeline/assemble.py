"""From arrays to documents: plans, their proof, and the results of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from hwmodels import cost
from hwmodels.fitting import agreement
from hwmodels.numbers import Precision
from hwsearch.documents.plan import Plan
from hwsearch.documents.results import (
    Crop,
    DeviceFacts,
    Fact,
    LayerRow,
    Point,
    Reference,
    Results,
    ScheduleStep,
    SignalToNoise,
    TilingPoint,
)
from hwsearch.documents.versions import versions
from hwsearch.pipeline import notes
from hwsearch.plans import prove, verify
from hwsearch.plans.prove import Proof
from hwsearch.problem.pose import Pictures, Problem, Request
from hwsearch.quality.evaluate import to_picture
from hwsearch.quant.graph import QuantizedGraph
from hwsearch.report.crops import save_crops
from hwsearch.runs.directory import RunDirectory
from hwsearch.search import frame_rate, tiling_options
from hwsearch.search.found import Search
from hwsearch.search.tiling_options import Ways
from searchspaces.data.bicubic import imresize
from searchspaces.data.pictures import Pair
from searchspaces.ir.graph import execute
from searchspaces.tasks.metrics import psnr_y, ssim_y


def to_plan(
    name: str, row: int, request: Request, problem: Problem, photos: Pictures, search: Search, proof: Proof | None = None
) -> Plan:
    """One measured row as a plan document."""
    return prove.plan_of(
        name,
        search.plans[row],
        request,
        problem,
        photos,
        predicted=prove.price_of(search.objectives, row, float(search.losses[row])),
        tiling=search.cuts[row].tiling,
        origin=search.origins[row],
        proof=proof,
        method=search.methods[row],
    )


def device_facts(problem: Problem) -> DeviceFacts:
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
        facts=facts,
        assumptions=assumptions,
    )


def _bicubic(pair: Pair, scale: int) -> np.ndarray:
    low = pair.low[0].permute(1, 2, 0).double().numpy() * 255
    factor = pair.high.shape[0] // low.shape[0]
    enlarged = low if factor == 1 else imresize(low, scale)
    enlarged = np.clip(np.rint(enlarged), 0, 255)
    found: np.ndarray = enlarged[..., 0] if enlarged.shape[-1] == 1 else enlarged
    return found


def _tilings(ways: Ways, search: Search, row: int) -> list[TilingPoint]:
    """What the ways to cut the picture cost under one plan, where there was a choice."""
    if len(ways.priced) == 1:
        return []
    return tiling_options.curve(ways.priced, search.plans[row], ways.limits, search.cuts[row])


def reference(problem: Problem, pairs: Sequence[Pair]) -> Reference:
    """The floating-point network on the evaluation pictures, and its price on the device's best floating-point units."""
    scale = problem.network.scale
    with torch.no_grad():
        outputs = [to_picture(execute(problem.graph, pair.low)) for pair in pairs]
    precision = next((name for name in ("FP16", "FP32") if name in problem.device.rates), None)
    latency = cost.uniform(problem.device, problem.workload, Precision.parse(precision)).latency_s if precision else None
    parameters = sum(w.numel() for node in problem.graph.nodes for w in node.weights.values())
    return Reference(
        psnr_db=float(np.mean([psnr_y(out, pair.high, scale) for out, pair in zip(outputs, pairs, strict=True)])),
        ssim=float(np.mean([ssim_y(out, pair.high, scale) for out, pair in zip(outputs, pairs, strict=True)])),
        bicubic_psnr_db=float(np.mean([psnr_y(_bicubic(pair, scale), pair.high, scale) for pair in pairs])),
        weight_bytes=4 * parameters,
        latency_s=latency,
        precision=precision,
    )


def crops(name: str, quantized: QuantizedGraph, problem: Problem, pairs: Sequence[Pair], run: RunDirectory) -> list[Crop]:
    """Magnified details of the evaluation pictures: original, bicubic, floating point, plan, error."""
    made = []
    for pair in pairs:
        with torch.no_grad():
            float_output: Tensor = execute(problem.graph, pair.low)
        made.append(
            save_crops(
                run.path,
                pair.name,
                high=pair.high,
                bicubic=_bicubic(pair, problem.network.scale),
                float_=to_picture(float_output),
                plan=to_picture(verify.run_engine(quantized, pair.low)),
                scale=problem.network.scale,
                plan_name=name,
            )
        )
    return made


def results(
    request: Request,
    problem: Problem,
    ways: Ways,
    photos: Pictures,
    search: Search,
    sqnr: list[SignalToNoise],
    proofs: Mapping[int, Proof],
    run: RunDirectory,
    wall_s: float,
    stages_s: Mapping[str, float],
) -> Results:
    """Everything that the run shows, as one document."""
    names = search.names()
    points = [
        Point(
            **prove.price_of(search.objectives, row, float(search.losses[row])).model_dump(),
            origin=search.origins[row],
            on_front=row in search.front,
            plan=names.get(row),
        )
        for row in range(len(search.plans))
    ]
    layers, schedule = {}, {}
    for row in proofs:
        cut, plan = search.cuts[row], search.plans[row]
        layers[names[row]] = [LayerRow(**entry) for entry in cost.explain(cut.table, plan)]
        schedule[names[row]] = [ScheduleStep(layer=layer, live_bytes=live) for layer, live in cut.schedule(plan)]
    shown = search.picks.get("budget", search.picks["knee"])
    return Results(
        target=problem.device.name,
        network=problem.network.name,
        scale=problem.network.scale,
        input_height=problem.input_size[0],
        input_width=problem.input_size[1],
        macs=problem.workload.macs,
        parameters=sum(w.numel() for node in problem.graph.nodes for w in node.weights.values()),
        space_size=problem.space.size,
        scope=problem.space.scope,
        reference=reference(problem, photos.evaluation),
        device=device_facts(problem),
        uncounted=list(problem.graph.uncounted),
        notes=[*notes.sentences(request, problem, ways, search, proofs), *notes.about_versions(run.read())],
        front=[
            to_plan(names[row], row, request, problem, photos, search, proofs.get(row))
            for row in sorted(names, key=names.__getitem__)
        ],
        chosen={role: names[row] for role, row in search.picks.items()},
        points=points,
        proxies=search.checks,
        front_proxies=search.front_checks,
        sqnr=sqnr,
        layers=layers,
        schedule=schedule,
        crops=crops(names[shown], proofs[shown].quantized, problem, photos.evaluation, run),
        pictures={
            "calibration": photos.calibration,
            "search": [pair.name for pair in photos.search],
            "evaluation": [pair.name for pair in photos.evaluation],
        },
        budgets=frame_rate.budgets_with(request.budgets, request.fps),
        fps=request.fps,
        tilings=_tilings(ways, search, shown),
        limits={name: float(value) for name, value in problem.table.limits.items()},
        command=request.command,
        seed=request.seed,
        evaluations=len(search.plans),
        wall_s=wall_s,
        stages_s=dict(stages_s),
        versions=versions(),
        created=prove.now(),
        resumed=run.read().legs,
    )
