"""What a task says of a network on samples, one by one: on pictures that nothing was chosen by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from searchspaces.tasks.task import Sample, Task


def on(network: Callable[[Tensor], Tensor], samples: Sequence[Sample], task: Task) -> tuple[np.ndarray, float]:
    """The task's quality of what ``network`` makes of each sample (dB, ``float64[samples]``), and its mean second figure."""
    with torch.no_grad():
        found = [task.figures(network(sample.low), sample) for sample in samples]
    return np.array([figures.quality for figures in found]), float(np.mean([figures.second for figures in found]))
