"""Running a plan file's integers again, on the pictures it was judged by or on others, and comparing with what it says.

Only the file's integers are used: neither the network's code nor its weights are needed. Whichever runtime executes them, our
engine checks it code for code, under the runtime's own rule. With ONNX Runtime the exported file beside the plan is what runs (or
a fresh export, where there is none).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hwmodels.errors import MismatchError, UsageError
from hwmodels.tiling.tiling import Tiling
from hwsearch.documents import reading
from hwsearch.documents.progress import Progress
from hwsearch.formats.running import reach, runtimes
from hwsearch.formats.running.runtime import Runtime, compare, judge
from hwsearch.plans import verify
from hwsearch.plans.plan_file import PlanFile
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.data import pictures
from searchspaces.data.pictures import Pair
from searchspaces.data.scale import Scale, enlarged
from searchspaces.ir.graph import Graph
from searchspaces.tasks import registry as tasks
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Sample, Signature

QUALITY_TOLERANCE_DB = 0.005
"""Room for another CPU's order of additions where a plan has layers in half precision."""


@dataclass(frozen=True)
class Verdict:
    """What was measured, and what the plan says (``None`` on other pictures, or where it was not measured)."""

    plan: str
    runtime: str
    pictures: tuple[str, ...]
    quality_name: str
    quality_db: float
    second_name: str
    second: float
    mismatched_codes: int
    codes: int
    seconds: float
    """Wall time of the runtime on all pictures, the first run of each size included."""
    peak_bytes: int | None
    """Working memory, where the runtime reports it."""
    instructions: dict[str, int] | None
    """Executed on all pictures, by layer in execution order, where the runtime counts them."""
    recorded_db: float | None
    tiling: Tiling | None = None
    """How the plan cuts the picture; our engine then gave the same codes tile by tile and for whole pictures."""
    middle: tuple[int, int] | None = None
    """Height and width of what was read of each picture, where the network is for one size."""


def recheck(opened: PlanFile, runtime: str, images: Path | None, progress: Progress) -> Verdict:
    """Run a plan on ``images``, or on the evaluation pictures of its run.

    Args:
        images: a folder; all of its pictures are used.
    Raises:
        FileError: the plan, its integers or a picture cannot be used.
        UsageError: no such runtime, or it is not installed.
        MismatchError: the runtime and our engine disagree, or tiles and whole pictures, or the plan says another quality.
    """
    known = runtimes.runtime(runtime)
    plan, path = opened.plan, opened.path
    qgraph = opened.integers(progress)
    task, chosen, own = judged_by(opened, images, qgraph.graph, plan.scale)
    executor = _with_exported(opened, qgraph) if runtime == "ort" else known.open_plan(qgraph)
    ran: list[_Ran] = []
    lows = []
    with progress.stage(f"running {plan.name}", len(chosen)) as stage:
        for picture in chosen:
            pair = sample(task, picture)
            lows.append(pair.low)
            ran.append(_measure(executor, pair, task))
            stage.advance()
        if plan.tiling is not None:
            # A network that refines an enlarged picture is cut in that.
            planned_width = enlarged(plan.input_width, plan.scale if task.contract.input_kind == "upsampled" else 1)
            verify.prove_tiling(qgraph, plan.tiling, planned_width, lows)
    different, codes = sum(one.different for one in ran), sum(one.codes for one in ran)
    worst = max(range(len(ran)), key=lambda place: (ran[place].beyond, ran[place].different))
    judge(executor.tolerance, different, sum(one.beyond for one in ran), codes, lows[worst])
    measured_db = float(np.mean([one.quality_db for one in ran]))
    # The plan's figure was measured under its own rule; another rounds a few codes differently.
    own = own and executor.executed.rule == plan.requantization
    recorded_db = plan.measured.quality_db if own and plan.measured else None
    if recorded_db is not None and abs(recorded_db - measured_db) > QUALITY_TOLERANCE_DB:
        raise MismatchError(
            f"{path}: measured {measured_db:.3f} dB, but the plan says {recorded_db:.3f} dB on the same pictures",
            "The plan, its integers, its pictures or the runtime have changed.",
        )
    names = tuple(picture.name for picture in chosen)
    return Verdict(
        plan=plan.name,
        runtime=executor.version,
        pictures=names,
        quality_name=task.quality.name,
        quality_db=measured_db,
        second_name=task.second.name,
        second=float(np.mean([one.second for one in ran])),
        mismatched_codes=different,
        codes=codes,
        seconds=sum(one.seconds for one in ran),
        peak_bytes=executor.peak_bytes,
        instructions=dict(executor.instructions) if executor.instructions is not None else None,
        recorded_db=recorded_db,
        tiling=plan.tiling,
        middle=qgraph.graph.size,
    )


def _with_exported(opened: PlanFile, qgraph: QuantizedGraph) -> Runtime:
    from hwsearch.formats.onnx import ort

    beside = opened.path.with_suffix(".onnx")
    reading.refuse_link(beside)
    return ort.open_plan(qgraph, beside if beside.is_file() and not opened.edited else None)


@dataclass(frozen=True)
class _Ran:
    """One picture as a runtime enlarged it. ``different``: codes that differ from our engine's; ``beyond``: by more than one."""

    quality_db: float
    second: float
    different: int
    beyond: int
    codes: int
    seconds: float


def _measure(runtime: Runtime, pair: Pair, task: SuperResolution) -> _Ran:
    with torch.no_grad():
        start = time.perf_counter()
        output = runtime.run(pair.low)
        seconds = time.perf_counter() - start
        ours = integer.run(runtime.executed, pair.low)
    fmt = runtime.executed.formats[runtime.executed.graph.output.name]
    return _Ran(*task.figures(output, pair), *compare(output, ours, fmt), seconds)


def sample(task: SuperResolution, entry: Sample) -> Pair:
    """A picture of ``judged_by`` in a size that the network takes: the middle of larger ones.

    Raises:
        FileError: it cannot be used, or is smaller.
    """
    (pair,) = task.fitted([task.read(entry)])
    return pair


def judged_by(
    opened: PlanFile, images: Path | None, graph: Graph, scale: Scale
) -> tuple[SuperResolution, Sequence[Sample], bool]:
    """The task that judges a plan, what it reads its samples from, and whether these are those that the plan was
    judged by.

    Raises:
        FileError: ``images`` cannot be used.
        UsageError: outputs of the task are judged by the floating-point network, which a plan does not hold.
    """
    run = opened.run
    source = images if images is not None or run is None else run.images
    channels = graph.channels
    task = tasks.choose(
        None if run is None else run.task,
        source,
        Signature(
            scale,
            channels,
            "upsampled" if reach.enlargement(graph) == 1 and scale > 1 else "low",
            only=graph.size,
            multiple=graph.multiple,
        ),
    )
    if not isinstance(task, SuperResolution) or task.by_network:
        raise UsageError(
            f"{opened.path}: {task.name} is judged by the floating-point network, which a plan does not hold",
            "Its run compared every code and measured it; see its results.json.",
        )
    entries = task.entries(source)
    if images is not None:
        return task, entries, False
    return task, pictures.split(entries, seed=run.seed if run else 0).evaluation, run is not None
