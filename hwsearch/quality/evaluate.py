"""Measured quality of plans: fake-quantized outputs of a fixed set of samples, or of a few patches, as the task judges them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import UsageError
from hwsearch.documents.earlier import USUAL_METHOD
from hwsearch.quality.finite import finite
from searchspaces.tasks.task import Sample, Task

AGREE_DB, AGREE_SHARE = 0.01, 0.01
"""How far two measured losses of one plan may lie apart, in dB or as a share, before they are of two versions or machines."""


@dataclass(frozen=True)
class Score:
    """Quality of one plan on the samples of an evaluator, in the task's unit.
    ``stderr_db`` is the standard error of the mean paired loss over samples; ``method``: the quantization method
    that the plan was measured with, the best of those on offer."""

    quality_db: float
    loss_db: float
    stderr_db: float
    method: str = USUAL_METHOD

    def agrees(self, loss_db: float) -> bool:
        """Whether another loss of the same plan was measured by the same versions, as far as one can tell."""
        return abs(loss_db - self.loss_db) <= max(AGREE_DB, AGREE_SHARE * abs(loss_db))


class Evaluator:
    """Scores any network on samples of a task, paired with the floating-point network on the same samples.

    Raises:
        UsageError: the floating-point network is perfect on a sample, or gives no numbers.
    """

    def __init__(self, reference: Callable[[Tensor], Tensor], pairs: Sequence[Sample], task: Task) -> None:
        self.pairs, self.task = tuple(pairs), task
        self.float_mse = self._errors(reference)
        for pair, error in zip(self.pairs, self.float_mse, strict=True):
            if not 0 < error < np.inf:
                raise UsageError(
                    f"no loss can be measured on the picture {pair.name}: the floating-point network's error there is {error:g}",
                    "Leave the picture out, or check the network's weights.",
                )
        self._float_db = self._qualities(self.float_mse)
        self.float_db = float(np.mean(self._float_db))

    def _errors(self, network: Callable[[Tensor], Tensor]) -> np.ndarray:
        with torch.no_grad():
            return np.array([self.task.error(network(pair.low), pair) for pair in self.pairs])

    def _qualities(self, errors: np.ndarray) -> np.ndarray:
        return np.array([self.task.quality_of(error, pair) for error, pair in zip(errors, self.pairs, strict=True)])

    @property
    def pixels(self) -> int:
        """Input positions of all samples."""
        return sum(pair.low[0, 0].numel() for pair in self.pairs)

    def losses_db(self, network: Callable[[Tensor], Tensor]) -> np.ndarray:
        """Quality that ``network`` loses against the reference on each sample, ``float64[samples]``; what is no number in its
        output counts as ``finite`` takes it."""
        found: np.ndarray = self._float_db - self._qualities(self._errors(lambda x: finite(network(x))))
        return found

    def score(self, network: Callable[[Tensor], Tensor]) -> Score:
        """Quality of ``network`` and its loss against the reference."""
        loss = self.losses_db(network)
        spread = float(loss.std(ddof=1) / np.sqrt(len(loss))) if len(loss) > 1 else 0.0
        return Score(self.float_db - float(loss.mean()), float(loss.mean()), spread)


def on_patches(reference: Callable[[Tensor], Tensor], pairs: Sequence[Sample], task: Task, seed: int) -> Evaluator | None:
    """An evaluator on a few patches of samples, without those on which the floating-point network is perfect (a flat sky); None
    where fewer than two are left."""
    with torch.no_grad():
        found = [patch for patch in task.patches(pairs, seed) if task.error(reference(patch.low), patch) > 0]
    return Evaluator(reference, found, task) if len(found) > 1 else None
