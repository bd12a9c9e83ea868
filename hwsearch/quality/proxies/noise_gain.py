"""Noise gain: the power of each quantization error, times the gain of white noise from there to the output.

The linear noise model of fixed-point design. Errors are taken as white: independent from weight to weight and from value to
value. Then noise of power s^2 in a channel reaches the output with power ``s^2 * sum |J|^2``, and the sum of squares of a
channel's column of the Jacobian is the expected squared norm of a backward pass of random signs. Lin, Talathi and Annapureddy
(ICML 2016) give the additivity in the noise domain.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Report, forward
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quality.proxy_run import ProxyRun
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.observe.gains import others
from searchspaces.ir.shapes import known_channel_axes
from searchspaces.tasks.task import Sample, Task

INFO = ProxyInfo(
    "noise_gain",
    "power of the quantization error times the gain of white noise to the output",
    "one backward pass per picture, for all widths at once",
    searched=True,
    place=2,
)

MACS = 2e10


def measure(
    calibration: Calibration, pairs: Sequence[Sample], seed: int, progress: Report | None = None, task: Task | None = None
) -> Damage:
    """Damage of every choice; one backward pass per picture measures all gains."""
    work = ProxyRun(calibration, pairs, MACS / 3, seed, progress, task)
    errors = work.errors
    generator = torch.Generator().manual_seed(seed)
    axes = known_channel_axes(work.graph)
    noise = np.zeros(work.space.allowed.shape)
    for pair in work.samples("noise gains"):
        run = forward(work.graph, pair.low, work.task)
        signs = torch.randint(0, 2, run.view.shape, generator=generator, dtype=torch.float32) * 2 - 1
        tensors, layers = run.gradients(signs, keep=False)
        for decision, name, is_weight, choice in errors.choices():
            if is_weight:
                biases = (_of_bias(errors.weight(user, choice)[1], layers[user][1]) for user in errors.users[name])
                total = sum(biases, _through(errors.weight(name, choice)[0], layers[name][0], 0))
            else:
                total = sum(
                    _through(errors.tensor(m, choice, run.tensors[m].detach()), tensors[m], axes[m]) for m in errors.members[name]
                )
            noise[decision, choice] += total / run.view.numel()
    passes = len(work.used)
    return work.damage(INFO.name, noise / passes, forward_passes=passes, backward_passes=passes)


def _of_bias(error: Tensor | None, gradient: Tensor | None) -> float:
    """Error power times squared gradient, summed; none of a layer without a bias, or of one that no choice changes."""
    return 0.0 if error is None or gradient is None else float(torch.sum((error * gradient) ** 2))


def _through(error: Tensor, gradient: Tensor, channel: int | None) -> float:
    """Mean error power of each channel times the channel's squared gradient, summed; one channel where there are none."""
    rest = others(error, channel)
    return float(torch.sum(error.double().square().mean(dim=rest) * gradient.double().square().sum(dim=rest)))
