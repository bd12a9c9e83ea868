"""Centred SQNR: one choice is changed in a plan of middle widths, and the noise at the output is measured.

Where every width is drawn freely, several layers are coarse at once, and what one more of them adds is not what it costs alone:
its errors pass layers that distort already. The effect of a choice is therefore taken in the middle of the space instead of at
its floating-point end: one factor at a time around the centre point of a design of experiments (Box and Wilson, 1951, measure at
a centre for the same reason). What the centre loses beyond the sum of the effects is shared among the decisions alike, so that
the widest plan is charged with it too: near it, where fronts lie, predicted losses are too large and ``output_sqnr`` is closer.
Needs no original pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hwsearch.quality.damage import Damage
from hwsearch.quality.errors import Report, noise_power
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quality.proxy_run import ProxyRun
from hwsearch.quant.calibrate import Calibration
from searchspaces.ir.graph import execute
from searchspaces.space import PlanRow, SearchSpace
from searchspaces.tasks.task import Sample, Task

INFO = ProxyInfo(
    "centred_sqnr",
    "noise measured at the output with one choice changed in a plan of middle widths, for plans far from the widest",
    "one quantized forward pass per picture, layer or tensor, and width",
    place=10,
)
PICTURES = 4
"""Every choice runs the whole quantized network, so few pictures have to do; one is too few (MobileSR: 0.88 instead of 0.94)."""
MACS = 1.5e12
"""Multiply-accumulates spent on all choices together, a few minutes of one core; larger pictures are cut down to fit."""


def measure(
    calibration: Calibration, pairs: Sequence[Sample], seed: int, progress: Report | None = None, task: Task | None = None
) -> Damage:
    """Damage of every choice: mean squared error of the output against the float output, in excess of the best choice of the
    same decision. ``seed`` is not used."""
    space = calibration.space
    middle = centre(space)
    rows = _rows(space, middle)
    runs = len({row for _, _, row in rows})
    work = ProxyRun(calibration, pairs[:PICTURES], MACS / runs, seed, progress, task)
    noise = np.zeros(space.allowed.shape)
    with torch.no_grad():
        for pair in work.samples(INFO.name):
            reference = execute(work.graph, pair.low)
            judged: dict[PlanRow, float] = {}
            for decision, choice, row in rows:
                if row not in judged:
                    judged[row] = noise_power(work.task, calibration.simulate(row, pair.low), reference)
                noise[decision, choice] += judged[row] / len(work.used)
    return work.damage(INFO.name, _effects(noise, space, middle), forward_passes=len(work.used) * (1 + runs))


def centre(space: SearchSpace) -> PlanRow:
    """The plan of middle widths: of an even number of choices the narrower one of the two in the middle."""
    own = [space.choices(decision) for decision in range(space.decisions)]
    return space.row([int(choices[(len(choices) - 1) // 2]) for choices in own])


def _rows(space: SearchSpace, middle: PlanRow) -> list[tuple[int, int, PlanRow]]:
    """(decision, choice, the middle plan with it), for every choice."""
    rows = []
    for decision in range(space.decisions):
        for choice in map(int, space.choices(decision)):
            changed = [*middle]
            changed[decision] = choice
            rows.append((decision, choice, space.row(changed)))
    return rows


def _effects(noise: np.ndarray, space: SearchSpace, middle: PlanRow) -> np.ndarray:
    """Noise of each choice beyond that of the best one of its decision, and an equal share of what the effects of the centre do
    not explain of its noise; ``noise float64[decisions, choices]`` is that of the plans."""
    at_centre = noise[np.arange(space.decisions), list(middle)]
    least = np.where(space.allowed, noise, np.inf).min(axis=1)
    rest = max(at_centre.mean() - float(np.sum(at_centre - least)), 0.0) / space.decisions
    found: np.ndarray = np.where(space.allowed, noise - least[:, None] + rest, 0.0)
    return found
