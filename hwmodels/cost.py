"""What a plan costs: a device, a workload and a space of widths lowered to a table, and plans priced from it.

``lower`` prices every (layer, weight width, input width, output width) as the device's class of hardware does (``classes``).
Honest widths: a choice runs as the smallest native precision that holds it, times an unpacking factor of at least one;
only what is stored and moved shrinks. A layer with several inputs is priced at the width of its largest one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hwmodels.classes import registry
from hwmodels.classes.registry import Question
from hwmodels.device.device import Device
from hwmodels.errors import UsageError
from hwmodels.numbers import INT8, Int, NumberFormat, Offered, Precision
from hwmodels.pricing import columns as layout
from hwmodels.pricing import energy, memory
from hwmodels.pricing.columns import Choices, Terms
from hwmodels.pricing.table import CostTable, Objectives, Space, estimate, estimate_chunks, stored_name
from hwmodels.workload import Layer, Workload

__all__ = [
    "CostTable",
    "Objectives",
    "Price",
    "Repriced",
    "Space",
    "estimate",
    "estimate_chunks",
    "explain",
    "lower",
    "onchip_bytes",
    "schedule",
    "uniform",
    "uniform_table",
]


class Price(NamedTuple):
    """One plan's price, as plain numbers; ``energy_j`` is NaN where it is not known."""

    latency_s: float
    weight_bytes: int
    peak_activation_bytes: int
    energy_j: float


@dataclass(frozen=True)
class _Uniform(Offered):
    """A space with one choice."""

    weight_formats: tuple[NumberFormat]
    tensor_formats: tuple[NumberFormat]
    layer_names: tuple[str, ...]
    group_names: tuple[str, ...]

    @classmethod
    def of(cls, workload: Workload, precision: Precision) -> _Uniform:
        names = tuple(workload.layers[i].name for i in workload.weighted)
        return cls((precision.weights,), (precision.activations,), names, workload.group_names)


def lower(device: Device, workload: Workload, space: Space) -> CostTable:
    """Price every choice of every layer of ``workload`` on ``device``.

    Raises:
        UncountedError: the workload has an operation that no model prices.
        UsageError: the space offers widths that the device cannot execute, or belongs to another workload.
    """
    weighted = workload.weighted
    if len(space.layer_names) != len(weighted) or tuple(space.group_names) != tuple(workload.group_names):
        raise UsageError(f"the search space does not belong to {workload.name}: its layers or tensors differ")
    cols = layout.columns(workload)
    runs = [[device.runs_as(w, a) for a in space.tensor_formats] for w in space.weight_formats]
    hardware, unpack = registry.of(device), _unpack(device, space, runs)
    packed = hardware.packed_bytes(device, workload, space, runs)
    choices = _choices(device, workload, space, runs, packed)
    terms = Terms.empty(len(workload.layers), len(runs), len(space.activation_bits))
    question = Question(device, workload, tuple(space.weight_bits), cols, choices, memory.ports(device), runs, unpack)
    choices = hardware.price(question, terms)
    energy_j = energy.of_choices(device, cols, choices, runs, terms.latency_s)
    for row, layer in enumerate(workload.layers):
        if layer.of_tensors:
            for array in (*terms, energy_j):
                _as_tensors(array[row], space)
    live, step_layer = hardware.live_elements(device, workload)
    largest = [max(layer.inputs, key=lambda i: workload.tensors[i].elements) for layer in workload.layers]
    planned = memory.arena(device, workload, choices.tensor_bytes, tuple(space.weight_bits))
    limits = {
        name: int(limit.value)
        for name in ("weight_bytes", "peak_activation_bytes")
        if (limit := getattr(device.limits, name)) is not None
    }
    return CostTable(
        device=device.name,
        layers=workload.layers,
        weight_bits=tuple(space.weight_bits),
        activation_bits=tuple(space.activation_bits),
        **terms._asdict(),
        energy_j=energy_j,
        weight_bytes=_stored(device, workload, space, runs, packed),
        constant_bytes=memory.stored_constants(device, workload, choices.tensor_bytes),
        weight_column=np.array(workload.weight_columns, dtype=np.int64),
        input_column=np.array([workload.tensors[i].group for i in largest], dtype=np.int64),
        output_column=np.array([workload.tensors[layer.output].group for layer in workload.layers], dtype=np.int64),
        live=live,
        step_layer=step_layer,
        arenas=(planned,) if planned is not None else (),
        stored_channels=hardware.stored_channels(workload),
        runtime_bytes=planned.least_tables_bytes if planned is not None else math.ceil(device.arena.fixed_bytes.value),
        element_bytes=choices.tensor_bytes,
        inference_s=device.overhead.inference_s.value,
        static_w=device.energy.static_w.value,
        limits=limits,
        runs_as=[[[_runs_as(layer.weight_count, p) for p in row] for row in runs] for layer in workload.layers],
        runs_on=hardware.processors(device, workload, runs),
        stored_as=_stored_as(device, workload, space, runs, choices.tensor_bytes, packed),
    )


def uniform(device: Device, workload: Workload, precision: Precision) -> Price:
    """Price of the whole network in one precision: FP32, FP16, W8A8, ...

    Raises:
        UsageError: the device cannot execute it.
    """
    table = uniform_table(device, workload, precision)
    found = estimate(table, np.zeros((1, table.decisions), dtype=np.int8))
    return Price(*(column[0].item() for column in found))


def onchip_bytes(device: Device, workload: Workload, activation_bits: int) -> int:
    """On-chip memory that a documented array needs when all feature maps have one width: those it keeps there, as stored, and
    the weights of cascades.

    Raises:
        UsageError: the device has no documented array, or no such width.
    """
    hardware = registry.of(device)
    one = _Uniform.of(workload, Precision(INT8, Int(activation_bits)))
    runs = [[device.runs_as(INT8, Int(activation_bits))]]
    choices = _choices(device, workload, one, runs, hardware.packed_bytes(device, workload, one, runs))
    used = hardware.onchip_bytes(device, workload, choices)
    if used is None:
        raise UsageError(f"what {device.name} keeps on chip is not modelled", "Documented arrays: the Ethos-U devices.")
    return int(used)


def uniform_table(device: Device, workload: Workload, precision: Precision) -> CostTable:
    """The table of a network with one choice: every layer in one precision. Raises as ``uniform`` does."""
    return lower(device, workload, _Uniform.of(workload, precision))


class Repriced:
    """A network in one precision, priced on many devices that differ from a first one in rates, speeds and fixed costs alone, as
    a fit of these asks for: what is stored and moved is found once."""

    def __init__(self, device: Device, workload: Workload, precision: Precision) -> None:
        one = _Uniform.of(workload, precision)
        runs = [[device.runs_as(precision.weights, precision.activations)]]
        self._hardware = registry.of(device)
        packed = self._hardware.packed_bytes(device, workload, one, runs)
        choices, unpack = _choices(device, workload, one, runs, packed), _unpack(device, one, runs)
        bits = tuple(one.weight_bits)
        cols = layout.columns(workload)
        self._question = Question(device, workload, bits, cols, choices, memory.ports(device), runs, unpack)

    def latencies_s(self, device: Device) -> np.ndarray:
        """``float64[L]``: seconds of every layer on ``device``, as ``lower`` prices them."""
        asked = self._question
        rate = device.rates[str(asked.runs[0][0])].value
        choices = asked.choices._replace(s_per_mac=asked.unpack / rate)
        terms = Terms.empty(len(asked.workload.layers), 1, 1)
        self._hardware.price(replace(asked, device=device, choices=choices, ports=memory.ports(device)), terms)
        return terms.latency_s[:, 0, 0, 0]


def explain(table: CostTable, plan: ArrayLike) -> list[dict[str, Any]]:
    """One row per layer, in execution order: widths, what runs and is stored, each term in seconds, and the term that binds."""
    rows, choices = [], np.asarray(plan)
    for row, layer in enumerate(table.layers):
        at = table.choice(row, choices)
        w, a, b = at
        has_weights = table.weight_column[row] >= 0
        terms = {
            "compute": float(table.compute_s[row][at]),
            "weights": float(table.weight_s[row][at]),
            "activations": float(table.activation_s[row][at]),
            "overhead": float(table.overhead_s[row][at]),
        }
        rows.append(
            {
                "name": layer.name,
                "op": layer.label,
                "macs": layer.macs,
                "weight_bits": table.weight_bits[w] if has_weights else None,
                "input_bits": table.activation_bits[a],
                "output_bits": table.activation_bits[b],
                "runs_as": table.runs_as[row][w][a],
                "runs_on": table.runs_on[row][w][a],
                "stored_as": table.stored_as[row][w][a],
                "compute_s": terms["compute"],
                "weight_s": terms["weights"],
                "activation_s": terms["activations"],
                "overhead_s": terms["overhead"],
                "latency_s": float(table.latency_s[row][at]),
                "weight_bytes": round(float(table.stored_bytes(row)[at])),
                "binds": max(terms, key=terms.__getitem__),
            }
        )
    return rows


def schedule(table: CostTable, workload: Workload, plan: ArrayLike) -> Iterator[tuple[str, dict[str, int]]]:
    """For each layer in order: its name and ``{tensor name: bytes}`` of everything alive at its busiest step."""
    choices = np.asarray(plan)
    if table.arenas:
        largest = max(table.arenas, key=lambda arena: int(arena.needed(choices)[0]))
        held = largest.schedule(choices, len(workload.layers))
        yield from ((layer.name, alive) for layer, alive in zip(workload.layers, held, strict=True))
        return
    last_layer = len(workload.layers) - 1
    busiest = np.zeros(len(workload.layers))
    np.maximum.at(busiest, table.step_layer, table.live @ table.element_bytes[choices[table.weighted :]])
    for row, layer in enumerate(workload.layers):
        alive = {}
        for tensor, channels in zip(workload.tensors, table.stored_channels, strict=True):
            last = max(tensor.readers) if tensor.readers else last_layer
            if max(tensor.producer, 0) <= row <= last:
                bytes_per_element = table.element_bytes[choices[table.weighted + tensor.group]]
                alive[tensor.name] = int(np.ceil(tensor.height * tensor.width * channels * bytes_per_element))
        if (between := int(busiest[row]) - sum(alive.values())) > 0:
            alive["partial results"] = between
        if table.runtime_bytes:
            alive["runtime"] = table.runtime_bytes
        yield layer.name, alive


def _unpack(device: Device, space: Space, runs: list[list[Precision]]) -> np.ndarray:
    """``float64[nW, nA]``: compute-time factor of weights narrower than the precision they run as."""
    factor = np.ones((len(runs), len(space.activation_bits)))
    for w, bits in enumerate(space.weight_bits):
        for a, activation in enumerate(space.activation_bits):
            if bits < runs[w][a].weight_bits:
                factor[w, a] = device.unpack_factor(bits, activation)
    return factor


def _choices(device: Device, workload: Workload, space: Space, runs: list[list[Precision]], packed: np.ndarray) -> Choices:
    rate = np.array([[device.rates[str(p)].value for p in row] for row in runs])
    tensor_bytes = np.array([memory.element_bytes(device, a) for a in space.tensor_formats])
    moved = packed.astype(float)
    for row in workload.weighing:
        for w in range(len(space.weight_bits)):
            moved[row, w] = [
                memory.moved_weight_bytes(device, workload.layers[row], int(stored), p)
                for stored, p in zip(packed[row, w], runs[w], strict=True)
            ]
    # A layer with constant operands has no weights: both travel in one column, the operands as wide as what the layer reads.
    moved += np.einsum("laa->la", memory.constant_bytes(workload, tensor_bytes, moved=True))[:, None, :]
    return Choices(
        _unpack(device, space, runs) / rate,
        np.array([[int(p.activations.is_wide) for p in row] for row in runs]),
        tensor_bytes,
        moved,
        *memory.offchip_elements(workload, device, tensor_bytes),
    )


def _stored(device: Device, workload: Workload, space: Space, runs: list[list[Precision]], packed: np.ndarray) -> np.ndarray:
    """Weights count with the first layer that has them; biases and scales of every layer are its own."""
    stored = packed.copy()
    for row in workload.weighing:
        layer = workload.layers[row]
        if layer.weights_of:
            stored[row] = 0
        channels = workload.tensors[layer.output].channels
        for w, weights in enumerate(space.weight_formats):
            stored[row, w] += [memory.channel_bytes(device, layer, channels, weights, p) for p in runs[w]]
    return stored


def _stored_as(
    device: Device,
    workload: Workload,
    space: Space,
    runs: list[list[Precision]],
    tensor_bytes: np.ndarray,
    packed: np.ndarray,
) -> list[list[list[str]]]:
    names: list[list[list[str]]] = []
    for row, layer in enumerate(workload.layers):
        if not layer.weight_count:
            names.append([[stored_name(8 * size) for size in tensor_bytes] for _ in space.weight_bits])
            continue
        names.append(
            [
                [_weight_format(device, layer, weights, p, int(size)) for p, size in zip(runs[w], packed[row, w], strict=True)]
                for w, weights in enumerate(space.weight_formats)
            ]
        )
    return names


def _weight_format(device: Device, layer: Layer, weights: NumberFormat, runs_as: Precision, packed: int) -> str:
    stored = device.stored_weights(weights, runs_as)
    if stored.is_float:
        return str(stored)
    return stored_name(packed * 8 / layer.weight_count / (2 if memory.composed(device, layer) else 1))


def _as_tensors(prices: np.ndarray, space: Space) -> None:
    """The prices ``float64[nW, nA, nA]`` of a product of two tensors, in place: what the array holds has the format of a tensor,
    not of weights. It is taken for that of the moving operand, or for the widest weights on offer where none are so wide."""
    for a, fmt in enumerate(space.tensor_formats):
        holds = [w for w, weights in enumerate(space.weight_formats) if weights.bits >= fmt.bits]
        widths = [weights.bits for weights in space.weight_formats]
        stationary = min(holds, key=widths.__getitem__) if holds else int(np.argmax(widths))
        prices[:, a] = prices[stationary, a]


def _runs_as(weight_count: int, precision: Precision) -> str:
    """Layers without weights only have an activation format."""
    return str(precision) if weight_count or precision.is_float else f"A{precision.activation_bits}"
