"""Bit gradient: the first-order change of a distillation loss by every choice, around a plan that is already quantized.

"Gradient Knows Best" ranks quantizers by such derivatives and is done (``search.allocate.gradient_rank``); here the same backward
pass scores every width, for the exact solver and the device's prices. Around one base width everywhere, with ranges as they are,
a choice changes the loss by ``|<dL/dx', Q(x) - clip(x)>|``, the mean over batches: clipping is the same for all of them. The loss
has its own unit: all scores are scaled so that those of the base plan add up to the noise that the base plan is seen to make at
the output. Unlike ``gradient`` it needs no original picture, and looks where the search will be, not at the floating-point
network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from hwmodels.numbers import Int, NumberFormat
from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Errors, Report
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quality.proxy_run import ProxyRun
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.learn.bit_gradients import Probe, Seen, looks, of_bits, weights_of_bits
from searchspaces.tasks.task import Sample, Task

INFO = ProxyInfo(
    "bit_gradient",
    "derivative of a distillation loss by what is stored times the rounding error, around a quantized plan",
    "one forward and backward pass per batch, for all widths at once",
    place=9,
)
BASE_BITS = 4
"""Where the published method is used; a space without that width is looked at around its next wider one."""
MACS = 2e10


def measure(
    calibration: Calibration, pairs: Sequence[Sample], seed: int, progress: Report | None = None, task: Task | None = None
) -> Damage:
    """Damage of every choice; the batches are windows of the calibration pictures, in an order that the seed decides."""
    work = ProxyRun(calibration, pairs, MACS, seed, progress, task)
    space = work.space
    base = space.uniform(BASE_BITS, BASE_BITS)
    draft = calibration.draft(base)
    probe, change, base_noise, count = Probe(draft), np.zeros(space.allowed.shape), 0.0, 0
    for seen, target in looks(draft, probe, seed):
        change += _changes(work.errors, probe, seen)
        base_noise += _noise(work.task, seen.output, target)
        count += 1
        if progress:
            progress("bit gradients", count / (count + 1))
    if progress:
        progress("bit gradients", 1.0)
    of_base = float(change[np.arange(space.decisions), list(base)].sum())
    noise = change / count * (base_noise / of_base if of_base > 0 else 0.0)
    return work.damage(INFO.name, noise, forward_passes=2 * count, backward_passes=count)


def _noise(task: Task, output: Tensor, target: Tensor) -> float:
    return float((task.view(output) - task.view(target)).double().square().mean())


def _changes(errors: Errors, probe: Probe, seen: Seen) -> np.ndarray:
    """``|<dL/dx', Q(x) - clip(x)>|`` of one batch for every choice, ``float64[D, C]``."""
    space, graph = errors.space, probe.graph
    change = np.zeros(space.allowed.shape)
    groups = graph.width_groups()
    ends = {groups[graph.input.name], groups[graph.output.name]}
    for decision, name in enumerate(space.names):
        for choice in space.choices(decision):
            if decision < len(space.layer_names):
                number = space.weight_formats[choice]
                change[decision, choice] = abs(sum(_of_layer(seen, user, number) for user in errors.users[name]))
                continue
            number, total = space.tensor_formats[choice], 0.0
            for member in (one for one in seen.tensors if groups[one] == name):
                probed, fmt = seen.tensors[member], probe.start.formats[member]
                if name in ends:
                    total += probed.along(errors.tensor(member, int(choice), probed.real))
                    continue
                if fmt.is_float or not isinstance(number, Int) or number.is_wide or fmt.is_wide:
                    continue  # rounding that is not seen beside that of bytes
                other = of_bits(graph, graph[member], fmt, number)
                total += probed.along(other.fake(probed.clipped) - probed.clipped)
            change[decision, choice] = abs(total)
    return change


def _of_layer(seen: Seen, name: str, number: NumberFormat) -> float:
    if name not in seen.layers or not isinstance(number, Int) or number.is_wide:
        return 0.0
    probed = seen.layers[name]
    return probed.along(weights_of_bits(probed, number) - probed.clipped)
