"""Bytes: how tensors and weights are stored, which tensors leave the chip, and the peak of what is alive at once.

Assumptions. A stored tensor has whole bytes per element (8-bit runtimes keep 4-bit codes in bytes) unless the device computes
on narrower activations natively and packs by bits. A tensor stays on chip when everything alive during its life, taken at its
own width, fits there; the network's input and output always pass the external memory. No layer works in place. Where a
compiler fills the scratchpad of an NPU with an effective rate, it keeps the share of a tensor that fits and spills the rest,
and so do the caches of processors (as timed); a GPU's cache that is walked through in order keeps nothing of what is too large
for it. Some runtimes compose PReLU and LeakyReLU of two convolutions and a maximum, which stores the weights twice and keeps
more feature maps alive. Where the planner of the runtime is known (``planner`` in the device file), the peak is what it lays
out (``arena``), and live ranges are a lower bound.
"""

from __future__ import annotations

import math

import numpy as np

from hwmodels.compiled import compiled
from hwmodels.device.device import Device
from hwmodels.errors import UsageError
from hwmodels.numbers import FP16, Int, NumberFormat, Precision
from hwmodels.pricing import arena_c, arena_tflm, constants_c
from hwmodels.pricing.arena import Arena
from hwmodels.pricing.columns import OWN_PORT, WITH_DRAM, WITH_ONCHIP, Ports
from hwmodels.workload import Layer, Workload

BIAS_BYTES = 4
SCALE_BYTES = 4
GROUP_SCALE_BYTES = FP16.whole_bytes
"""A scale of a group of weights, as GPTQ, AWQ and ONNX's blocked quantization keep them."""
STREAM_CHANNEL_BYTES = 10
"""Ethos-U packs a 40-bit bias, a 32-bit scale and a shift into ten bytes per output channel."""


def storage(device: Device, activations: NumberFormat) -> Precision:
    """The native precision whose tensor format stores activations of this one: the narrowest that holds them.

    Raises:
        UsageError: none does.
    """
    holders = [p for p in device.native if p.activations.holds(activations)]
    if not holders:
        raise UsageError(f"{device.name} cannot store {activations.bits}-bit activations", f"Native there: {_listed(device)}.")
    return min(holders, key=lambda p: p.activations)


def _listed(device: Device) -> str:
    return ", ".join(map(str, device.native))


def element_bytes(device: Device, activations: NumberFormat) -> float:
    """Bytes that the runtime stores per element of a tensor of this format."""
    stored = storage(device, activations).activations
    return stored.packed_bytes if device.packing.kind == "bits" else stored.whole_bytes


def stored_weight_bytes(device: Device, layer: Layer, channels: int, weights: NumberFormat, runs_as: Precision) -> int:
    """Bytes of the packed weights of a layer with ``channels`` outputs, without biases and scales."""
    copies = 2 if composed(device, layer) else 1
    weights = device.stored_weights(weights, runs_as)
    if weights.is_wide:
        return copies * layer.weight_count * weights.container_bits // 8
    return copies * device.packing.weight_bytes(layer.weight_count, channels, weights.bits)


def moved_weight_bytes(device: Device, layer: Layer, stored: int, runs_as: Precision) -> int:
    """Bytes of weights that travel to the arithmetic for one inference, of a layer with ``stored`` bytes of them."""
    if not device.packing.expanded_at_load:
        return stored
    return max(stored, layer.weight_count * math.ceil(runs_as.weight_bits / 8))


def channel_bytes(device: Device, layer: Layer, channels: int, weights: NumberFormat, runs_as: Precision) -> int:
    """Bytes of a layer's biases, scales and slopes. Floating-point weights of at most a byte have a scale a channel as integers
    have, wider ones none; weights in groups have one of half precision for each group."""
    if composed(device, layer):
        return 2 * (BIAS_BYTES * layer.bias_count + SCALE_BYTES * channels)
    slopes = BIAS_BYTES * channels if layer.finish == "slopes" else 0
    stored = device.stored_weights(weights, runs_as)
    if stored.is_float and stored.is_wide:
        return BIAS_BYTES * layer.bias_count + slopes
    if isinstance(stored, Int) and stored.group is not None:
        groups = channels * stored.scales(layer.weight_count // channels)
        return BIAS_BYTES * layer.bias_count + GROUP_SCALE_BYTES * groups + slopes
    if device.packing.kind == "stream":
        return STREAM_CHANNEL_BYTES * channels + slopes
    return BIAS_BYTES * layer.bias_count + SCALE_BYTES * channels + slopes


def constant_bytes(workload: Workload, tensor_bytes: np.ndarray, *, moved: bool = False) -> np.ndarray:
    """Bytes of what every layer reads beside tensors and weights, by the width of its input and of its output:
    ``float64[L, nA, nA]``, whole bytes.

    A constant operand stands in the file as wide as the wider of its layer's tensors and in no less than a byte
    (``tensor_bytes float64[nA]``), or as ``Workload.number_bytes`` says; a flag takes a byte. What several layers read is stored
    with the first of them: where their widths differ, a file holds a copy for each width, which is not counted. Numbers of a
    function (a normalization's factors) have single precision.

    Args:
        moved: what travels to the arithmetic instead of what is stored: what is stored once travels for every layer, and the
            numbers of a function, of which there are few, are left out, as biases are.
    """
    each = np.maximum(np.maximum.outer(tensor_bytes, tensor_bytes), 1.0)
    if workload.number_bytes:
        each = np.full_like(each, workload.number_bytes)
    found = np.zeros((len(workload.layers), *each.shape))
    for row, layer in enumerate(workload.layers):
        if not moved and not layer.weight_count:
            found[row] += BIAS_BYTES * layer.bias_count
        for constant in layer.constants:
            if moved or not constant.repeated:
                elements = constant.elements if not moved or constant.read is None else constant.read
                found[row] += np.ceil(elements * (1.0 if constant.flags else each))
    return found


def stored_constants(device: Device, workload: Workload, tensor_bytes: np.ndarray) -> np.ndarray:
    """``constant_bytes`` that are stored, with what the runtime of ``device`` has beside them: tables and real numbers of C."""
    found = constant_bytes(workload, tensor_bytes)
    return found + constants_c.beyond(workload, tensor_bytes) if device.arena.planner == "c" else found


def ports(device: Device) -> Ports:
    """Seconds per byte of the device's memories. On-chip memory is at least as fast as what lies behind it."""

    def bandwidth(name: str) -> float:
        stated = device.memory[name].bytes_per_s if name in device.memory else None
        return stated.value if stated is not None else 0.0

    onchip, dram, flash = bandwidth("onchip"), bandwidth("dram"), bandwidth("flash")
    weights, port = (flash, OWN_PORT) if flash else (dram, WITH_DRAM) if dram else (onchip, WITH_ONCHIP)
    # An unstated on-chip bandwidth is no limit; a stated one below the DRAM's would make more on-chip memory a loss.
    onchip = max(onchip, dram) if onchip else 0.0
    return Ports(_inverse(onchip), _inverse(dram), _inverse(weights), port)


def _inverse(value: float) -> float:
    return 1.0 / value if value else 0.0


def offchip_elements(workload: Workload, device: Device, tensor_bytes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Elements that each layer reads from and writes to external memory when its tensors have a width.

    Args:
        tensor_bytes: ``float64[nA]``, bytes per element.
    Returns:
        ``read, written``: ``float64[L, nA]``. Zero everywhere on a device without external memory.
    """
    layers = workload.layers
    read, written = (np.zeros((len(layers), len(tensor_bytes))) for _ in range(2))
    if "dram" not in device.memory:
        return read, written
    onchip = device.memory["onchip"].bytes if "onchip" in device.memory else None
    capacity = onchip.value if onchip is not None else 0.0
    fused, shares = device.section.kept_bytes, device.section.keeps_shares
    alive = workload.live_elements().sum(axis=1)
    for tensor in workload.tensors:
        last = max(tensor.readers) if tensor.readers else len(layers) - 1
        most = alive[max(tensor.producer, 0) : last + 1].max()
        fits = capacity / (most * tensor_bytes)
        stays = np.where((fits >= 1) | (tensor.elements * tensor_bytes <= fused), 1.0, fits if shares else 0.0)
        if tensor.producer < 0 or not tensor.readers:
            stays = np.zeros_like(stays)
        leaves = (1.0 - stays) * tensor.elements
        if tensor.producer >= 0:
            written[tensor.producer] += leaves
        for reader in tensor.readers:
            # A slice reads only what it keeps.
            share = min(1.0, workload.tensors[layers[reader].output].elements / tensor.elements)
            read[reader] += leaves * (share if layers[reader].moves("slice") else 1.0)
    return read, written


def composed(device: Device, layer: Layer) -> bool:
    """Whether a layer runs as two convolutions and their maximum."""
    return arena_tflm.composed(device.arena, layer)


def live_elements(device: Device, workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Elements of each width group alive at each step, ``int64[S, G]``, and the layer that each step belongs to, ``int64[S]``.

    Every layer is a step, in order; behind them come two more of each composed layer: its second convolution, beside the
    result of the first one, and the maximum, when the input may be gone.
    """
    live = workload.live_elements()
    rows, more = list(range(len(live))), []
    for row, layer in enumerate(workload.layers):
        if not composed(device, layer):
            continue
        output = workload.tensors[layer.output]
        second, maximum = live[row].copy(), live[row].copy()
        second[output.group] += output.elements
        maximum[output.group] += 2 * output.elements
        for source in {workload.tensors[i] for i in layer.inputs}:
            if source.readers and max(source.readers) == row:
                maximum[source.group] -= source.elements
        more += [second, maximum]
        rows += [row, row]
    return np.concatenate([live, np.reshape(more, (-1, live.shape[1])).astype(np.int64)]), np.array(rows)


def arena(device: Device, workload: Workload, tensor_bytes: np.ndarray, weight_bits: tuple[int, ...]) -> Arena | None:
    """The arena that the device's runtime lays out for the widths on offer, ``tensor_bytes float64[nA]`` and ``weight_bits``;
    None where its planner is not known."""
    match device.arena.planner:
        case "tflm":
            return arena_tflm.arena(device.arena, workload, tensor_bytes, weight_bits)
        case "c":
            return arena_c.arena(workload, tensor_bytes, weight_bits)
    return None


def worst_steps(live: np.ndarray) -> np.ndarray:
    """The rows of ``live int64[S, G]`` that can be the peak under some widths: rows that no other row covers, in order."""
    rows = np.unique(live, axis=0)
    # The rows are distinct: each is covered by itself, and by nothing else if it is kept.
    keep = [np.count_nonzero((rows >= row).all(axis=1)) == 1 for row in rows]
    found: np.ndarray = rows[np.array(keep, dtype=bool)]
    return found


@compiled(inline="always")
def transfer(
    onchip_bytes: float, offchip_bytes: float, weight_bytes: float, ports: Ports
) -> tuple[float, float, float]:  # pragma: no cover - compiled
    """``weight_s, activation_s, together_s``: every feature map passes the on-chip port, some also the external one;
    ports work side by side, and weights queue with whatever shares their port."""
    weight = weight_bytes * ports.weight_s_per_byte
    inside, outside = onchip_bytes * ports.onchip_s_per_byte, offchip_bytes * ports.dram_s_per_byte
    activation = max(inside, outside)
    if ports.weight_port == WITH_DRAM:
        return weight, activation, max(inside, outside + weight)
    if ports.weight_port == WITH_ONCHIP:
        return weight, activation, max(inside + weight, outside)
    return weight, activation, max(activation, weight)
