"""Hailo's own throughput of public networks (``npu/npu_hailo.json``): the time between two pictures of a stream, batch 1.

Four constants a device: the share of the peak that convolutions reach, the on-chip port, the link that weights come through when
they do not fit, and the fixed time of a picture. A row is predicted by a fit without its family. Where batch 8 is much faster,
weights are swapped for every picture: that is what the capacity in the device files was read from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels import cost
from hwmodels.device.catalogue import load
from hwmodels.device.device import Device
from hwmodels.device.facts import with_numbers
from hwmodels.device.values import Quantity
from hwmodels.numbers import Precision
from hwmodels.pricing.table import CostTable
from hwmodels.workload import Workload
from oracle import Row, npu_networks
from oracle.embedded import RULES

SOURCE = "Hailo Model Zoo, public models (pictures a second, batch 1)"
DEVICES = {name: f"hailo-{name.removeprefix('hailo')}" for name in ("hailo8", "hailo8l", "hailo10h", "hailo15h", "hailo15l")}
FREE = ("npu.efficiency", "memory.onchip.bytes_per_s", "memory.dram.bytes_per_s", "overhead.inference_s")


START = (0.6, 40e9, 3e9, 100e-6)
"""Where each fit begins, and what it stays near (a factor of about 2 either way at 15 % noise)."""
SPREAD, NOISE = 3.0, 0.15


@dataclass(frozen=True, eq=False)
class Timing:
    """A row, and seconds of each layer at a share of 1, an on-chip port, and a link, of 1 B/s: arithmetic, inside, outside,
    weights; ``float64[L]`` each. A picture takes the fixed time and the sum over layers of all, inside and outside side by side.
    """

    network: str
    family: str
    parts: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    latency_s: float


def timings(shared: Path, device: str) -> list[Timing]:
    """The rows of a device, by the name of its file."""
    target, rows = load(device), [row for row in _read(shared) if DEVICES[row["device"]] == device]
    found = []
    for row in rows:
        workload = npu_networks.workload(shared, row["network"], RULES)
        alone = [_table(target, workload, link) for link in (False, True)]
        parts = (alone[0].compute_s, alone[0].activation_s, alone[1].activation_s, alone[1].weight_s)
        flat = tuple(part.reshape(-1) for part in parts)
        family = npu_networks.family(shared, row["network"])
        found.append(Timing(row["network"], family, (flat[0], flat[1], flat[2], flat[3]), 1 / row["fps_batch1"]))
    return found


def _table(target: Device, workload: Workload, link: bool) -> CostTable:
    """A table with the link alone, or the port on chip alone, at 1 B/s, and the whole peak."""
    port = "dram" if link else "onchip"
    other = {"onchip": target.memory["onchip"].model_copy(update={"bytes_per_s": None})} if link else {"dram": None}
    alone = target.model_copy(update={"memory": target.memory.model_copy(update=other)})
    changed = with_numbers(alone, {"npu.efficiency": Quantity(value=1.0), f"memory.{port}.bytes_per_s": Quantity(value=1.0)})
    return cost.uniform_table(changed, workload, Precision.parse("W8A8"))


def predict(constants: np.ndarray, timing: Timing) -> float:
    """Seconds of a row with ``FREE`` at ``constants float64[4]``."""
    share, onchip, link, fixed_s = constants
    arithmetic, inside, outside, weights = timing.parts
    return float(fixed_s + (arithmetic / share + np.maximum(inside / onchip, outside / link) + weights / link).sum())


def fitted(seen: Sequence[Timing]) -> np.ndarray:
    """``FREE`` as the rows ``seen`` say: ``float64[4]``."""
    from scipy.optimize import least_squares

    start = np.log(START)

    def residuals(point: np.ndarray) -> np.ndarray:
        errors = [np.log(predict(np.exp(point), timing) / timing.latency_s) / NOISE for timing in seen]
        return np.concatenate([errors, (point - start) / SPREAD])

    bounds = (start - np.log(100), np.array([0.0, *(start[1:] + np.log(100))]))
    return np.asarray(np.exp(least_squares(residuals, start, bounds=bounds, loss="soft_l1").x))


def left_out(seen: Sequence[Timing]) -> np.ndarray:
    """Seconds of each row by a fit that has not seen its family: ``float64[N]``."""
    predicted = np.zeros(len(seen))
    for family in dict.fromkeys(timing.family for timing in seen):
        constants = fitted([timing for timing in seen if timing.family != family])
        for i, timing in enumerate(seen):
            if timing.family == family:
                predicted[i] = predict(constants, timing)
    return predicted


def rows(shared: Path) -> list[Row]:
    """Each row beside what a fit without its family predicts."""
    return [
        Row(name, "npu", timing.family, timing.network, SOURCE, "latency_s", float(seconds), timing.latency_s)
        for name in DEVICES.values()
        for seen in [timings(shared, name)]
        for timing, seconds in zip(seen, left_out(seen), strict=True)
    ]


@cache
def _read(shared: Path) -> list[dict[str, Any]]:
    found = json.loads((shared / "oracle" / "npu" / "npu_hailo.json").read_text(encoding="utf-8"))
    return list(found["rows"])
