"""What a model file costs on a device: its widths as a plan, priced by the models that price plans."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.device import Device
from hwmodels.errors import UncountedError
from hwmodels.numbers import FP32, Width
from hwmodels.tiling import tiles
from hwmodels.tiling.tiling import Tiling
from hwmodels.workload import Written
from hwsearch.documents import elsewhere, trust
from hwsearch.documents.results import LayerRow
from hwsearch.documents.trust import Trust
from hwsearch.formats.reading.readers import Inspected, InspectedLayer
from hwsearch.formats.writing import exporters
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.networks.input_channels import InputChannels
from searchspaces.space import PlanRow, SearchSpace, build_space, matrix

BYTE = 8
"""Bits of what is put in front of a file in integers."""


@dataclass(frozen=True)
class FilePrice:
    """Predicted price of a model file on a device; ``energy_j`` is ``None`` where the device has no energy figures.

    ``remarks``: widths of the file that the device does not offer, and what was priced instead; ``counted``: what papers count
    of it (``hwmodels.counting.COUNTED``); ``trust``: how far the latency may be off, ``interval_s`` its 90 % interval, None where
    that is not known.
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
    trust: Trust
    interval_s: tuple[float, float] | None
    counted: Mapping[str, float] = field(default_factory=dict)


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
    weight_bits = {layer.name: layer.weight_bits for layer in inspected.layers}
    size = size or inspected.input_size
    return of_widths(inspected.graph, weight_bits, inspected.tensor_bits, board, size, written=inspected.written)


def of_pictures(found: Inspected, made: InputChannels) -> Inspected:
    """A file behind what makes its input's channels from a picture, which is priced with it.

    Raises:
        UsageError: the file reads as many channels as no picture gives.
    """
    graph = made.before_graph(found.graph)
    full = not found.quantized
    inside = {layer.name for layer in found.layers}
    planes = tuple(
        InspectedLayer(
            n.name, "conv", n.weight_shapes["weight"], FP32.bits if full else BYTE, FP32.bits if full else BYTE, 0, "made"
        )
        for n in graph.convs
        if n.name not in inside
    )
    return replace(
        found,
        graph=graph,
        layers=(*planes, *found.layers),
        input_size=None if found.input_size is None else made.size(found.input_size),
        remarks=(*found.remarks, made.remark),
        written=None,
    )


def of_widths(
    graph: Graph,
    weight_bits: Mapping[str, int],
    tensor_bits: Mapping[str, int],
    board: Device,
    size: tuple[int, int] | None = None,
    tiling: Tiling | None = None,
    written: Written | None = None,
) -> FilePrice:
    """Price a network of given widths on a device, as ``price`` does.

    Args:
        weight_bits: by layer; ``tensor_bits``: by tensor, at least one of each width group.
        size: (height, width) of what the network reads, by default the device's; ``tiling``: how that is cut.
        written: what a file holds for each layer; by default what the device is handed.
    """
    height, width = size or board.default_input
    workload = to_workload(graph, height, width)
    workload = exporters.shipped(workload, board) if written is None else replace(workload, written=written)
    space = build_space(
        workload,
        board.weight_formats,
        board.tensor_formats,
        wide=board.offered.wide,
        symmetric_activations=board.widths.symmetric_activations,
        stored=board.keeps,
    )
    wanted = [weight_bits[name] for name in space.layer_names] + [tensor_bits[name] for name in space.group_names]
    row = space.nearest(wanted)
    table = tiles.lower(board, workload, space, tiling).table
    objectives = cost.estimate(table, matrix([row]))
    counts = space.counting.of_plans(matrix([row])) if space.counting else {}
    energy = float(objectives.energy_j[0])
    layers = tuple(LayerRow(**entry) for entry in cost.explain(table, row))
    known = trust.of(board)
    return FilePrice(
        target=board.name,
        title=board.title,
        input_size=(height, width),
        latency_s=float(objectives.latency_s[0]),
        weight_bytes=int(objectives.weight_bytes[0]),
        peak_activation_bytes=int(objectives.peak_activation_bytes[0]),
        energy_j=energy if math.isfinite(energy) else None,
        layers=layers,
        trust=known,
        interval_s=known.interval_s(float(objectives.latency_s[0]), elsewhere.seconds(layers, board)),
        remarks=_remarks(space, row, wanted) + elsewhere.sentences(layers, float(objectives.latency_s[0]), board),
        counted={name: float(values[0]) for name, values in counts.items()},
    )


def _remarks(space: SearchSpace, row: PlanRow, wanted: list[int]) -> tuple[str, ...]:
    """One sentence for every width that was priced as another."""
    changed: dict[tuple[str, int, Width], int] = {}
    for d, bits in enumerate(wanted):
        got = space.widths(d)[row[d]]
        if got != bits:
            kind = "layers" if d < len(space.layer_names) else "tensors"
            changed[kind, bits, got] = changed.get((kind, bits, got), 0) + 1
    return tuple(f"{count} {kind} of {bits} bits are priced at {got}" for (kind, bits, got), count in changed.items())
