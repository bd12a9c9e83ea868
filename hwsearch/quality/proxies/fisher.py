"""Squared gradient (Fisher): the output noise power of each choice to first order, ``||J e||^2`` per pixel.

J is the Jacobian of the output luma by whatever is quantized, e the error of the choice. With random signs v on the output,
``E (v^T J e)^2 = ||J e||^2`` (Hutchinson's estimator), and ``v^T J`` is one backward pass that serves all choices. Errors of one
choice in several tensors are added before they are squared, because they occur together. Needs no original pictures.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Errors, Report, float_error, forward, inner_products, judged_by
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.observe.work import macs_per_pixel
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
    started, task = time.monotonic(), judged_by(task, pairs)
    graph, errors = calibration.graph, Errors(calibration, task)
    generator = torch.Generator().manual_seed(seed)
    affordable = MACS / 3 / macs_per_pixel(graph, pairs[0].low.shape[1])
    used = task.windows(pairs, affordable)
    pixels = sum(pair.low.shape[2] * pair.low.shape[3] for pair in used)
    projections = int(np.clip(affordable / pixels, 1, PROJECTIONS))
    noise = np.zeros(calibration.space.allowed.shape)
    for number, pair in enumerate(used):
        run = forward(graph, pair.low, task)
        stored = errors.stored(run.tensors)
        for k in range(projections):
            signs = torch.randint(0, 2, run.view.shape, generator=generator, dtype=torch.float32) * 2 - 1
            tensors, layers = run.gradients(signs, keep=k + 1 < projections)
            noise += inner_products(errors, tensors, stored, layers) ** 2 / run.view.numel()
        if progress:
            progress("squared gradients", (number + 1) / len(used))
    noise /= len(used) * projections
    return Damage(
        "fisher",
        noise,
        float_error(graph, used, task),
        seed,
        tuple(pair.name for pair in used),
        time.monotonic() - started,
        forward_passes=len(used),
        backward_passes=len(used) * projections,
    )
