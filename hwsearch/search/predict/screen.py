"""Cheap looks at a plan before it is measured on all pictures: the proxy, then a few patches. What a cheap look already shows to
be hopeless goes no further.

A plan is hopeless when a finished plan costs no more in any price and loses less: so much less that the look's own error cannot
explain it. For the proxy that error is the share by which it overrated the loss of measured plans; for the patches it is the
standard error of the difference between the two plans, patch by patch, so that hard patches do not count as noise. A plan that
passes is promoted to all pictures; those that the search chooses in the end are promoted to integers by the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from searchspaces.space import PlanRow, matrix

STANDARD_ERRORS = 2.0
"""Standard errors by which a plan must be worse on the patches."""
OVERRATED = 0.05
"""Quantile of (measured loss / predicted loss) over measured plans: a prediction is cut down to that share."""


@dataclass(frozen=True)
class Screened:
    """How far a plan came: "proxy" and "patches" are hopeless there, "pictures" is promoted; ``rival``: the row of the finished
    plan that decided; ``facts``: what was seen, by name."""

    fidelity: str
    rival: int | None = None
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def hopeless(self) -> bool:
        return self.fidelity != "pictures"


class Screen:
    """Judges plans.

    Args:
        predict: plans ``int8[P, D]`` -> predicted PSNR loss ``float64[P]`` in dB.
        overrated: see ``trust``.
        patches: plan -> measured PSNR loss of each patch ``float64[N]`` in dB, N > 1.
        share: cost of the patches, as a share of measuring on all pictures.
    """

    def __init__(
        self,
        predict: Callable[[np.ndarray], np.ndarray],
        overrated: float,
        patches: Callable[[PlanRow], np.ndarray],
        share: float,
    ) -> None:
        self._predict, self._overrated, self._patches, self.share = predict, overrated, patches, share
        self._seen: dict[PlanRow, np.ndarray] = {}

    def judge(self, plan: PlanRow, rivals: Sequence[PlanRow], losses_db: np.ndarray) -> Screened:
        """Look at ``plan`` beside the finished plans that cost no more than it does, ``rivals``, and their losses ``float64[N]``
        on all pictures."""
        predicted = float(self._predict(matrix([plan]))[0])
        facts = {"predicted_loss_db": predicted}
        if not len(rivals):
            return Screened("pictures", None, facts)
        best = int(np.argmin(losses_db))
        if losses_db[best] < predicted * self._overrated:
            return Screened("proxy", best, facts)
        mine = self._on_patches(plan)
        excess = mine - self._on_patches(rivals[best])
        error = float(excess.std(ddof=1) / np.sqrt(len(excess)))
        facts |= {"patch_loss_db": float(mine.mean()), "excess_db": float(excess.mean()), "excess_stderr_db": error}
        if excess.mean() > STANDARD_ERRORS * error and excess.mean() > 0:
            return Screened("patches", best, facts)
        return Screened("pictures", best, facts)

    def _on_patches(self, plan: PlanRow) -> np.ndarray:
        if plan not in self._seen:
            self._seen[plan] = np.asarray(self._patches(plan), dtype=np.float64)
        return self._seen[plan]


def trust(predicted_db: np.ndarray, simulated_db: np.ndarray) -> float:
    """The share of a predicted loss that nearly every measured plan really lost, at most 1; 0 where nothing is known."""
    usable = np.asarray(predicted_db) > 0
    if not usable.any():
        return 0.0
    ratios = np.asarray(simulated_db)[usable] / np.asarray(predicted_db)[usable]
    return float(np.clip(np.quantile(ratios, OVERRATED), 0.0, 1.0))
