"""Reading plans back: the document, the integers beside it, and the request that would make it again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hwmodels.errors import FileError
from hwsearch.documents.files import read_json
from hwsearch.documents.plan import SCHEMA, Plan
from hwsearch.documents.progress import STEPS, Progress, Silent, follow
from hwsearch.runs import directory

if TYPE_CHECKING:
    import numpy as np

    from hwsearch.problem.pose import Pictures, Problem, Request
    from hwsearch.quant.calibrate import Calibration
    from hwsearch.quant.graph import QuantizedGraph


def load(path: Path) -> Plan:
    """The plan in ``path``.

    Raises:
        FileError: absent, not JSON, of another version, or not a plan; every mistake is listed.
    """
    document = read_json(path, "a plan, such as RUN/plans/plan-01.json")
    if document.get("schema_version", SCHEMA) != SCHEMA:
        raise FileError(f"{path}: schema_version {document['schema_version']!r}", f"This version reads schema_version {SCHEMA}.")
    try:
        return Plan.model_validate(document)
    except ValidationError as error:
        lines = [f"  - {'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        problems = "\n".join(lines)
        raise FileError(f"{path} is not a plan:\n{problems}", "Plans stand in the folder plans/ of a run.") from None


def load_integers(plan: Plan, path: Path, progress: Progress | None = None) -> QuantizedGraph:
    """The quantized network of a plan: from the file beside ``path``, checked by its hash.

    A plan that was measured but not chosen has no such file; its network is then calibrated again, as its run did it.

    Raises:
        FileError: the file is absent, changed, or cut short.
        UsageError, FileError: there is none, and the network or its weights are not to be had.
    """
    if plan.integers is not None:
        from hwsearch.quant import storage

        return storage.load(path.parent / plan.integers, plan.integers_sha256)
    again = recalibrate(plan, path, progress or Silent())
    return again.calibration.quantized(again.row)


@dataclasses.dataclass(frozen=True, eq=False)
class Recalibrated:
    """The problem behind a plan, posed and calibrated again as its run did it; ``row`` is the plan in its space."""

    request: Request
    problem: Problem
    row: np.ndarray
    photos: Pictures
    calibration: Calibration


def recalibrate(plan: Plan, path: Path, progress: Progress) -> Recalibrated:
    """Calibrate the network of a plan again.

    Raises:
        FileError: the weights or the device file are not those that the plan was made with.
        UsageError, FileError: the network or its weights are not to be had.
    """
    from hwsearch.problem.pose import choose_pictures
    from hwsearch.quant.calibrate import calibrate

    with progress.stage("tracing the network", 1):
        request, problem, row = posed(plan, path)
        photos = choose_pictures(request, problem.network)
    with progress.stage("calibrating", STEPS) as stage:
        lows = [crop.low for crop in photos.crops]
        calibration = calibrate(
            problem.graph, lows, problem.space, method=plan.method, seed=request.seed, progress=follow(stage, STEPS)
        )
    return Recalibrated(request, problem, row, photos, calibration)


def posed(plan: Plan, path: Path) -> tuple[Request, Problem, np.ndarray]:
    """The request behind a plan, its problem, and the plan ``int8[decisions]`` in its space.

    Raises:
        FileError: the weights or the device file are not those that the plan was made with.
        UsageError, FileError: the network or its weights are not to be had.
    """
    from hwsearch.problem.pose import pose

    request = request_of(plan, path)
    problem = pose(request)
    made_with = plan.provenance
    for what, before, now in (
        ("weights", made_with.weights_sha256, problem.network.weights_sha256),
        ("device file", made_with.device_sha256, problem.device.device_sha256),
    ):
        if before != now:
            raise FileError(
                f"{path}: the plan was made with another {what} than are found now",
                "Keep the plan in its run's folder, and weights and device file as they were; or run optimize again.",
            )
    return request, problem, problem.space.plan(plan.weight_bits, plan.activation_bits)


def request_of(plan: Plan, path: Path) -> Request:
    """The request behind a plan: that of the run it stands in, or as much as the plan itself tells.

    A plan on its own knows the name of its network but not a file of weights.
    """
    from hwsearch.problem.pose import Request

    size = (plan.input_height, plan.input_width)
    tile, halo = ("whole", None) if plan.tiling is None else (f"{plan.tiling.height}x{plan.tiling.width}", plan.tiling.halo)
    run = path.parent.parent
    if (run / "run.json").is_file():
        request = Request(**directory.saved_request(run, {}))
        return dataclasses.replace(request, input_size=size, budgets={}, fps=None, tile=tile, halo=halo)
    return Request(
        network=plan.network,
        scale=plan.scale,
        arguments=plan.provenance.network_arguments,
        target=plan.target,
        input_size=size,
        tile=tile,
        halo=halo,
        scope=plan.scope,  # type: ignore[arg-type]  # checked by build_space
        seed=plan.provenance.seed,
    )
