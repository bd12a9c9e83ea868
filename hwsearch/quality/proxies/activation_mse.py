"""Activation MSE: the mean squared error of the activation that a choice disturbs first, others in floating point.

For a tensor choice that is the stored tensor itself, for a weight choice the layer's own output; Kim et al. (APCCAS 2025) rank
layers of super-resolution networks so, and block reconstruction minimises the same error. Nothing behind that activation is
executed. The error is told as if it reached the output unamplified, on the 0..255 scale of the luma: units are those of the other
proxies, the size is right only after calibration by measured plans.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Report, tensors
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quality.proxy_run import ProxyRun
from hwsearch.quant.calibrate import Calibration
from searchspaces.ir.graph import apply
from searchspaces.tasks.task import Sample, Task

INFO = ProxyInfo(
    "activation_mse",
    "squared error of the activation that a choice disturbs first, blind to what follows",
    "one forward pass per picture, and one for each width of the weights",
    place=8,
)

MACS = 2e10


def measure(
    calibration: Calibration, pairs: Sequence[Sample], seed: int, progress: Report | None = None, task: Task | None = None
) -> Damage:
    """Damage of every choice, averaged over pictures; members of one width group add up. ``seed`` is not used."""
    widths = len(calibration.space.weight_bits)
    work = ProxyRun(calibration, pairs, MACS / (1 + widths), seed, progress, task)
    errors, graph = work.errors, work.graph
    noise = np.zeros(work.space.allowed.shape)
    with torch.no_grad():
        for pair in work.samples("activation errors"):
            values = tensors(graph, pair.low)
            for decision, name, is_weight, choice in errors.choices():
                if is_weight:
                    changed = [
                        apply(errors.changed(user, choice), [values[graph[user].inputs[0]]]) - values[user]
                        for user in errors.users[name]
                    ]
                else:
                    changed = [errors.tensor(m, choice, values[m]) for m in errors.members[name]]
                noise[decision, choice] += work.task.unit**2 * sum(float(e.double().square().mean()) for e in changed)
    # One pass of the whole network, and every layer once more for each of its widths.
    return work.damage(INFO.name, noise / len(work.used), forward_passes=len(work.used) * (1 + widths))
