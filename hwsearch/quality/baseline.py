"""Whether a network is worth a search: its floating-point quality beside that of the simplest method on the same samples.

A network that is fed what it was not trained for (0..255 instead of 0..1, channels in another order), or whose weights were not
loaded, is searched and proven like any other, and every figure of it is worthless. Below the baseline that is
the likeliest cause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


CLEARLY_DB = 1.0
"""By how much another reading of the network must be better to be proposed where it, too, is below the baseline."""
CAUSES = (
    "Likely causes: it expects another range of values (--range 0..255, -1..1 or MEAN/STD), another order of channels "
    "(--order bgr), or its weights were not loaded (--weights). "
)
FORCE = "If it is meant to be so (trained for looks), go on with --force."


def check(found: Standing | None, others: Callable[[], Mapping[str, float]], *, force: bool) -> None:
    """Refuse a network that the simplest method beats, unless ``force``.

    Args:
        others: measures the mean quality on the same samples where the network is fed otherwise, by the options that say so.
    Raises:
        UsageError: it is beaten; says which options would mend it, or else the likely causes.
    """
    if found is None or force or found.float_db >= found.baseline_db:
        return
    measured = others()
    best = max(measured, key=lambda options: measured[options], default="")
    hint = CAUSES
    if best and measured[best] >= found.baseline_db:
        hint = f"With {best} it reaches {measured[best]:.2f} {found.unit}: say so. "
    elif best and measured[best] > found.float_db + CLEARLY_DB:
        hint = f"With {best} it reaches {measured[best]:.2f} {found.unit}, which is still below. {CAUSES}"
    raise UsageError(
        f"the floating-point network is worse than {found.baseline} on the search pictures: {found}", f"{hint}{FORCE}"
    )
