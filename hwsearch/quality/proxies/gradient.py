"""Gradient: the first-order change of the error against the original picture, ``|<dL/dt, Q(t) - t>|``.

L is the mean squared error of the output luma (0..255) against the original, so the unit is that of all damage. The inner product
is taken for each picture, its absolute value averaged over pictures: first-order changes have a sign that differs from picture to
picture, and quantization in the right direction on one of them is luck. One backward pass per picture serves every choice. Being
first-order, it says nothing about errors that are orthogonal to the gradient; the squared version (``fisher``) does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Report, forward, inner_products
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quality.proxy_run import ProxyRun
from hwsearch.quant.calibrate import Calibration
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
    work = ProxyRun(calibration, pairs, MACS / 3, seed, progress, task)
    errors = work.errors
    noise = np.zeros(work.space.allowed.shape)
    for pair in work.samples("gradients"):
        run = forward(work.graph, pair.low, work.task)
        difference = run.view.detach() - work.task.target(pair)
        tensors, layers = run.gradients(2 * difference / run.view.numel(), keep=False)
        noise += np.abs(inner_products(errors, tensors, errors.stored(run.tensors), layers))
    passes = len(work.used)
    return work.damage(INFO.name, noise / passes, forward_passes=passes, backward_passes=passes)
