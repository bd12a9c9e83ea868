"""PSNR drop, one at a time: one choice alone is quantized, and the output is compared with the original picture.

What is kept is the rise of the mean squared error of the luma, which is the drop of the PSNR before the logarithm. Unlike the
noise against the floating-point output it counts errors that partly cancel what the network itself does wrong; a choice that
helps on these pictures counts as 0. Needs original pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwsearch.quality.damage import Damage
from hwsearch.quality.proxies import alone
from hwsearch.quality.proxies.errors import Progress, target_luma
from hwsearch.quant.calibrate import Calibration
from searchspaces.data.pictures import Pair
from searchspaces.tasks.luma import output_luma


def measure(calibration: Calibration, pairs: Sequence[Pair], seed: int, progress: Progress | None = None) -> Damage:
    """Damage of every choice: how much it raises the output's error against the original. ``seed`` is not used."""
    return alone.measure("psnr_drop", _rise, calibration, pairs, seed, progress)


def _rise(output: Tensor, reference: Tensor, pair: Pair) -> float:
    wanted = target_luma(pair).double()
    after, before = (output_luma(y.clamp(0, 1)).double() - wanted for y in (output, reference))
    return float(torch.mean(after.square() - before.square()))
