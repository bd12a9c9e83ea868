"""Networks of which LiteRT runs a part on the CPU, where Hexagon has no half precision (rows of ``npu/npu_aihub.json``).

Files in 8 bits keep layer normalizations in single precision, as ten operators each, and batch norms that could not be folded as
two. The counts of the profiles say so: of 25, 30 normalizations 250, 300 operators ran elsewhere, of 20, 9 batch norms 40, 18;
boards with half precision run the same files on the accelerator alone. (Ten operators, those of the largest part that needs
nothing else in between, ran on the GPU; they are priced like the others.)

One constant is fitted, the bytes that the CPU reads and writes in a second, to the transformers of a board. Everything else is in
its file already: the way to the host, the start of the accelerator, the accelerator's own time. SINet's accelerator part is
priced at less than half of what other boards take, so nothing is fitted to it; PIDNet's at a seventh, it is not compared.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from hwmodels import cost
from hwmodels.device.catalogue import load
from hwmodels.device.device import Device
from hwmodels.device.facts import number, with_numbers
from hwmodels.device.values import Quantity
from hwmodels.numbers import Precision
from oracle import Row, aihub, hexagon_fit
from oracle.aihub import Timing

RATE, TOUCHES = "npu.fallback.bytes_per_s", "npu.fallback.operators.normalize.touches"
FITTED_TO = ("vit", "segformer_base")
SCALE_AND_SHIFT = 4.0
"""Reads and writes of a batch norm: a product and a sum."""
W8A8 = Precision.parse("W8A8")


@cache
def _problem(shared: Path) -> hexagon_fit.Problem:
    return hexagon_fit.Problem(aihub.timings(shared), aihub.targets())


def bytes_per_s(device: Device, rows: list[Timing]) -> float:
    """What the CPU of a board reads and writes in a second, so that it fits ``rows`` (geometric mean)."""
    found = []
    for row in rows:
        at_once = with_numbers(device, {RATE: Quantity(value=1e18)})
        moved = cost.uniform_table(_of(device, row), row.workload, W8A8).compute_s
        elsewhere = np.array([bool(each[0][0]) for each in cost.uniform_table(device, row.workload, W8A8).runs_on])
        moved_bytes = float(moved[elsewhere].sum()) * number(device, RATE)
        found.append(moved_bytes / max(row.latency_s - cost.uniform(at_once, row.workload, W8A8).latency_s, 1e-9))
    return float(np.exp(np.mean(np.log(found))))


def fitted(shared: Path, board: str, without: str = "") -> Device:
    """The device file of a board under LiteRT with constants that have not seen a family on any board."""
    problem = _problem(shared)
    seen = np.array([t.family != without for t in problem.timings])
    numbers = {key: Quantity(value=value) for key, value in problem.values(problem.fit(seen), board).items()}
    device = with_numbers(load(aihub.UNDER_LITERT[board]), numbers)
    rows = [t for t in aihub.handed_over(shared) if t.board == board and t.network in FITTED_TO and t.family != without]
    return with_numbers(device, {RATE: Quantity(value=bytes_per_s(device, rows))})


def compared(shared: Path) -> list[Row]:
    """Every row beside the price of a fit that has not seen its family."""
    return [
        Row(
            aihub.UNDER_LITERT[row.board],
            "npu",
            row.family,
            f"{row.label}, in part on the CPU",
            aihub.SOURCE,
            "latency_s",
            cost.uniform(_of(fitted(shared, row.board, row.family), row), row.workload, row.precision).latency_s,
            row.latency_s,
        )
        for row in aihub.handed_over(shared)
    ]


def _of(device: Device, row: Timing) -> Device:
    """The device for a network without layer normalizations: what runs elsewhere are batch norms."""
    return device if row.network in FITTED_TO else with_numbers(device, {TOUCHES: Quantity(value=SCALE_AND_SHIFT)})
