"""Agreement with Vela on whole files: random networks as they are exported for Ethos-U, compiled once (``whole_files.json``, by
``tests/bench/whole_files.py --write``), beside our prices of today.

The networks are drawn again from their kind and seed. Seeds of the stored figures are of draws that no mend of the model had
looked at when they were made. Latency is that of the array, on-chip memory that of the whole file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from file_networks import draw

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.device import Device
from hwmodels.workload import Workload
from hwsearch.boards import vela
from hwsearch.formats.writing import exporters
from oracle import Row
from oracle.vela import Uniform
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload

FIGURES = Path(__file__).with_name("whole_files.json")
COMPILER = "ethos-u-vela 5.2.0"
SOURCE = f"{COMPILER} on files of random networks (a compiler's estimate)"


class Compiled(NamedTuple):
    """What the compiler says of one file: a network of a ``kind`` and ``seed``, with ``bits`` a feature map, on a device."""

    kind: str
    seed: int
    bits: int
    target: str
    seconds: float
    onchip_bytes: float


def figures() -> list[Compiled]:
    """The stored figures."""
    return [Compiled(*row) for row in json.loads(FIGURES.read_text(encoding="utf-8"))["rows"]]


def network(kind: str, seed: int) -> tuple[Graph, tuple[int, int]]:
    """A drawn network, and height and width of its picture."""
    height, width = (4 * int(side) for side in np.random.default_rng(seed).integers(8, 40, 2))
    return draw(kind, seed), (height, width)


def ours(device: Device, workload: Workload, bits: int) -> tuple[float, float]:
    """Seconds of the array and bytes on chip for a network as it is shipped, without the device's fixed costs."""
    found = exporters.shipped(workload, device)
    table = cost.lower(device, found, Uniform(found, bits))
    seconds = (table.latency_s - table.overhead_s)[:, 0, 0, 0]
    on_array = [not vela.runs_beside(found, device, row, bits) for row in range(len(found.layers))]
    used = cost.onchip_bytes(device, found, bits)
    assert used is not None
    return float(seconds[on_array].sum()), used


def priced(compiled: Compiled) -> tuple[float, float]:
    """Our seconds and bytes on chip for the file of a figure."""
    return ours(catalogue.load(compiled.target), _workload(compiled.kind, compiled.seed), compiled.bits)


@cache
def _workload(kind: str, seed: int) -> Workload:
    graph, size = network(kind, seed)
    return to_workload(graph, *size)


def rows(shared: Path) -> list[Row]:  # every reader is asked so
    """Latency and on-chip memory of every stored figure."""
    return [row for compiled in figures() for row in _rows(compiled)]


def _rows(compiled: Compiled) -> Iterator[Row]:
    label, theirs = f"{compiled.kind} {compiled.seed}, W8A{compiled.bits}", (compiled.seconds, compiled.onchip_bytes)
    for quantity, ours_, figure in zip(("latency_s", "onchip_bytes"), priced(compiled), theirs, strict=True):
        plan_of = f"{compiled.kind} {compiled.seed}" if quantity == "latency_s" else ""
        yield Row(compiled.target, "npu", "", label, SOURCE, quantity, ours_, figure, plan_of=plan_of)
