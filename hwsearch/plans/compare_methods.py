"""Quantization methods side by side: plans of one width, finished by each method, run in integers on pictures that none saw.

Quality is of the widths that were asked for. The price is that of the same plan on the target, where a width that the device does
not store becomes the next wider one; what a method's arithmetic costs beside that of an ordinary integer network is in it
(``network.run_time``). Methods are compared picture by picture with the best of the same widths; a difference within its interval
is a tie.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from hwmodels import cost
from hwmodels.errors import UsageError
from hwmodels.numbers import INT8, INT16, bits_of
from hwsearch.documents.bounds import Scale
from hwsearch.documents.document import Document
from hwsearch.documents.progress import STEPS, Progress, Silent, follow
from hwsearch.documents.versions import versions
from hwsearch.formats.running.runtime import Run
from hwsearch.problem.calibrated import calibrated
from hwsearch.problem.pictures import Pictures, choose_pictures
from hwsearch.problem.pose import Problem, pose
from hwsearch.problem.request import Request
from hwsearch.quality.intervals import difference, finite, interval
from hwsearch.quant import methods
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.quant.network.run_time import decoding, normalizing
from hwsearch.runs import plan_cache
from searchspaces.ir import branches
from searchspaces.ir.graph import execute
from searchspaces.scopes import SCOPES
from searchspaces.space import PlanRow, SearchSpace, build_space
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Sample, Task

OUTSIDE = (8, 16)
"""Weights and tensors outside a scope whose papers leave them in floating point."""


class MethodRow(Document):
    """One method at one pair of widths.

    ``loss_db``: mean over the pictures against floating point on the same, with its standard error and half its 95 %
    interval; ``behind_db``: what the best method of these widths loses less, likewise, and whether that is a tie (the best is one
    with itself); ``first_db``: before the method finished the plan as a whole; ``seconds``: what the method took, its look
    at the pictures included, measured on this machine.
    """

    method: str
    weight_bits: int
    activation_bits: int
    quality_db: float
    loss_db: float
    stderr_db: float
    half_db: float | None
    behind_db: float
    behind_half_db: float | None
    tie: bool
    second: float
    first_db: float
    losses_db: list[float]
    seconds: float
    latency_s: float
    energy_j: float | None
    weight_bytes: int
    peak_activation_bytes: int
    priced_as: str
    """The widths that the target stores instead."""
    run_time_price: str


class MethodComparison(Document):
    """A comparison of methods, and all that it was made from."""

    network: str
    scale: Scale
    weights_sha256: str
    dropped: list[str] = Field(default_factory=list)
    """Blocks that the network was without; floating point is with them."""
    branches: dict[str, int] = Field(default_factory=dict)
    """Layer -> rank of its low-rank branch."""
    target: str
    input_size: tuple[int, int] | None = None
    """Height and width of the picture that is priced; files of earlier versions do not tell."""
    scope: str
    quality_name: str = "PSNR-Y"
    """What ``quality_db`` and ``loss_db`` are of, and ``second_name`` what ``second`` is."""
    second_name: str = "SSIM-Y"
    float_db: float
    float_second: float
    pictures: list[str]
    seed: int
    effort: float = 1.0
    """Of methods that train: see ``quant.method.Draft``."""
    versions: dict[str, str]
    rows: list[MethodRow]


def compare(
    request: Request,
    bits: Sequence[tuple[int, int]],
    wanted: Sequence[str],
    progress: Progress | None = None,
    pictures: int | None = None,
    judged_on: Path | None = None,
    effort: float = 1.0,
) -> MethodComparison:
    """Finish the plan of each pair of widths (weights, tensors) by each method and measure it in integers.

    Args:
        request: network, target, scope, pictures and seed.
        pictures: so many evaluation pictures, the first; None: all.
        judged_on: a folder whose pictures evaluate, all of them originals; None: those that the split holds out.
        effort: what a training may cost over what it usually may, in multiply-accumulates.
    Raises:
        UsageError: no such method, no widths, or a folder of originals for a task that has other samples.
        FileError: the pictures cannot be used.
    """
    progress = progress or Silent()
    names = methods.check(wanted)
    if not bits:
        raise UsageError("no widths to compare at", "Give for example --bits 4/4.")
    problem = pose(request)
    photos = choose_pictures(request, problem.network)
    judge = _Judge(problem, photos.task, _evaluation(photos, judged_on)[:pictures])
    space = _space(problem, request, bits)
    rows = []
    with progress.stage("comparing methods", STEPS * len(names) * len(bits)) as stage:
        for name in names:
            calibration, look_s = _look(problem, photos, space, name, request.seed)
            for weight_bits, activation_bits in bits:
                report = follow(stage, STEPS)
                started = time.perf_counter()
                plan = space.uniform(weight_bits, activation_bits)
                first = calibration.quantized(plan)
                trained = plan_cache.name_of(calibration, plan, photos, request.seed, effort)
                with plan_cache.training(trained) as kept:
                    finished = calibration.finished(plan, seed=request.seed, progress=report, effort=effort, kept=kept)
                seconds = look_s + time.perf_counter() - started + (kept.earlier_s if kept else 0.0)
                rows.append(_row(name, (weight_bits, activation_bits), problem, judge, first, finished, seconds))
                report("measured", 1.0)
    return MethodComparison(
        network=problem.network.name,
        scale=problem.network.scale,
        weights_sha256=problem.network.weights_sha256,
        dropped=list(problem.network.dropped),
        branches=branches.read(request.branches),
        target=problem.device.name,
        input_size=problem.input_size,
        scope=request.scope,
        quality_name=photos.task.quality.name,
        second_name=photos.task.second.name,
        float_db=float(judge.float_db.mean()),
        float_second=judge.float_second,
        pictures=[pair.name for pair in judge.pairs],
        seed=request.seed,
        effort=effort,
        versions=versions(),
        rows=beside_the_best(rows),
    )


def _evaluation(photos: Pictures, folder: Path | None) -> Sequence[Sample]:
    """The pictures to judge by: those held out, or all of a folder."""
    if folder is None:
        return photos.evaluation
    task = photos.task
    if not isinstance(task, SuperResolution):
        raise UsageError(f"--evaluation names originals, and the task {task.name} has none", "Leave it out.")
    return task.fitted([task.read(entry) for entry in task.entries(folder)])


def beside_the_best(rows: Sequence[MethodRow]) -> list[MethodRow]:
    """The rows with what each loses more than the best of its widths, picture by picture."""
    found = []
    for row in rows:
        alike = [other for other in rows if (other.weight_bits, other.activation_bits) == (row.weight_bits, row.activation_bits)]
        behind = difference(row.losses_db, min(alike, key=lambda other: other.loss_db).losses_db)
        update = {"behind_db": behind.mean, "behind_half_db": finite(behind.half), "tie": behind.is_tie}
        found.append(row.model_copy(update=update))
    return found


def _look(problem: Problem, photos: Pictures, space: SearchSpace, name: str, seed: int) -> tuple[Calibration, float]:
    """A calibration of its own for every method, so that none is given what another has worked out; and its seconds."""
    started = time.perf_counter()
    calibration = calibrated(problem, photos, seed, method=name, space=space)
    return calibration, time.perf_counter() - started


def _space(problem: Problem, request: Request, bits: Sequence[tuple[int, int]]) -> SearchSpace:
    """All widths that are compared, in integers, whatever the target stores."""
    outside = SCOPES[request.scope].outside_bits
    return build_space(
        problem.workload,
        tuple(sorted({weight for weight, _ in bits})),
        tuple(sorted({tensor for _, tensor in bits})),
        symmetric_activations=problem.space.symmetric_activations,
        scope=request.scope,
        outside=OUTSIDE if outside is None else (outside, outside),
    )


class _Judge:
    """The pictures, what the task says of them, and what the floating-point network makes of them."""

    def __init__(self, problem: Problem, task: Task, pairs: Sequence[Sample]) -> None:
        self.pairs, self._task = pairs, task
        with torch.no_grad():
            self.float_db, self.float_second = self._figures(lambda x: execute(problem.whole or problem.graph, x))

    def __call__(self, quantized: QuantizedGraph) -> tuple[np.ndarray, float]:
        """The task's quality of every picture, dB, and its mean second figure, of our integer engine."""
        return self._figures(lambda x: integer.run(quantized, x))

    def _figures(self, run: Run) -> tuple[np.ndarray, float]:
        found = [self._task.figures(run(pair.low), pair) for pair in self.pairs]
        return np.array([figures.quality for figures in found]), float(np.mean([figures.second for figures in found]))


def _row(
    name: str,
    bits: tuple[int, int],
    problem: Problem,
    judge: _Judge,
    first: QuantizedGraph,
    finished: QuantizedGraph,
    seconds: float,
) -> MethodRow:
    quality, second = judge(finished)
    before = quality if finished is first else judge(first)[0]
    losses = judge.float_db - quality
    stored = problem.space.uniform(*bits)
    price = _mean_price(problem, bits, finished, [pair.low for pair in judge.pairs])
    lost = interval(losses)
    weights, tensors = ([*map(bits_of, own.values())] for own in problem.space.named(stored))
    energy = float(price.energy_j[0])
    return MethodRow(
        method=name,
        weight_bits=bits[0],
        activation_bits=bits[1],
        quality_db=float(quality.mean()),
        loss_db=float(losses.mean()),
        stderr_db=float(losses.std(ddof=1) / np.sqrt(len(losses))) if len(losses) > 1 else 0.0,
        half_db=finite(lost.half),
        behind_db=0.0,
        behind_half_db=None,
        tie=True,
        second=second,
        first_db=float(before.mean()),
        losses_db=losses.tolist(),
        seconds=seconds,
        latency_s=float(price.latency_s[0]),
        energy_j=None if np.isnan(energy) else energy,
        weight_bytes=int(price.weight_bytes[0]),
        peak_activation_bytes=int(price.peak_activation_bytes[0]),
        priced_as=f"W{min(weights)}A{min(tensors)}",
        run_time_price=methods.load(name).INFO.price,
    )


def _mean_price(problem: Problem, bits: tuple[int, int], finished: QuantizedGraph, pictures: Sequence[Tensor]) -> cost.Objectives:
    """A plan's price; where its widths are those of each picture, the mean time and energy over pictures, and the largest
    memory of all widths that there might be."""
    stored = problem.space.uniform(*bits)
    if (switched := finished.by_picture) is None:
        return _price(problem, stored, finished)
    weights, tensors = problem.space.named(stored)
    groups = problem.workload.group_names
    prices = []
    for variant in (switched.fewer, finished, switched.more):
        widths = tensors | {groups[one.group]: variant.formats[one.name].bits for one in problem.workload.tensors}
        row = problem.space.nearest([*weights.values(), *widths.values()])
        prices.append(_price(problem, row, variant))
    seen = [prices[1 + finished.offset(picture)] for picture in pictures]
    return cost.Objectives(
        np.mean([price.latency_s for price in seen], axis=0),
        np.max([price.weight_bytes for price in prices], axis=0),
        np.max([price.peak_activation_bytes for price in prices], axis=0),
        np.mean([price.energy_j for price in seen], axis=0),
    )


def _price(problem: Problem, stored: PlanRow, finished: QuantizedGraph) -> cost.Objectives:
    """A plan's price with what its method's arithmetic needs at run time."""
    weights, tensors = problem.space.named(stored)
    workload, formats, wide = problem.workload, finished.formats, tuple[str, ...]()
    if read := {tensor.name for tensor in workload.tensors if formats[tensor.name].normalized is not None}:
        workload, wide = normalizing(workload, read)
        as_read = INT16
    else:
        groups, as_read = workload.group_names, INT8
        read = {
            tensor.name
            for tensor in workload.tensors
            if bits_of(tensors[groups[tensor.group]]) < INT8.bits and formats[tensor.name].levels is not None
        }
    if not read:
        return cost.estimate(problem.table, stored)
    workload, decoded = decoding(workload, read)
    space = build_space(
        workload,
        problem.space.weight_formats,
        problem.space.tensor_formats,
        wide=problem.space.wide,
        symmetric_activations=problem.space.symmetric_activations,
    )
    row = space.nearest([*weights.values(), *tensors.values(), *[INT16.bits] * len(wide), *[as_read.bits] * len(decoded)])
    return cost.estimate(cost.lower(problem.device, workload, space), row)
