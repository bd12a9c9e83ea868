"""Quality proxies: what each choice of a width costs in output noise power, before any plan is measured.

One file is one proxy, with ``measure(calibration, pairs, seed, progress=None, task=None) -> Damage``; without a
task the samples are pairs of pictures, enlarged. All of them start from the same errors
(see ``errors``) and differ in how they carry them to the output. Modules are imported when they are used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hwsearch.quality.damage import Damage
    from hwsearch.quant.calibrate import Calibration
    from searchspaces.tasks.task import Sample, Task


@dataclass(frozen=True)
class ProxyInfo:
    """A proxy as it is listed. ``cost`` says how many passes through the network it takes; ``searched``: whether every search
    measures it and starts from the best of them (``hwsearch proxies compare`` measures all)."""

    name: str
    summary: str
    cost: str
    searched: bool = False

    def measure(
        self,
        calibration: Calibration,
        samples: Sequence[Sample],
        seed: int,
        progress: Callable[[str, float], None] | None = None,
        task: Task | None = None,
    ) -> Damage:
        """The damage of every choice of a calibrated network on some samples of a task."""
        module = importlib.import_module(f"hwsearch.quality.proxies.{self.name}")
        found: Damage = module.measure(calibration, samples, seed, progress, task)
        return found


PROXIES: dict[str, ProxyInfo] = {
    info.name: info
    for info in (
        ProxyInfo(
            "fisher",
            "squared gradient times error: expected output noise power, correlations included",
            "one backward pass per picture and projection (up to 8), for all widths at once",
            searched=True,
        ),
        ProxyInfo(
            "noise_gain",
            "power of the quantization error times the gain of white noise to the output",
            "one backward pass per picture, for all widths at once",
            searched=True,
        ),
        ProxyInfo(
            "gradient",
            "gradient of the picture error times the quantization error, first order",
            "one backward pass per picture, for all widths at once",
            searched=True,
        ),
        ProxyInfo(
            "output_sqnr",
            "noise measured at the output with one choice alone quantized (output SQNR)",
            "one forward pass per picture, layer or tensor, and width",
            searched=True,
        ),
        ProxyInfo(
            "psnr_drop",
            "PSNR drop against the originals, measured with one choice alone quantized",
            "one forward pass per picture, layer or tensor, and width",
        ),
        ProxyInfo(
            "hessian",
            "mean trace of the Hessian of the picture error times the squared quantization error",
            "one Hessian-vector product per picture and probe (up to 8), for all widths at once",
        ),
        ProxyInfo(
            "sqnr",
            "signal to quantization noise of the weights and tensors alone, blind to what follows",
            "one forward pass per picture, for all widths at once",
        ),
        ProxyInfo(
            "activation_mse",
            "squared error of the activation that a choice disturbs first, blind to what follows",
            "one forward pass per picture, and one for each width of the weights",
        ),
    )
}
