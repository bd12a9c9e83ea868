"""Output SQNR: one choice alone is quantized, everything else stays in floating point, and the noise at the output is measured.

Pandey et al. (2023, arXiv 2302.05397) rank quantizers by the signal-to-quantization-noise ratio at the network's output; the
signal there is the same for all choices, so the noise power that is kept here orders them alike. Exact for that choice, and as
blind as the other proxies to what choices do to each other. Needs no original pictures. One forward pass per choice and picture,
from the quantized layer on.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hwsearch.quality import alone
from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Report, noise_power
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quant.calibrate import Calibration
from searchspaces.tasks.task import Sample, Task

INFO = ProxyInfo(
    "output_sqnr",
    "noise measured at the output with one choice alone quantized (output SQNR)",
    "one forward pass per picture, layer or tensor, and width",
    searched=True,
    place=4,
)


def measure(
    calibration: Calibration, pairs: Sequence[Sample], seed: int, progress: Report | None = None, task: Task | None = None
) -> Damage:
    """Damage of every choice: mean squared error of the output, as quality sees it, against the float output."""
    return alone.measure("output_sqnr", _noise, calibration, pairs, seed, progress, task)


def _noise(task: Task, output: Tensor, reference: Tensor, pair: Sample) -> float:
    return noise_power(task, output, reference)
