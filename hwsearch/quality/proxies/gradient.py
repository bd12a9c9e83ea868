"""Gradient: the first-order change of the error against the original picture, ``|<dL/dt, Q(t) - t>|``.

L is the mean squared error of the output luma (0..255) against the original, so the unit is that of all damage. The inner product
is taken for each picture, its absolute value averaged over pictures: first-order changes have a sign that differs from picture to
picture, and quantization in the right direction on one of them is luck. One backward pass per picture serves every choice. Being
first-order, it says nothing about errors that are orthogonal to the gradient; the squared version (``fisher``) does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Errors, Report, float_error, forward, inner_products, judged_by
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.observe.work import macs_per_pixel
from searchspaces.tasks.task import Sample, Task

INFO = ProxyInfo(
    "gradient",
    "gradient of the picture error times the quantization error, first order",
    "one backward pass per picture, for all widths at once",
    searched=True,
    place=3,
)

MACS = 2e10


def measure(
    calibration: Calibration, pairs: Sequence[Sample], seed: int, progress: Report | None = None, task: Task | None = None
) -> Damage:
    """Damage of every choice, averaged over pictures. ``seed`` is not used: nothing is random."""
    started, task = time.monotonic(), judged_by(task, pairs)
    graph, errors = calibration.graph, Errors(calibration, task)
    used = task.windows(pairs, MACS / 3 / macs_per_pixel(graph, pairs[0].low.shape[1]))
    noise = np.zeros(calibration.space.allowed.shape)
    for number, pair in enumerate(used):
        run = forward(graph, pair.low, task)
        difference = run.view.detach() - task.target(pair)
        tensors, layers = run.gradients(2 * difference / run.view.numel(), keep=False)
        noise += np.abs(inner_products(errors, tensors, errors.stored(run.tensors), layers))
        if progress:
            progress("gradients", (number + 1) / len(used))
    noise /= len(used)
    return Damage(
        "gradient",
        noise,
        float_error(graph, used, task),
        seed,
        tuple(pair.name for pair in used),
        time.monotonic() - started,
        forward_passes=len(used),
        backward_passes=len(used),
    )
