"""A proxy at work: the pictures that its effort allows, the errors of every choice, and the damage table that comes of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Errors, Report, float_error, judged_by
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.observe.work import macs_per_pixel
from searchspaces.tasks.task import Sample, Task


class ProxyRun:
    """One measurement by a proxy, from its start to its table.

    Args:
        macs: multiply-accumulates that one forward pass of all samples may take; larger pictures are cut down to windows.

    Attributes:
        task: the task given, or that of the pictures. graph, space: the network and what may be chosen in it.
        errors: the error of each choice.
        pixels: how many pixels of the input the effort runs. used: the samples, or windows of them, with no more pixels.
    """

    def __init__(
        self,
        calibration: Calibration,
        pairs: Sequence[Sample],
        macs: float,
        seed: int,
        progress: Report | None,
        task: Task | None,
    ) -> None:
        self._started, self._seed, self._progress = time.monotonic(), seed, progress
        self.task = judged_by(task, pairs)
        self.graph, self.space = calibration.graph, calibration.space
        self.errors = Errors(calibration, self.task)
        self.pixels = macs / macs_per_pixel(self.graph, pairs[0].low.shape[1])
        self.used = self.task.windows(pairs, self.pixels)

    def samples(self, doing: str) -> Iterator[Sample]:
        """``used``, one after the other; progress is told, as ``doing``, when the next one is asked for."""
        for number, sample in enumerate(self.used, start=1):
            yield sample
            if self._progress:
                self._progress(doing, number / len(self.used))

    def repetitions(self, most: int) -> int:
        """How often every sample can be run with the effort that is left, 1..``most``."""
        pixels = sum(sample.low.shape[2] * sample.low.shape[3] for sample in self.used)
        return int(np.clip(self.pixels / pixels, 1, most))

    def damage(self, proxy: str, noise: np.ndarray, forward_passes: int, backward_passes: int = 0) -> Damage:
        """The table ``noise`` of ``proxy``, with the error of the floating-point network on the samples used."""
        return Damage(
            proxy,
            noise,
            float_error(self.graph, self.used, self.task),
            self._seed,
            tuple(sample.name for sample in self.used),
            time.monotonic() - self._started,
            forward_passes,
            backward_passes,
        )
