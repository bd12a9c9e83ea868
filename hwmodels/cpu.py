"""Price of layers on a general-purpose processor: arithmetic against memory, plus a call per layer.

Compute is MACs over the native rate times the efficiency that convolutions reach. Arithmetic, cache and DRAM traffic overlap;
the call of each layer does not. Data movement and element-wise layers cost the bytes they move.
"""

from __future__ import annotations

from typing import NamedTuple

import numba

from hwmodels.columns import Choices, Columns, Ports, Terms
from hwmodels.device import Device
from hwmodels.memory import transfer


class CpuConstants(NamedTuple):
    """``efficiency``: fraction of the rate that convolutions reach; ``layer_s``: seconds per layer call."""

    efficiency: float
    layer_s: float


def constants(device: Device) -> CpuConstants:
    assert device.cpu is not None
    return CpuConstants(device.cpu.efficiency.value, device.overhead.layer_s.value)


@numba.njit(cache=True, nogil=True)
def price(columns: Columns, choices: Choices, ports: Ports, device: CpuConstants, terms: Terms) -> None:
    """Fill ``terms`` for every layer and choice (see ``columns.Terms``)."""
    layers, weights, widths = choices.weight_bytes.shape
    for layer in range(layers):
        for w in range(weights):
            for a in range(widths):
                compute = columns.macs[layer] * choices.s_per_mac[w, a] / device.efficiency
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
