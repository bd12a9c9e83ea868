"""Price of layers on a neural processor: a documented array (Ethos-U), or a channel quantum with an effective rate.

Array, in our own re-derivation from Arm's published compiler tables (agreement with that compiler's estimates, which are not
silicon, is measured in tests/reference): the output is cut into micro-blocks; a step multiplies one micro-block by either
``depth`` input channels of one kernel tap (depth first) or by ``depth / taps`` channels of ``taps`` taps (part kernel),
whichever takes fewer steps; kernels are split into 8x8 pieces; everything is rounded up. The output unit spends a number of
cycles per element, and the operation runs at the slower of the two. Sub-8-bit weights change the compressed stream and no
cycles. Not modelled: command issue of tiny blocks, bursts.

Effective rate (Hexagon, DLA, Edge TPU, Hailo, RK3588, ...): channels of each group padded to the quantum, MACs over rate times
efficiency. Depthwise layers fill a quarter of such an array: a prior, not a measurement.

Arithmetic, on-chip port, DRAM and flash work side by side; the cost of issuing an operation does not overlap. The array's re-
reads of feature maps (halo of blocks, passes over output channels) are not modelled.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from hwmodels.columns import (
    CONV,
    DEPTHWISE,
    ELEMENTWISE,
    LINEAR,
    LOOKUP,
    MOVE,
    PLAIN,
    POOL,
    RELU,
    Choices,
    Columns,
    Ports,
    Terms,
)
from hwmodels.device import Device
from hwmodels.memory import transfer
from hwmodels.precision import Precision

SUBKERNEL = 8
DEPTHWISE_FILL = 0.25


class NpuConstants(NamedTuple):
    """Scalars of the device; arrays ``float64[nW, nA]`` by choice, or ``float64[2]`` by input width (8, more)."""

    is_array: bool
    block_h: int
    block_w: int
    block_c: int
    clock_hz: float
    conv_cycles: np.ndarray
    add_cycles: np.ndarray
    relu_cycles: float
    lookup_cycles: float
    depth: np.ndarray
    taps: np.ndarray
    pad: np.ndarray
    efficiency: float
    layer_s: float


def constants(device: Device, native: list[list[Precision]]) -> NpuConstants:
    """Constants of ``device`` for the choices that ``native[w][a]`` executes."""
    assert device.npu is not None
    npu, cycles = device.npu, device.npu.output_cycles
    shape = (len(native), len(native[0]))
    depth, taps, pad = np.full(shape, 32.0), np.full(shape, 4.0), np.ones(shape)
    for w, row in enumerate(native):
        for a, precision in enumerate(row):
            for target, table in ((depth, npu.ifm_channels), (taps, npu.taps), (pad, npu.channel_pad)):
                if str(precision) in table:
                    target[w, a] = table[str(precision)].value
    two = np.ones(2)
    return NpuConstants(
        npu.microblock is not None and cycles is not None,
        *(npu.microblock or (1, 1, 1)),
        npu.clock_hz.value if npu.clock_hz is not None else 1e9,
        np.array([cycles.conv_a8.value, cycles.conv_a16.value]) if cycles is not None else two,
        np.array([cycles.add_a8.value, cycles.add_a16.value]) if cycles is not None else two,
        cycles.relu.value if cycles is not None else 1.0,
        cycles.lut.value if cycles is not None else 1.0,
        depth,
        taps,
        pad,
        npu.efficiency.value,
        device.overhead.layer_s.value,
    )


@numba.njit(cache=True, nogil=True)
def array_steps(kernel_h: int, kernel_w: int, inputs: float, depth: float, taps: float) -> float:
    """Steps per micro-block of a convolution over ``inputs`` channels: the cheaper of the two traversals."""
    across = part = 0.0
    for top in range(0, kernel_h, SUBKERNEL):
        for left in range(0, kernel_w, SUBKERNEL):
            area = min(SUBKERNEL, kernel_h - top) * min(SUBKERNEL, kernel_w - left)
            across += area * np.ceil(inputs / depth)
            part += np.ceil(area / taps) * np.ceil(inputs / (depth / taps))
    return min(across, part)


@numba.njit(cache=True, nogil=True)
def array_s(columns: Columns, layer: int, wide: int, depth: float, taps: float, s_per_mac: float, device: NpuConstants) -> float:
    """Seconds that array and output unit of a documented processor need for a layer."""
    op, out_h, out_w = columns.op[layer], columns.out_h[layer], columns.out_w[layer]
    block = device.block_h * device.block_w * device.block_c
    across = np.ceil(out_h / device.block_h) * np.ceil(out_w / device.block_w)
    cycle = 1.0 / device.clock_hz
    finish = device.conv_cycles[wide]
    if columns.activation[layer] == RELU:
        finish = max(finish, device.relu_cycles)
    elif columns.activation[layer] == LOOKUP:
        finish = max(finish, device.lookup_cycles)
    if op == ELEMENTWISE:
        return (
            columns.written[layer] * max(device.add_cycles[wide], finish if columns.activation[layer] != PLAIN else 0.0) * cycle
        )
    if op == POOL:
        return columns.read[layer] * device.conv_cycles[wide] * cycle
    if op == MOVE:
        # A copy passes the output unit with its channels rounded up to the micro-block.
        return across * np.ceil(columns.cout[layer] / device.block_c) * block * device.conv_cycles[wide] * cycle
    groups = columns.groups[layer]
    # A step is depth * block multiply-accumulates at the native rate: the array's cycle count divided by its clock and cores.
    step = depth * block * s_per_mac
    if op == DEPTHWISE:
        steps = array_steps(columns.kernel_h[layer], columns.kernel_w[layer], 1.0, 4.0, 4.0) * (2.0 if wide else 1.0)
        # Half depth at half rate: a step lasts as long at both widths.
        arithmetic = across * np.ceil(columns.cout[layer] / device.block_c) * steps * step
    else:
        steps = array_steps(columns.kernel_h[layer], columns.kernel_w[layer], columns.cin[layer] / groups, depth, taps)
        arithmetic = across * np.ceil(columns.cout[layer] / groups / device.block_c) * groups * steps * step
    output = columns.written[layer] * finish * cycle
    return max(arithmetic, output)


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
                if device.is_array:
                    compute = array_s(columns, layer, choices.wide[w, a], device.depth[w, a], device.taps[w, a], rate, device)
                elif op == DEPTHWISE:
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
