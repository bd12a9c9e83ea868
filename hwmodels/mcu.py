"""Price of layers on a microcontroller: cycles of a kernel library on one in-order core (or one cluster).

Compute cycles are MACs times cycles per MAC of the operation (convolution, pointwise, depthwise, linear; other native
precisions by the ratio of their rates), times unpacking of sub-byte weights, plus requantization of every output element, plus
the copy of input patches (im2col) per input byte of kernels larger than one pixel. Repeated weight reads of the inner loop are
inside cycles per MAC; the first fetch from flash is the weight term. Feature maps in internal RAM cost nothing extra; those in
external RAM cost its bandwidth. Nothing overlaps: latency is the sum of the terms. Element-wise layers requantize each operand,
data movement copies bytes.
"""

from __future__ import annotations

from typing import NamedTuple

import numba

from hwmodels.columns import CONV, DEPTHWISE, ELEMENTWISE, LINEAR, MOVE, POOL, Choices, Columns, Ports, Terms
from hwmodels.device import Device
from hwmodels.memory import transfer

COPY_BYTES_PER_CYCLE = 2.0
"""Of a copy within RAM where the file states no bandwidth: a word is loaded and stored in two cycles."""


class McuConstants(NamedTuple):
    """Cost of operations relative to convolution; seconds per requantized element, patch byte, copied byte, and layer."""

    pointwise: float
    depthwise: float
    linear: float
    requant_s: float
    patch_s: float
    copy_s: float
    layer_s: float


def constants(device: Device) -> McuConstants:
    assert device.mcu is not None
    mcu = device.mcu
    clock, cycles = mcu.clock_hz.value, mcu.cycles_per_mac
    onchip = device.memory.onchip
    stated = onchip.bytes_per_s if onchip is not None else None
    return McuConstants(
        cycles.pointwise.value / cycles.conv.value,
        cycles.depthwise.value / cycles.conv.value,
        cycles.linear.value / cycles.conv.value,
        mcu.cycles_per_output_requant.value / clock,
        mcu.cycles_per_input_byte_im2col.value / clock,
        1.0 / stated.value if stated is not None else 1.0 / (COPY_BYTES_PER_CYCLE * clock),
        mcu.cycles_per_layer.value / clock + device.overhead.layer_s.value,
    )


@numba.njit(cache=True, nogil=True)
def price(columns: Columns, choices: Choices, ports: Ports, device: McuConstants, terms: Terms) -> None:
    """Fill ``terms`` for every layer and choice (see ``columns.Terms``)."""
    layers, weights, widths = choices.weight_bytes.shape
    for layer in range(layers):
        op, taps = columns.op[layer], columns.kernel_h[layer] * columns.kernel_w[layer]
        factor = 1.0
        if op == DEPTHWISE:
            factor = device.depthwise
        elif op == LINEAR:
            factor = device.linear
        elif op == CONV and taps == 1:
            factor = device.pointwise
        requants = 0
        if op <= LINEAR or op == POOL:
            requants = columns.written[layer]
        elif op == ELEMENTWISE:
            requants = columns.read[layer] + columns.written[layer]
        for w in range(weights):
            for a in range(widths):
                compute = columns.macs[layer] * factor * choices.s_per_mac[w, a] + requants * device.requant_s
                if op == CONV and taps > 1:
                    compute += columns.read[layer] * choices.tensor_bytes[a] * device.patch_s
                for b in range(widths):
                    read, written = choices.tensor_bytes[a], choices.tensor_bytes[b]
                    weight, activation, _ = transfer(
                        0.0,
                        choices.offchip_read[layer, a] * read + choices.offchip_written[layer, b] * written,
                        choices.weight_bytes[layer, w, a],
                        ports,
                    )
                    if op in (MOVE, POOL):
                        activation += (columns.read[layer] * read + columns.written[layer] * written) * device.copy_s
                    terms.compute_s[layer, w, a, b] = compute
                    terms.weight_s[layer, w, a, b] = weight
                    terms.activation_s[layer, w, a, b] = activation
                    terms.overhead_s[layer, w, a, b] = device.layer_s
                    terms.latency_s[layer, w, a, b] = compute + weight + activation + device.layer_s
