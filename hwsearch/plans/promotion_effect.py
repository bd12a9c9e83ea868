"""What promotion does to a plan's quality: the plan's integers and the promoted ones, run by our engine on the same pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hwsearch.documents.progress import Progress
from hwsearch.formats.writing.promote import Promotion
from hwsearch.plans import recheck
from hwsearch.plans.plan_file import PlanFile
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.data.scale import Scale


@dataclass(frozen=True)
class Effect:
    """Quality by the task's metric in dB, means over ``pictures``: of the plan, and of what is exported."""

    pictures: tuple[str, ...]
    quality_before_db: float
    quality_after_db: float


def measure(opened: PlanFile, before: QuantizedGraph, promotion: Promotion, scale: Scale, progress: Progress) -> Effect | None:
    """Measure the change of quality on the evaluation pictures of the plan (see ``recheck``), or on the built-in ones
    for a plan without a run. ``None`` where only containers changed: the numbers are the same."""
    if promotion.same_numbers:
        return None
    task, chosen, _ = recheck.judged_by(opened, None, before.graph, scale)
    found = []
    with progress.stage("measuring what promotion costs", len(chosen)) as stage, torch.no_grad():
        for picture in chosen:
            pair = recheck.sample(task, picture)
            outputs = (integer.run(qgraph, pair.low) for qgraph in (before, promotion.qgraph))
            found.append([task.figures(y, pair).quality for y in outputs])
            stage.advance()
    plan_db, exported_db = np.mean(found, axis=0)
    return Effect(tuple(picture.name for picture in chosen), float(plan_db), float(exported_db))
