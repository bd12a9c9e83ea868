"""A plan as a document: its price, what papers count of it, and the proof of its integers."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwmodels import cost
from hwmodels.counting import FLOAT_BITS
from hwmodels.errors import FileError, HwsearchError, MismatchError
from hwmodels.numbers import INT16
from hwmodels.tiling.tiling import Tiling
from hwsearch.documents.files import write_bytes
from hwsearch.documents.origin import Origin
from hwsearch.documents.plan import Counted, LossIs, Measured, Plan, Predicted, Provenance, Unproven
from hwsearch.documents.versions import versions
from hwsearch.formats.onnx import write
from hwsearch.formats.running.runtime import CodesDifferError
from hwsearch.plans import verify
from hwsearch.problem.pictures import Pictures
from hwsearch.problem.pose import Problem
from hwsearch.problem.request import Request
from hwsearch.quant.methods import USUAL
from hwsearch.quant.mixture import MadeBy
from hwsearch.quant.network import storage
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.runs.plan_cache import Plans
from searchspaces.data.scale import spelled
from searchspaces.ir import branches
from searchspaces.ir.graph import execute
from searchspaces.space import PlanRow


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, eq=False)
class PlanProof:
    """A plan that was run in integers: its files, and what was measured on the evaluation pictures or why the plan is not
    proven; one of the two."""

    quantized: QuantizedGraph
    measured: Measured | None
    integers: str
    integers_sha256: str
    unproven: Unproven | None = None


def prove(
    name: str,
    quantized: QuantizedGraph,
    problem: Problem,
    tiling: Tiling | None,
    photos: Pictures,
    folder: Path,
    earlier: Plans | None = None,
) -> PlanProof:
    """Write the plan's integers and its ONNX file into ``folder``, run both on the evaluation pictures and compare them code for
    code, unless an ``earlier`` run did that with the same integers; where the plan cuts the picture, our engine tile by tile too.

    A proof that fails is an answer: the plan is ``unproven``, and its files stay.
    """
    integers = folder / f"{name}.safetensors"
    digest = storage.save(quantized, integers)
    exported = folder / f"{name}.onnx"
    network = problem.network
    facts = {
        "plan": name,
        "network": network.name,
        "scale": spelled(network.scale),
        "target": problem.device.name,
        "integers_sha256": digest,
    }
    width = problem.workload.tensors[0].width

    def measure() -> Measured:
        measured = verify.prove(quantized, exported, photos.evaluation, photos.task, lambda x: execute(problem.graph, x))
        if tiling is None:
            return measured
        differing = verify.prove_tiling(quantized, tiling, width, [pair.low for pair in photos.evaluation])
        return measured.model_copy(update={"tiled_mismatched_codes": differing})

    cut = None if tiling is None else (tiling, width)
    try:
        model = write.to_model(quantized, facts).SerializeToString()
    except FileError as error:
        return PlanProof(quantized, None, integers.name, digest, _why(error))
    write_bytes(exported, model)  # where the disk is full, the run ends and can be gone on with
    try:
        measured = (earlier or Plans()).measured(digest, cut, problem.graph, photos, measure)
    except (MismatchError, FileError) as error:
        return PlanProof(quantized, None, integers.name, digest, _why(error))
    return PlanProof(quantized, measured, integers.name, digest)


def _why(error: HwsearchError) -> Unproven:
    apart = error.apart if isinstance(error, CodesDifferError) else None
    if apart is None:
        return Unproven(reason=error.message)
    return Unproven(
        reason=error.message, operator=apart.name, differing=apart.differing, codes=apart.codes, largest=apart.largest
    )


def plan_of(
    name: str,
    row: PlanRow,
    request: Request,
    problem: Problem,
    photos: Pictures,
    *,
    predicted: Predicted,
    tiling: Tiling | None,
    origin: Origin,
    proof: PlanProof | None = None,
    method: str = USUAL,
    made_by: MadeBy | None = None,
) -> Plan:
    """A plan as a document; ``made_by``: of a mixture of methods, which of them made what."""
    weight_bits, activation_bits = problem.space.named(row)
    network = problem.network
    return Plan(
        name=name,
        network=network.name,
        scale=network.scale,
        dropped=list(network.dropped),
        branches=branches.read(request.branches),
        input_channels=list(request.input_channels),
        value_range=request.value_range,
        order=request.order,
        target=problem.device.name,
        input_height=problem.input_size[0],
        input_width=problem.input_size[1],
        tiling=tiling,
        scope=problem.space.scope,
        wide=str(problem.space.wide or INT16),
        method=method,
        weight_methods=dict(made_by.layers) if made_by else {},
        activation_methods=dict(made_by.tensors) if made_by else {},
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        predicted=predicted,
        counted=count(row),
        measured=proof.measured if proof else None,
        unproven=proof.unproven if proof else None,
        integers=proof.integers if proof else None,
        integers_sha256=proof.integers_sha256 if proof else None,
        remarks=list(proof.quantized.remarks) if proof else [],
        provenance=Provenance(
            created=now(),
            seed=request.seed,
            network_arguments=dict(network.arguments),
            weights_sha256=network.weights_sha256,
            device_sha256=problem.device.device_sha256,
            calibration=photos.calibration,
            versions=versions(),
            origin=origin,
        ),
    ).sealed()


def price_of(objectives: cost.Objectives, row: int, loss_db: float, loss_is: LossIs = "simulated") -> Predicted:
    """Row ``row`` of priced plans, which loses ``loss_db``, as ``loss_is`` says."""
    return Predicted(
        loss_db=loss_db,
        loss_is=loss_is,
        latency_s=float(objectives.latency_s[row]),
        weight_bytes=int(objectives.weight_bytes[row]),
        peak_activation_bytes=int(objectives.peak_activation_bytes[row]),
        energy_j=_finite(objectives.energy_j[row]),
    )


def count(row: PlanRow) -> Counted | None:
    """What papers count of a plan; None for a space that was made without a network."""
    counting, plan = row.space.counting, np.asarray(row)
    if counting is None:
        return None
    mean = float(counting.mean_bits(plan)[0])
    return Counted(
        mean_weight_bits=mean,
        scope_weight_bits=float(counting.mean_bits(plan, counting.inside)[0]),
        compression=FLOAT_BITS / mean,
        bitops=float(counting.bitops(plan)[0]),
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
