"""Squared gradient (Fisher): the output noise power of each choice to first order, ``||J e||^2`` per pixel.

J is the Jacobian of the output luma by whatever is quantized, e the error of the choice. With random signs v on the output,
``E (v^T J e)^2 = ||J e||^2`` (Hutchinson's estimator), and ``v^T J`` is one backward pass that serves all choices. Errors of one
choice in several tensors are added before they are squared, because they occur together. Needs no original pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Report, forward, inner_products
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quality.proxy_run import ProxyRun
from hwsearch.quant.calibrate import Calibration
from searchspaces.tasks.task import Sample, Task

INFO = ProxyInfo(
    "fisher",
    "squared gradient times error: expected output noise power, correlations included",
    "one backward pass per picture and projection (up to 8), for all widths at once",
    searched=True,
    place=1,
)

MACS = 6e10
"""Multiply-accumulates spent on backward passes; a pass costs about three forward passes."""
PROJECTIONS = 8


def measure(
    calibration: Calibration, pairs: Sequence[Sample], seed: int, progress: Report | None = None, task: Task | None = None
) -> Damage:
    """Damage of every choice, averaged over pictures and up to eight projections of each."""
    work = ProxyRun(calibration, pairs, MACS / 3, seed, progress, task)
    generator = torch.Generator().manual_seed(seed)
    projections = work.repetitions(PROJECTIONS)
    noise = np.zeros(work.space.allowed.shape)
    for pair in work.samples("squared gradients"):
        run = forward(work.graph, pair.low, work.task)
        stored = work.errors.stored(run.tensors)
        for k in range(projections):
            signs = torch.randint(0, 2, run.view.shape, generator=generator, dtype=torch.float32) * 2 - 1
            tensors, layers = run.gradients(signs, keep=k + 1 < projections)
            noise += inner_products(work.errors, tensors, stored, layers) ** 2 / run.view.numel()
    passes = len(work.used)
    noise /= passes * projections
    return work.damage(INFO.name, noise, forward_passes=passes, backward_passes=passes * projections)
