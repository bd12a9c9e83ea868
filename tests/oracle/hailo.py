"""Hailo's own throughput of public networks (``npu/npu_hailo.json``): the time between two pictures of a stream, batch 1.

The five devices share a design, so they share what the array reaches and what writing a byte costs; Hailo-8 and 8L on one side,
10H, 15H and 15L on the other, share the speed of a connection, the link that weights come through, and the time to change parts
of a network that does not fit. Where batch 8 is much faster, a network runs in parts: such rows say twice what loading costs, and
tell a device's capacity. A row is predicted by constants that were fitted, and capacities that were read off, without its family.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels import cost
from hwmodels.classes import dataflow
from hwmodels.device.catalogue import load
from hwmodels.device.device import Device
from hwmodels.device.facts import number, with_numbers
from hwmodels.device.sections.npu import Npu
from hwmodels.device.values import Quantity
from hwmodels.numbers import Precision
from hwmodels.pricing import columns as layout
from hwmodels.workload import Workload
from oracle import Row, npu_networks
from oracle.embedded import RULES

SOURCE = "Hailo Model Zoo, public models (pictures a second, batch 1)"
DEVICES = {name: f"hailo-{name.removeprefix('hailo')}" for name in ("hailo8", "hailo8l", "hailo10h", "hailo15h", "hailo15l")}
FIRST = ("hailo-8", "hailo-8l")
"""The first generation, behind PCI Express; the others have a memory of their own."""

SHARED = ("npu.efficiency", "npu.dataflow.macs_per_byte")
OF_GENERATION = ("npu.dataflow.connection_bytes_per_s", "npu.dataflow.context_s", "memory.dram.bytes_per_s")
FREE = (*SHARED, *OF_GENERATION)
START = (0.6, 250.0, *(3e9, 1e-3, 6e9), *(3.5e9, 0.5e-3, 12e9))
"""Where each fit begins, and what it stays near (a factor of about 2 either way at 20 % noise): ``SHARED``, then
``OF_GENERATION`` of the first and of the second."""
SPREAD, NOISE = 4.0, 0.2

CAPACITY_PER_RATE = 2.7e-6
"""Bytes of capacity for a multiply-accumulate a second, where rows leave a range: the five devices' capacities lie near it."""
IN_PARTS = 1.08
"""How much faster batch 8 is at least where a network runs in parts."""
W8A8 = Precision.parse("W8A8")


@dataclass(frozen=True, eq=False)
class Timing:
    """A row.

    Attributes:
        work_s: arithmetic at the whole rate of the array; ``write_s``: seconds for one multiply-accumulate a byte written.
        widest_bytes, weight_bytes, asked_bytes: of the widest tensor, of all weights, and of the capacity.
        latency_s, batch_s: seconds a picture, one by one and eight at a time.
    """

    device: str
    network: str
    family: str
    workload: Workload
    work_s: float
    write_s: float
    widest_bytes: float
    weight_bytes: float
    asked_bytes: float
    latency_s: float
    batch_s: float

    @property
    def in_parts(self) -> bool:
        return self.latency_s > IN_PARTS * self.batch_s


@dataclass(frozen=True)
class Fitted:
    """``constants[device]`` in the order of ``FREE``, and the capacity of each device in bytes."""

    constants: Mapping[str, tuple[float, ...]]
    capacity: Mapping[str, float]

    def seconds(self, timing: Timing) -> tuple[float, float]:
        """Seconds a picture, one by one and eight at a time."""
        share, macs_per_byte, connection, context_s, link = self.constants[timing.device]
        busy = math.hypot(timing.work_s / share + timing.write_s * macs_per_byte, timing.widest_bytes / connection)
        parts = dataflow.contexts(timing.workload, timing.asked_bytes, self.capacity[timing.device])
        loading = parts * context_s + timing.weight_bytes / link if parts > 1 else 0.0
        return busy + loading, busy + loading / 8


@cache
def timings(shared: Path) -> tuple[Timing, ...]:
    """The rows of all devices."""
    return tuple(_timing(shared, row) for row in _read(shared))


def _timing(shared: Path, row: Mapping[str, Any]) -> Timing:
    target = load(DEVICES[row["device"]])
    workload = npu_networks.workload(shared, row["network"], RULES)
    columns, flow = layout.columns(workload), target.own(Npu).dataflow
    assert flow is not None
    table = cost.uniform_table(_alone(target, macs_per_byte=1.0), workload, W8A8)
    sent = cost.uniform_table(_alone(target, connection=1.0), workload, W8A8)
    weight_bytes = float(sum(layer.weight_count for layer in workload.layers))
    return Timing(
        target.name,
        row["network"],
        npu_networks.family(shared, row["network"]),
        workload,
        float(table.compute_s.sum()),
        float(table.activation_s.sum()),
        float(sent.activation_s.sum()),
        weight_bytes,
        dataflow.asked_bytes(columns, weight_bytes, flow),
        1 / row["fps_batch1"],
        1 / row["fps_batch8"],
    )


def _alone(target: Device, macs_per_byte: float = 0.0, connection: float = 1e18) -> Device:
    values = (1.0, macs_per_byte, connection)
    return with_numbers(target, {key: Quantity(value=value) for key, value in zip(FREE, values, strict=False)})


def fitted(seen: Sequence[Timing]) -> Fitted:
    """The constants and capacities that the rows ``seen`` say."""
    from scipy.optimize import least_squares

    start = np.log(START)
    capacity = {name: _capacity(name, [timing for timing in seen if timing.device == name]) for name in DEVICES.values()}

    def residuals(point: np.ndarray) -> np.ndarray:
        found, errors = _assembled(np.exp(point), capacity), []
        for timing in seen:
            one, eight = found.seconds(timing)
            errors.append(np.log(one / timing.latency_s) / NOISE)
            if timing.in_parts:
                errors.append(np.log(eight / timing.batch_s) / NOISE)
        return np.concatenate([errors, (point - start) / SPREAD])

    bounds = (start - np.log(100), np.array([0.0, *(start[1:] + np.log(100))]))
    return _assembled(np.exp(least_squares(residuals, start, bounds=bounds, loss="soft_l1").x), capacity)


def _assembled(point: np.ndarray, capacity: Mapping[str, float]) -> Fitted:
    shared, first, second = (tuple(part.tolist()) for part in np.split(point, [len(SHARED), len(SHARED) + len(OF_GENERATION)]))
    return Fitted({name: (*shared, *(first if name in FIRST else second)) for name in DEVICES.values()}, capacity)


def _capacity(name: str, seen: Sequence[Timing]) -> float:
    """Where the fewest of a device's rows are on the wrong side of it, and of such places the one nearest to the rate's."""
    usual = CAPACITY_PER_RATE * number(load(name), "rates.W8A8")
    rows = sorted((t.asked_bytes, t.in_parts) for t in seen if dataflow.contexts(t.workload, 0.0, 1.0) == 1)
    ends = [0.0, *(asked for asked, _ in rows), math.inf]
    places = [min(max(usual, low * 1.01), high * 0.99) for low, high in pairwise(ends)]

    def merit(place: float) -> tuple[int, float]:
        return sum((asked > place) != in_parts for asked, in_parts in rows), abs(math.log(place / usual))

    return min((place for place in places if place > 0), key=merit)


@cache
def left_out(shared: Path) -> tuple[float, ...]:
    """Seconds of each row by a fit that has not seen its family."""
    every = timings(shared)
    fits = {name: fitted([t for t in every if t.family != name]) for name in dict.fromkeys(t.family for t in every)}
    return tuple(fits[timing.family].seconds(timing)[0] for timing in every)


def rows(shared: Path) -> list[Row]:
    """Each row beside what a fit without its family predicts."""
    return [
        Row(timing.device, "npu", timing.family, timing.network, SOURCE, "latency_s", seconds, timing.latency_s)
        for timing, seconds in zip(timings(shared), left_out(shared), strict=True)
    ]


@cache
def _read(shared: Path) -> list[dict[str, Any]]:
    found = json.loads((shared / "oracle" / "npu" / "npu_hailo.json").read_text(encoding="utf-8"))
    return list(found["rows"])
