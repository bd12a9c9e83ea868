"""What a model file costs on a device: its widths as a plan, priced by the models that price plans."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.errors import UncountedError
from hwsearch.documents.results import LayerRow
from hwsearch.formats.readers import Inspected
from searchspaces.space import SearchSpace, build_space
from searchspaces.tracing.trace import to_workload


@dataclass(frozen=True)
class FilePrice:
    """Predicted price of a model file on a device; ``energy_j`` is ``None`` where the device has no energy figures.

    ``remarks``: widths of the file that the device does not offer, and what was priced instead.
    """

    target: str
    title: str
    input_size: tuple[int, int]
    latency_s: float
    weight_bytes: int
    peak_activation_bytes: int
    energy_j: float | None
    layers: tuple[LayerRow, ...]
    remarks: tuple[str, ...]


def price(inspected: Inspected, target: str, size: tuple[int, int] | None = None) -> FilePrice:
    """Price a file on ``target`` for an input of ``size`` (height, width), by default the file's own or else the device's.

    A width that the device does not offer is priced as the next wider one, or as its widest.

    Raises:
        UncountedError: the file has operations that cannot be priced; all are named.
        UsageError, FileError: no such device.
    """
    board = catalogue.load(target)
    if inspected.graph.uncounted:
        raise UncountedError(
            list(inspected.graph.uncounted),
            "Only files that consist of the operations in `hwsearch networks --operations` are priced.",
        )
    height, width = size or inspected.input_size or board.default_input
    workload = to_workload(inspected.graph, height, width)
    offered = board.widths
    space = build_space(
        workload,
        tuple(offered.weight_bits),
        tuple(offered.activation_bits),
        wide=board.wide,
        symmetric_activations=offered.symmetric_activations,
    )
    wanted = [layer.weight_bits for layer in inspected.layers] + [inspected.tensor_bits[name] for name in space.group_names]
    row = np.array([space.uniform(bits, bits)[d] for d, bits in enumerate(wanted)], dtype=np.int8)
    table = cost.lower(board, workload, space)
    objectives = cost.estimate(table, row[None])
    energy = float(objectives.energy_j[0])
    return FilePrice(
        target=board.name,
        title=board.title,
        input_size=(height, width),
        latency_s=float(objectives.latency_s[0]),
        weight_bytes=int(objectives.weight_bytes[0]),
        peak_activation_bytes=int(objectives.peak_activation_bytes[0]),
        energy_j=energy if math.isfinite(energy) else None,
        layers=tuple(LayerRow(**entry) for entry in cost.explain(table, row)),
        remarks=_remarks(space, row, wanted),
    )


def _remarks(space: SearchSpace, row: np.ndarray, wanted: list[int]) -> tuple[str, ...]:
    """One sentence for every width that was priced as another."""
    changed: dict[tuple[str, int, int], int] = {}
    for d, bits in enumerate(wanted):
        got = space.widths(d)[int(row[d])]
        if got != bits:
            kind = "layers" if d < len(space.layer_names) else "tensors"
            changed[kind, bits, got] = changed.get((kind, bits, got), 0) + 1
    return tuple(f"{count} {kind} of {bits} bits are priced at {got}" for (kind, bits, got), count in changed.items())
