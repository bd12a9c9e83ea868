"""SQNR: the signal-to-quantization-noise ratio of the weights and tensors alone, ``sum x^2 / sum e^2``.

Taken as noise at the output by the rule of Lin, Talathi and Annapureddy (ICML 2016): noise-to-signal ratios add up over the
layers of a network and reach its output unchanged, so that a choice adds its ratio times the power of the output. The rule holds
for plain chains without skip connections; which errors the network amplifies or forgets is not seen. Bias errors are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hwsearch.documents.results import SignalToNoise
from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Errors, Report, judged_by, tensors
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quality.proxy_run import ProxyRun
from hwsearch.quant.calibrate import Calibration
from searchspaces.tasks.task import Sample, Task

INFO = ProxyInfo(
    "sqnr",
    "signal to quantization noise of the weights and tensors alone, blind to what follows",
    "one forward pass per picture, for all widths at once",
    place=7,
)

MACS = 2e10


def measure(
    calibration: Calibration, pairs: Sequence[Sample], seed: int, progress: Report | None = None, task: Task | None = None
) -> Damage:
    """Damage of every choice: noise-to-signal ratio times the power of the output luma. ``seed`` is not used."""
    work = ProxyRun(calibration, pairs, MACS, seed, progress, task)
    ratio, power = _noise_to_signal(calibration, work.used, progress, work.task)
    return work.damage(INFO.name, ratio * power, forward_passes=len(work.used))


def table(
    calibration: Calibration, pairs: Sequence[Sample], task: Task | None = None, progress: Report | None = None
) -> list[SignalToNoise]:
    """Signal to quantization noise of every decision at every width on offer, over all ``pairs``."""
    space = calibration.space
    ratio, _ = _noise_to_signal(calibration, pairs, progress, judged_by(task, pairs))
    rows = []
    for decision, name in enumerate(space.names):
        found = {space.widths(decision)[c]: float(ratio[decision, c]) for c in space.choices(decision)}
        db = {bits: float(-10 * np.log10(value)) if value > 0 else None for bits, value in found.items()}
        rows.append(SignalToNoise(name=name, is_weight=decision < len(space.layer_names), db=db))
    return rows


def _noise_to_signal(
    calibration: Calibration, pairs: Sequence[Sample], progress: Report | None, task: Task
) -> tuple[np.ndarray, float]:
    """Error power over signal power of every choice, ``float64[D, C]``, and the mean square of the output as quality sees it."""
    errors, graph = Errors(calibration, task), calibration.graph
    signal, noise = (np.zeros(calibration.space.allowed.shape) for _ in range(2))
    power = 0.0
    with torch.no_grad():
        for number, pair in enumerate(pairs):
            values = tensors(graph, pair.low)
            power += float(task.view(values[graph.output.name]).double().square().mean()) / len(pairs)
            energy: dict[int, float] = {}
            for decision, name, is_weight, choice in errors.choices():
                members = [graph[name].weights["weight"]] if is_weight else [values[m] for m in errors.members[name]]
                if decision not in energy:  # the same at every width
                    energy[decision] = sum(float(x.double().square().sum()) for x in members)
                if is_weight:
                    wrong = [errors.weight(name, choice)[0]]
                else:
                    wrong = [errors.tensor(m, choice, values[m]) for m in errors.members[name]]
                signal[decision, choice] += energy[decision]
                noise[decision, choice] += sum(float(e.double().square().sum()) for e in wrong)
            if progress:
                progress("signal to noise", (number + 1) / len(pairs))
    return np.divide(noise, signal, out=np.zeros_like(noise), where=signal > 0), power
