"""Price of layers on a neural processor of which a channel quantum and an effective rate are known (Hexagon, DLA, Edge TPU,
Hailo, RK3588, ...). A documented array is in ``ethos``.

Channels of each group are padded to the quantum, MACs over rate times efficiency; groups narrower than the quantum share it, as a
block-diagonal dense convolution. Depthwise layers fill a quarter of such an array: a prior, not a measurement. A vector unit
beside the array reads and writes the tensors of whatever is no convolution, in the array's layout: channels padded, except in
what comes from the host or goes there. A fused activation that is no clamp passes it once, as the result leaves the array. Array
and vector unit take turns on a layer. The network's input and output are exchanged with the host before and after: unpadded, in
single precision where the network computes in floating point. A device file without these two bandwidths does not model them.

Arithmetic, on-chip port, DRAM and flash work side by side; the cost of issuing an operation does not overlap.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from hwmodels.compiled import compiled
from hwmodels.device.device import Device
from hwmodels.numbers import Precision
from hwmodels.pricing.columns import CONV, DEPTHWISE, LINEAR, LOOKUP, Choices, Columns, Ports, Terms
from hwmodels.pricing.memory import transfer

DEPTHWISE_FILL = 0.25


class NpuConstants(NamedTuple):
    """Scalars of the device; ``pad`` and ``native_bytes`` ``float64[nW, nA]`` by choice; ``host_s_per_element float64[nA]``."""

    pad: np.ndarray
    efficiency: float
    layer_s: float
    native_bytes: np.ndarray
    vector_s_per_byte: float
    host_s_per_element: np.ndarray
    image_pad: float


def constants(device: Device, native: list[list[Precision]], tensor_bytes: np.ndarray) -> NpuConstants:
    """Constants of ``device`` for the choices that ``native[w][a]`` executes; ``tensor_bytes float64[nA]`` per element."""
    assert device.npu is not None
    npu = device.npu
    pad = np.ones((len(native), len(native[0])))
    for w, row in enumerate(native):
        for a, precision in enumerate(row):
            if str(precision) in npu.channel_pad:
                pad[w, a] = npu.channel_pad[str(precision)].value
    return NpuConstants(
        pad,
        npu.efficiency.value,
        device.overhead.layer_s.value,
        np.array([[p.activation_bits / 8 for p in row] for row in native]),
        1 / npu.vector_bytes_per_s.value if npu.vector_bytes_per_s is not None else 0.0,
        host_bytes(native[0], tensor_bytes) / (npu.host_bytes_per_s.value if npu.host_bytes_per_s is not None else math.inf),
        npu.image_pad.value if npu.image_pad is not None else math.inf,
    )


def host_bytes(native: list[Precision], tensor_bytes: np.ndarray) -> np.ndarray:
    """Bytes of an element on its way from or to the host, ``float64[nA]``: floating point is single precision there."""
    is_float = np.array([precision.is_float for precision in native])
    return np.where(is_float & (tensor_bytes > 1), 4.0, tensor_bytes)


@compiled(inline="always")
def _ceil_to(value: float, quantum: float) -> float:  # pragma: no cover - compiled
    return np.ceil(value / quantum) * quantum


@compiled
def rated_s(columns: Columns, layer: int, w: int, a: int, s_per_mac: float, device: NpuConstants) -> float:
    """Seconds that an array of effective rate and its vector unit need for a convolution and its fused activation."""
    op, groups, pad = columns.op[layer], columns.groups[layer], device.pad[w, a]
    pixels, taps = columns.out_h[layer] * columns.out_w[layer], columns.kernel_h[layer] * columns.kernel_w[layer]
    cin, cout = columns.cin[layer], columns.cout[layer]
    pad_in = min(pad, device.image_pad) if columns.host_read[layer] else pad
    if op == DEPTHWISE:
        macs = pixels * taps * _ceil_to(cout, pad) / DEPTHWISE_FILL
    elif op in (CONV, LINEAR):
        apart = _ceil_to(cin / groups, pad_in) * _ceil_to(cout / groups, pad) * groups
        macs = pixels * taps * min(apart, _ceil_to(cin, pad_in) * _ceil_to(cout, pad))
    else:
        return 0.0
    activated = pixels * _ceil_to(cout, pad) if columns.activation[layer] == LOOKUP else 0.0
    return macs * s_per_mac / device.efficiency + activated * device.native_bytes[w, a] * device.vector_s_per_byte


@compiled
def price(columns: Columns, choices: Choices, ports: Ports, device: NpuConstants, terms: Terms) -> None:
    """Fill ``terms`` for every layer and choice (see ``columns.Terms``)."""
    layers, weights, widths = choices.weight_bytes.shape
    for layer in range(layers):
        convolves = columns.op[layer] in (CONV, DEPTHWISE, LINEAR)
        for w in range(weights):
            for a in range(widths):
                rate, pad = choices.s_per_mac[w, a], device.pad[w, a]
                arithmetic = rated_s(columns, layer, w, a, rate, device)
                wide_in = 1.0 if columns.host_read[layer] else _ceil_to(columns.cin[layer], pad) / columns.cin[layer]
                wide_out = 1.0 if columns.host_written[layer] else _ceil_to(columns.cout[layer], pad) / columns.cout[layer]
                for b in range(widths):
                    read, written = choices.tensor_bytes[a], choices.tensor_bytes[b]
                    weight, activation, together = transfer(
                        columns.read[layer] * read + columns.written[layer] * written,
                        choices.offchip_read[layer, a] * read + choices.offchip_written[layer, b] * written,
                        choices.weight_bytes[layer, w, a],
                        ports,
                    )
                    compute = arithmetic
                    if not convolves:
                        passed = columns.read[layer] * wide_in * read + columns.written[layer] * wide_out * written
                        compute += passed * device.vector_s_per_byte
                    host = columns.host_read[layer] * device.host_s_per_element[a]
                    host += columns.host_written[layer] * device.host_s_per_element[b]
                    terms.compute_s[layer, w, a, b] = compute
                    terms.weight_s[layer, w, a, b] = weight
                    terms.activation_s[layer, w, a, b] = activation + host
                    terms.overhead_s[layer, w, a, b] = device.layer_s
                    terms.latency_s[layer, w, a, b] = max(compute, together) + host + device.layer_s
