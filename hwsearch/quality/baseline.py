"""Whether a network is worth a search: its floating-point quality beside that of the simplest method on the same samples.

A network that is fed what it was not trained for (0..255 instead of 0..1, channels in another order), or whose weights were not
loaded, is searched and proven like any other, and every figure of it is worthless. Below the baseline that is
the likeliest cause.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodels.errors import UsageError
from hwsearch.quality.evaluate import Evaluator


@dataclass(frozen=True)
class Standing:
    """Mean quality on the samples of an evaluator, of the floating-point network and of the simplest method, in ``unit``."""

    float_db: float
    baseline_db: float
    baseline: str
    unit: str

    def __str__(self) -> str:
        return f"floating point {self.float_db:.2f} {self.unit}, {self.baseline} {self.baseline_db:.2f} {self.unit}"


def standing(evaluator: Evaluator) -> Standing | None:
    """Both qualities; None where the task has no simplest method."""
    task = evaluator.task
    simplest = [figures.quality for sample in evaluator.pairs if (figures := task.baseline(sample)) is not None]
    if not simplest:
        return None
    return Standing(evaluator.float_db, float(np.mean(simplest)), task.baseline_name, task.quality.unit)


def check(found: Standing | None, *, force: bool) -> None:
    """Refuse a network that the simplest method beats, unless ``force``.

    Raises:
        UsageError: it is beaten; the likely causes are named.
    """
    if found is None or force or found.float_db >= found.baseline_db:
        return
    raise UsageError(
        f"the floating-point network is worse than {found.baseline} on the search pictures: {found}",
        "Likely causes: it expects another range of values (--range 0..255, -1..1 or MEAN/STD), another order of channels (BGR), "
        "or its weights were not loaded (--weights). If it is meant to be so (trained for looks), go on with --force.",
    )
