"""Price of layers on a neural processor of which a channel quantum and an effective rate are known (Hexagon, DLA, Edge TPU,
Hailo, RK3588, ...). A documented array is in ``ethos``.

Channels of each group are padded to the quantum, MACs over rate times efficiency. Depthwise layers fill a quarter of such an
array: a prior, not a measurement. Arithmetic, on-chip port, DRAM and flash work side by side; the cost of issuing an operation
does not overlap.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from hwmodels.columns import CONV, DEPTHWISE, LINEAR, Choices, Columns, Ports, Terms
from hwmodels.device import Device
from hwmodels.memory import transfer
from hwmodels.precision import Precision

DEPTHWISE_FILL = 0.25


class NpuConstants(NamedTuple):
    """Scalars of the device, and ``pad float64[nW, nA]`` by choice."""

    pad: np.ndarray
    efficiency: float
    layer_s: float


def constants(device: Device, native: list[list[Precision]]) -> NpuConstants:
    """Constants of ``device`` for the choices that ``native[w][a]`` executes."""
    assert device.npu is not None
    npu = device.npu
    pad = np.ones((len(native), len(native[0])))
    for w, row in enumerate(native):
        for a, precision in enumerate(row):
            if str(precision) in npu.channel_pad:
                pad[w, a] = npu.channel_pad[str(precision)].value
    return NpuConstants(pad, npu.efficiency.value, device.overhead.layer_s.value)


@numba.njit(cache=True, nogil=True)
def price(columns: Columns, choices: Choices, ports: Ports, device: NpuConstants, terms: Terms) -> None:
    """Fill ``terms`` for every layer and choice (see ``columns.Terms``)."""
    layers, weights, widths = choices.weight_bytes.shape
    for layer in range(layers):
        op, groups = columns.op[layer], columns.groups[layer]
        pixels, taps = columns.out_h[layer] * columns.out_w[layer], columns.kernel_h[layer] * columns.kernel_w[layer]
        for w in range(weights):
            for a in range(widths):
                compute = 0.0
                rate = choices.s_per_mac[w, a]
                if op == DEPTHWISE:
                    pad = device.pad[w, a]
                    padded = np.ceil(columns.cout[layer] / pad) * pad
                    compute = pixels * taps * padded / DEPTHWISE_FILL * rate / device.efficiency
                elif op in (CONV, LINEAR):
                    pad = device.pad[w, a]
                    inputs = np.ceil(columns.cin[layer] / groups / pad) * pad
                    outputs = np.ceil(columns.cout[layer] / groups / pad) * pad
                    compute = pixels * taps * inputs * outputs * groups * rate / device.efficiency
                for b in range(widths):
                    read, written = choices.tensor_bytes[a], choices.tensor_bytes[b]
                    weight, activation, together = transfer(
                        columns.read[layer] * read + columns.written[layer] * written,
                        choices.offchip_read[layer, a] * read + choices.offchip_written[layer, b] * written,
                        choices.weight_bytes[layer, w, a],
                        ports,
                    )
                    terms.compute_s[layer, w, a, b] = compute
                    terms.weight_s[layer, w, a, b] = weight
                    terms.activation_s[layer, w, a, b] = activation
                    terms.overhead_s[layer, w, a, b] = device.layer_s
                    terms.latency_s[layer, w, a, b] = max(compute, together) + device.layer_s
