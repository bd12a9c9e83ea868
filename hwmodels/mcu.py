"""Price of layers on a microcontroller: cycles of a kernel library on one in-order core (or one cluster).

Arithmetic is MACs times cycles per MAC of the operation (convolution, pointwise, depthwise, linear; other native precisions by
the ratio of their rates), times unpacking of sub-byte weights. The inner loop takes ``lanes`` operands at once, and what is left
over costs a full step: a kernel that gathers the patch of each output pixel into a buffer (im2col, as CMSIS-NN does; Lai, Suda
and Chandra, 2018) runs over the whole patch, one that does not runs over the channels of each tap. Gathering is paid per byte of
each patch, so it weighs more the fewer output channels share it. Every output element is requantized; element-wise layers
requantize each operand too, and data movement copies bytes.

Weights are fetched from flash once if the layer's fit the cache in front of it, else once for every ``PIXELS_PER_FETCH`` output
pixels, which is how many a kernel finishes with one pass over its weights. Feature maps in internal RAM cost nothing extra;
those in external RAM cost its bandwidth. Nothing overlaps on an in-order core: latency is the sum of the terms. A layer that
the runtime composes of two convolutions and a maximum (see ``memory``) pays for both, three requantizations and three calls.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from hwmodels.columns import CONV, DEPTHWISE, ELEMENTWISE, LINEAR, LOOKUP, MOVE, POOL, Choices, Columns, Ports, Terms
from hwmodels.device import Device
from hwmodels.memory import transfer

COPY_BYTES_PER_CYCLE = 2.0
"""Of a copy within RAM where the file states no bandwidth: a word is loaded and stored in two cycles."""

PIXELS_PER_FETCH = 4.0
"""Output pixels for which a kernel reads its weights once. CMSIS-NN and CMix-NN hold two pixels in registers, closed libraries
more; with four, one bandwidth explains both convolutions and fully connected layers of a Cortex-M4 with slow flash (PSoC 62)."""


class McuConstants(NamedTuple):
    """Cost of operations relative to convolution; lanes of the inner loop; whether patches are gathered; seconds per requantized
    element, patch byte, copied byte, and layer; bytes of weights that the cache before the flash holds; whether slopes are
    composed (see ``memory``)."""

    pointwise: float
    depthwise: float
    linear: float
    lanes: float
    gathers: bool
    requant_s: float
    patch_s: float
    copy_s: float
    layer_s: float
    cache_bytes: float
    composes: bool


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
        mcu.lanes.value,
        mcu.cycles_per_im2col_byte.value > 0,
        mcu.cycles_per_output_requant.value / clock,
        mcu.cycles_per_im2col_byte.value / clock,
        1.0 / stated.value if stated is not None else 1.0 / (COPY_BYTES_PER_CYCLE * clock),
        mcu.cycles_per_layer.value / clock + device.overhead.layer_s.value,
        mcu.weight_cache_bytes.value,
        device.arena.composes_slopes,
    )


@numba.njit(cache=True, nogil=True, inline="always")
def _ceil_to(value: float, quantum: float) -> float:  # pragma: no cover - compiled
    return np.ceil(value / quantum) * quantum


@numba.njit(cache=True, nogil=True)
def steps(columns: Columns, layer: int, device: McuConstants) -> float:
    """MACs of a layer in convolution equivalents: rounded up to the lanes, times the relative cost of the operation."""
    op, pixels = columns.op[layer], columns.out_h[layer] * columns.out_w[layer]
    taps, cin, cout = columns.kernel_h[layer] * columns.kernel_w[layer], columns.cin[layer], columns.cout[layer]
    if op == DEPTHWISE:
        return pixels * taps * _ceil_to(cout, device.lanes) * device.depthwise
    if op == LINEAR:
        return columns.macs[layer] * _ceil_to(cin, device.lanes) / cin * device.linear
    if op != CONV:
        return 0.0
    inputs = cin / columns.groups[layer]
    patch = _ceil_to(taps * inputs, device.lanes) if device.gathers else taps * _ceil_to(inputs, device.lanes)
    return pixels * cout * patch * (device.pointwise if taps == 1 else 1.0)


@numba.njit(cache=True, nogil=True)
def price(columns: Columns, choices: Choices, ports: Ports, device: McuConstants, terms: Terms) -> None:
    """Fill ``terms`` for every layer and choice (see ``columns.Terms``)."""
    layers, weights, widths = choices.weight_bytes.shape
    for layer in range(layers):
        op, taps = columns.op[layer], columns.kernel_h[layer] * columns.kernel_w[layer]
        pixels = columns.out_h[layer] * columns.out_w[layer]
        arithmetic = steps(columns, layer, device)
        patches = pixels * taps * columns.cin[layer] if op == CONV and taps > 1 else 0
        passes = np.ceil(pixels / PIXELS_PER_FETCH) if op == CONV else 1.0
        requants, calls = 0, 1
        if op <= LINEAR or op == POOL:
            requants = columns.written[layer]
        elif op == ELEMENTWISE:
            requants = columns.read[layer] + columns.written[layer]
        if device.composes and op <= LINEAR and columns.activation[layer] == LOOKUP:
            arithmetic, patches, requants, calls = 2 * arithmetic, 2 * patches, 3 * requants, 3
        overhead = calls * device.layer_s
        for w in range(weights):
            for a in range(widths):
                compute = arithmetic * choices.s_per_mac[w, a] + requants * device.requant_s
                compute += patches * choices.tensor_bytes[a] * device.patch_s
                stored = choices.weight_bytes[layer, w, a]
                fetched = stored * (passes if stored > device.cache_bytes else 1.0)
                for b in range(widths):
                    read, written = choices.tensor_bytes[a], choices.tensor_bytes[b]
                    weight, activation, _ = transfer(
                        0.0,
                        choices.offchip_read[layer, a] * read + choices.offchip_written[layer, b] * written,
                        fetched,
                        ports,
                    )
                    if op in (MOVE, POOL):
                        activation += (columns.read[layer] * read + columns.written[layer] * written) * device.copy_s
                    terms.compute_s[layer, w, a, b] = compute
                    terms.weight_s[layer, w, a, b] = weight
                    terms.activation_s[layer, w, a, b] = activation
                    terms.overhead_s[layer, w, a, b] = overhead
                    terms.latency_s[layer, w, a, b] = compute + weight + activation + overhead
