"""PSNR drop, one at a time: one choice alone is quantized, and the output is compared with the original picture.

What is kept is the rise of the mean squared error of the luma, which is the drop of the PSNR before the logarithm. Unlike the
noise against the floating-point output it counts errors that partly cancel what the network itself does wrong; a choice that
helps on these pictures counts as 0. Needs original pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwsearch.quality import alone
from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Report
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quant.calibrate import Calibration
from searchspaces.tasks.task import Sample, Task

INFO = ProxyInfo(
    "psnr_drop",
    "PSNR drop against the originals, measured with one choice alone quantized",
    "one forward pass per picture, layer or tensor, and width",
    place=5,
)


def measure(
    calibration: Calibration, pairs: Sequence[Sample], seed: int, progress: Report | None = None, task: Task | None = None
) -> Damage:
    """Damage of every choice: how much it raises the output's error against the original. ``seed`` is not used."""
    return alone.measure("psnr_drop", _rise, calibration, pairs, seed, progress, task)


def _rise(task: Task, output: Tensor, reference: Tensor, pair: Sample) -> float:
    wanted = task.target(pair).double()
    after, before = (task.view(task.limited(y)).double() - wanted for y in (output, reference))
    return float(torch.mean(after.square() - before.square()))
