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
from typing import Any

import numpy as np

from hwmodels.errors import UsageError
from hwmodels.numbers import bits_of
from hwsearch.documents import trust
from hwsearch.documents.comparisons import MethodComparison, MethodRow
from hwsearch.documents.progress import STEPS, Progress, Silent, follow
from hwsearch.plans.run_time_price import mean_price
from hwsearch.problem import complexity
from hwsearch.problem.calibrated import calibrated
from hwsearch.problem.compared_on import compared_on
from hwsearch.problem.pictures import Pictures, choose_pictures
from hwsearch.problem.pose import Problem, pose
from hwsearch.problem.request import Request
from hwsearch.quality import figures
from hwsearch.quality.intervals import difference, finite, interval
from hwsearch.quant import methods
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.runs import plan_cache
from searchspaces.data.pictures import Picture
from searchspaces.ir.graph import execute
from searchspaces.scopes import SCOPES
from searchspaces.space import SearchSpace, build_space
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Sample, Task

NAMED = 3
"""Pictures that a refusal names."""
OUTSIDE = (8, 16)
"""Weights and tensors outside a scope whose papers leave them in floating point."""


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
        UsageError: no such method, no widths, or a folder of originals for a task that has other samples, or with some that the
            methods see.
        FileError: the pictures cannot be used.
    """
    progress = progress or Silent()
    names = methods.check(wanted)
    if not bits:
        raise UsageError("no widths to compare at", "Give for example --bits 4/4.")
    request = complexity.settled(request, progress)
    problem = pose(request)
    photos = choose_pictures(request, problem.network)
    judge = _Judge(problem, photos.task, _evaluation(photos, request.images, judged_on)[:pictures])
    space = _space(problem, request, bits)
    rows = []
    with progress.stage("comparing methods", STEPS * len(names) * len(bits)) as stage:
        for name in names:
            calibration, look_s = _look(problem, photos, space, name, request.seed)
            for weight_bits, activation_bits in bits:
                report = follow(stage, STEPS)
                started = time.perf_counter()
                plan = space.uniform(weight_bits, activation_bits)
                calibration.decide(lambda doing, share, report=report: report(doing, share / 2), plan)  # type: ignore[misc]
                first = calibration.quantized(plan)
                trained = plan_cache.name_of(calibration, plan, photos, request.seed, effort)
                with plan_cache.training(trained) as kept:
                    finished = calibration.finished(plan, seed=request.seed, progress=report, effort=effort, kept=kept)
                seconds = look_s + time.perf_counter() - started + (kept.earlier_s if kept else 0.0)
                rows.append(_row(name, (weight_bits, activation_bits), problem, judge, first, finished, seconds))
                report("measured", 1.0)
    return MethodComparison(
        **compared_on(request, problem.network),
        target=problem.device.name,
        trust=trust.of(problem.device),
        input_size=problem.input_size,
        scope=request.scope,
        about_scope=SCOPES[request.scope].told(problem.workload),
        quality_name=photos.task.quality.name,
        second_name=photos.task.second.name,
        float_db=float(judge.float_db.mean()),
        float_second=judge.float_second,
        pictures=[pair.name for pair in judge.pairs],
        effort=effort,
        rows=beside_the_best(rows),
    )


def _evaluation(photos: Pictures, source: Path | None, folder: Path | None) -> Sequence[Sample]:
    """The pictures to judge by: those held out, or all of a folder, of which methods must have seen none."""
    if folder is None:
        return photos.evaluation
    task = photos.task
    if not isinstance(task, SuperResolution):
        raise UsageError(f"--evaluation names originals, and the task {task.name} has none", "Leave it out.")
    entries, sources = task.entries(folder), set(photos.calibration)
    seen = {_pixels(entry) for entry in task.entries(source) if entry.name in sources} - {()}
    if known := [entry.name for entry in entries if _pixels(entry) in seen]:
        named = ", ".join(known[:NAMED]) + (", ..." if len(known) > NAMED else "")
        raise UsageError(
            f"{len(known)} of the {len(entries)} pictures in {folder} are among those that the methods calibrate on: {named}",
            "Evaluate on others, or leave --evaluation out: a part of the pictures is held out anyway.",
        )
    return task.fitted([task.read(entry) for entry in entries])


def _pixels(entry: Any) -> tuple[bytes, ...]:
    """What is in the files of a picture, or of a pair: hashes of their pixels, however they are stored."""
    files = getattr(entry, "files", ())  # entries of other tasks lie anywhere
    return tuple(Picture(path.name, path).pixels_sha256 for path in files)


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
        self.float_db, self.float_second = figures.on(lambda x: execute(problem.whole or problem.graph, x), pairs, task)

    def __call__(self, quantized: QuantizedGraph) -> tuple[np.ndarray, float]:
        """The task's quality of every picture, dB, and its mean second figure, of our integer engine."""
        return figures.on(lambda x: integer.run(quantized, x), self.pairs, self._task)


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
    price = mean_price(problem, bits, finished, [pair.low for pair in judge.pairs])
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
        remarks=list(finished.remarks),
    )
