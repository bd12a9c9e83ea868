"""Hessian trace: the second-order rise of the picture error, with the Hessian known by its mean diagonal alone.

L is the mean squared error of the output luma (0..255) against the original. A choice that moves n values by e adds about
``e^T H e / 2``, for which HAWQ-V2 (Dong et al., NeurIPS 2020) puts ``trace(H) / (2 n) * ||e||^2``, with H the block of L's
Hessian by these values alone; here for the weights of a layer (biases left out) and for the tensors of a width group. The trace
is Hutchinson's estimate ``E v^T H v`` with random signs. One product with the Hessian of all weights and tensors together serves
every block: their signs are independent, so that the blocks off the diagonal average out. A block's signs are scaled by the
root mean square of its values, lest the large blocks drown the small in that average. A trace below 0 counts as 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Forward, Report, forward
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quality.proxy_run import ProxyRun
from hwsearch.quant.calibrate import Calibration
from searchspaces.tasks.task import Sample, Task

INFO = ProxyInfo(
    "hessian",
    "mean trace of the Hessian of the picture error times the squared quantization error",
    "one Hessian-vector product per picture and probe (up to 8), for all widths at once",
    place=6,
)

MACS = 6e10
"""Multiply-accumulates spent; a product with the Hessian costs about six forward passes."""
PROBES = 8


def measure(
    calibration: Calibration, pairs: Sequence[Sample], seed: int, progress: Report | None = None, task: Task | None = None
) -> Damage:
    """Damage of every choice, averaged over pictures and up to eight probes of each."""
    work = ProxyRun(calibration, pairs, MACS / 6, seed, progress, task)
    errors, space = work.errors, work.space
    generator = torch.Generator().manual_seed(seed)
    probes = work.repetitions(PROBES)
    noise = np.zeros(space.allowed.shape)
    for pair in work.samples("Hessian traces"):
        run = forward(work.graph, pair.low, work.task)
        blocks = {f"weights:{layer}": run.layers[layer][0] for layer in space.layer_names}
        blocks |= {f"tensor:{name}": run.tensors[name] for members in errors.members.values() for name in members}
        curvature = mean_curvature(run, work.task.target(pair), blocks, probes, generator)
        for decision, name, is_weight, choice in errors.choices():
            if is_weight:
                found = [(f"weights:{name}", errors.weight(name, choice)[0])]
            else:
                found = [(f"tensor:{m}", errors.tensor(m, choice, run.tensors[m].detach())) for m in errors.members[name]]
            noise[decision, choice] += sum(curvature[b] / 2 * float(e.double().square().sum()) for b, e in found) / len(work.used)
    passes = len(work.used)
    return work.damage(INFO.name, np.maximum(noise, 0.0), forward_passes=passes, backward_passes=passes * (1 + 2 * probes))


def mean_curvature(
    run: Forward, target: Tensor, blocks: dict[str, Tensor], probes: int, generator: torch.Generator
) -> dict[str, float]:
    """``trace(H) / n`` of every block: the mean second derivative of the picture error by its n values.

    Args:
        target: luma of the original, ``[H, W]``. blocks: values of ``run`` by name.
    """
    values = list(blocks.values())
    loss = (run.view - target).square().mean()
    first = torch.autograd.grad(loss, values, create_graph=True, allow_unused=True)
    scales = [float(value.detach().square().mean().sqrt()) or 1.0 for value in values]
    total = dict.fromkeys(blocks, 0.0)
    for _ in range(probes):
        signs = [torch.randint(0, 2, v.shape, generator=generator, dtype=torch.float32) * 2 - 1 for v in values]
        terms = [torch.sum(g * v * s) for g, v, s in zip(first, signs, scales, strict=True) if g is not None]
        along = torch.stack(terms).sum()
        second = torch.autograd.grad(along, values, retain_graph=True, allow_unused=True)
        for name, hv, v, s in zip(blocks, second, signs, scales, strict=True):
            if hv is not None:
                total[name] += float(torch.sum(hv * v, dtype=torch.float64)) / s / v.numel() / probes
    return total
