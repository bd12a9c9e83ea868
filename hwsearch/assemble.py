"""From arrays to documents: plans, their proof, and the results of a run."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwmodels import cost
from hwmodels.precision import Precision
from hwsearch import validate
from hwsearch.evaluate import to_picture
from hwsearch.export import onnx
from hwsearch.plan import Measured, Plan, Predicted, Provenance
from hwsearch.problem import Pictures, Problem, Request
from hwsearch.quant import storage
from hwsearch.quant.model import QuantizedGraph
from hwsearch.report.crops import save_crops
from hwsearch.results import Crop, DeviceFacts, Fact, LayerRow, Point, ProxyCheck, Reference, Results, ScheduleStep, SignalToNoise
from hwsearch.store import RunDirectory, versions
from searchspaces.bicubic import imresize
from searchspaces.graph import execute
from searchspaces.metrics import psnr_y, ssim_y
from searchspaces.pictures import Pair


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, eq=False)
class Search:
    """What the search found: every measured plan as arrays of equal length, and which of them matter.

    Attributes:
        plans: ``int8[N, decisions]``; ``losses``: measured on the search pictures, dB; ``objectives``: their price.
        front: rows of the non-dominated plans, by latency; ``picks``: role -> row.
        origins: row -> "probe", "exact", "refine" or "uniform ...".
    """

    checks: list[ProxyCheck]
    plans: np.ndarray
    losses: np.ndarray
    objectives: cost.Objectives
    front: list[int]
    picks: dict[str, int]
    origins: dict[int, str]

    def names(self) -> dict[int, str]:
        """Row -> plan name, for the front and whatever else was picked: numbered by latency."""
        rows = sorted({*self.front, *self.picks.values()}, key=lambda r: (self.objectives.latency_s[r], self.losses[r], r))
        return {row: f"plan-{number:02d}" for number, row in enumerate(rows, start=1)}


def to_plan(
    name: str, row: int, request: Request, problem: Problem, photos: Pictures, search: Search, proof: Proof | None = None
) -> Plan:
    """One measured row as a plan document."""
    weight_bits, activation_bits = problem.space.bits(search.plans[row])
    price = search.objectives
    network = problem.network
    return Plan(
        name=name,
        network=network.name,
        scale=network.scale,
        target=problem.device.name,
        input_height=problem.input_size[0],
        input_width=problem.input_size[1],
        scope=problem.space.scope,
        wide="fp16" if problem.space.wide_is_float else "int16",
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        predicted=Predicted(
            psnr_loss_db=float(search.losses[row]),
            latency_s=float(price.latency_s[row]),
            weight_bytes=int(price.weight_bytes[row]),
            peak_activation_bytes=int(price.peak_activation_bytes[row]),
            energy_j=_finite(price.energy_j[row]),
        ),
        measured=proof.measured if proof else None,
        integers=proof.integers if proof else None,
        integers_sha256=proof.integers_sha256 if proof else None,
        provenance=Provenance(
            created=now(),
            seed=request.seed,
            network_arguments=dict(network.arguments),
            weights_sha256=network.weights_sha256,
            device_sha256=problem.device.device_sha256,
            calibration=photos.calibration,
            versions=versions(),
            origin=search.origins[row],
        ),
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class Proof:
    """A plan that was run in integers: its files and what was measured on the evaluation pictures."""

    quantized: QuantizedGraph
    measured: Measured
    integers: str
    integers_sha256: str


def prove(name: str, quantized: QuantizedGraph, problem: Problem, pairs: Sequence[Pair], run: RunDirectory) -> Proof:
    """Write the plan's integers and its ONNX file, run both on the evaluation pictures and compare them code for code."""
    integers = run.plans_dir / f"{name}.safetensors"
    digest = storage.save(quantized, integers)
    exported = run.plans_dir / f"{name}.onnx"
    onnx.export(quantized, exported, metadata={"plan": name, "network": problem.network.name, "integers_sha256": digest})
    measured = validate.prove(quantized, exported, pairs, problem.network.scale, lambda x: execute(problem.graph, x))
    return Proof(quantized, measured, integers.name, digest)


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
        facts=facts,
        assumptions=assumptions,
    )


def _bicubic(pair: Pair, scale: int) -> np.ndarray:
    low = pair.low[0].permute(1, 2, 0).double().numpy() * 255
    factor = pair.high.shape[0] // low.shape[0]
    enlarged = low if factor == 1 else imresize(low, scale)
    enlarged = np.clip(np.rint(enlarged), 0, 255)
    return enlarged[..., 0] if enlarged.shape[-1] == 1 else enlarged


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
                plan=to_picture(validate.run_engine(quantized, pair.low)),
                scale=problem.network.scale,
                plan_name=name,
            )
        )
    return made


def notes(request: Request, problem: Problem, search: Search, proofs: Mapping[int, Proof]) -> list[str]:
    """Sentences that a reader must know before acting on the numbers."""
    device, space = problem.device, problem.space
    said = ["Latency, memory and energy are predictions of a cost model from the device's numbers; quality is measured."]
    if device.hypothetical:
        said.append(f"{device.title} does not exist: it is a research device, and its prices are hypothetical.")
    if space.wide_is_float:
        said.append(
            "16 bits mean half precision here. Such layers run in floating point on the device and are not proven in integers."
        )
    if space.symmetric_activations:
        said.append(
            f"{device.runtime} has no zero points on 8-bit activations, so one-sided tensors use half of their codes; "
            "the plans here obey that."
        )
    said.append(
        "The integers of chosen plans were polished together before they were measured; what was predicted is without that."
    )
    floats = sorted({layer for proof in proofs.values() for layer in proof.measured.float_layers})
    if floats:
        said.append(f"Layers run in floating point in at least one chosen plan: {', '.join(floats)}.")
    picked, wanted = search.picks.get("budget"), request.budgets.get("psnr_loss")
    if picked is not None and wanted is not None and proofs[picked].measured.psnr_loss_db > wanted:
        said.append(
            f"The plan for the budget loses {proofs[picked].measured.psnr_loss_db:.3f} dB on the evaluation pictures, more than "
            f"the {wanted:g} dB asked for, which it meets on the search pictures: ask for less loss."
        )
    worst = min(search.checks, key=lambda check: check.spearman)
    best = max(search.checks, key=lambda check: check.spearman)
    said.append(
        f"Of the proxies, {best.name} ranks random plans best (Spearman {best.spearman:.3f}) and {worst.name} worst "
        f"({worst.spearman:.3f}); the front itself is measured, not predicted."
    )
    return said


def results(
    request: Request,
    problem: Problem,
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
    price = search.objectives
    points = [
        Point(
            psnr_loss_db=float(search.losses[row]),
            latency_s=float(price.latency_s[row]),
            weight_bytes=int(price.weight_bytes[row]),
            peak_activation_bytes=int(price.peak_activation_bytes[row]),
            energy_j=_finite(price.energy_j[row]),
            origin=search.origins[row],
            on_front=row in search.front,
            plan=names.get(row),
        )
        for row in range(len(search.plans))
    ]
    layers, schedule = {}, {}
    for row in proofs:
        layers[names[row]] = [LayerRow(**entry) for entry in cost.explain(problem.table, search.plans[row])]
        schedule[names[row]] = [
            ScheduleStep(layer=layer, live_bytes=live)
            for layer, live in cost.schedule(problem.table, problem.workload, search.plans[row])
        ]
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
        notes=notes(request, problem, search, proofs),
        front=[
            to_plan(names[row], row, request, problem, photos, search, proofs.get(row))
            for row in sorted(names, key=names.__getitem__)
        ],
        chosen={role: names[row] for role, row in search.picks.items()},
        points=points,
        proxies=search.checks,
        sqnr=sqnr,
        layers=layers,
        schedule=schedule,
        crops=crops(names[shown], proofs[shown].quantized, problem, photos.evaluation, run),
        pictures={
            "calibration": photos.calibration,
            "search": [pair.name for pair in photos.search],
            "evaluation": [pair.name for pair in photos.evaluation],
        },
        budgets=dict(request.budgets),
        limits={name: float(value) for name, value in problem.table.limits.items()},
        command=request.command,
        seed=request.seed,
        evaluations=len(search.plans),
        wall_s=wall_s,
        stages_s=dict(stages_s),
        versions=versions(),
        created=now(),
    )
