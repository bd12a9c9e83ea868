"""Price of layers on a neural processor: a documented array (Ethos-U), or a channel quantum with an effective rate.

Array, in our own re-derivation from Arm's published compiler tables (agreement with that compiler's estimates, which are not
silicon, is measured in tests/reference): the output is cut into micro-blocks; a step multiplies one micro-block by either
``depth`` input channels of one kernel tap (depth first) or by ``depth / taps`` channels of ``taps`` taps (part kernel),
whichever takes fewer steps; kernels are split into 8x8 pieces; everything is rounded up. The output unit spends a number of
cycles per element, and the operation runs at the slower of the two. Sub-8-bit weights change the compressed stream and no
cycles. Not modelled: command issue of tiny blocks, bursts.

Effective rate (Hexagon, DLA, Edge TPU, Hailo, RK3588, ...): channels of each group padded to the quantum, MACs over rate times
efficiency; groups narrower than the quantum share it, as a block-diagonal dense convolution. Depthwise layers fill a quarter of
such an array: a prior, not a measurement. A vector unit beside the array reads and writes the tensors of whatever is no
convolution, in the array's layout: channels padded, except in what comes from the host or goes there. A fused activation that
is no clamp passes it once, as the result leaves the array. Array and vector unit take turns on a layer. The network's input and
output are exchanged with the host before and after: unpadded, in single precision where the network computes in floating point.
A device file without these two bandwidths does not model them.

Arithmetic, on-chip port, DRAM and flash work side by side; the cost of issuing an operation does not overlap. The array's re-
reads of feature maps (halo of blocks, passes over output channels) are not modelled.
"""

from __future__ import annotations

import math
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
    native_bytes: np.ndarray
    vector_s_per_byte: float
    host_s_per_element: np.ndarray
    image_pad: float


def constants(device: Device, native: list[list[Precision]], tensor_bytes: np.ndarray) -> NpuConstants:
    """Constants of ``device`` for the choices that ``native[w][a]`` executes; ``tensor_bytes float64[nA]`` per element."""
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
        np.array([[p.activation_bits / 8 for p in row] for row in native]),
        1 / npu.vector_bytes_per_s.value if npu.vector_bytes_per_s is not None else 0.0,
        host_bytes(native[0], tensor_bytes) / (npu.host_bytes_per_s.value if npu.host_bytes_per_s is not None else math.inf),
        npu.image_pad.value if npu.image_pad is not None else math.inf,
    )


def host_bytes(native: list[Precision], tensor_bytes: np.ndarray) -> np.ndarray:
    """Bytes of an element on its way from or to the host, ``float64[nA]``: floating point is single precision there."""
    is_float = np.array([precision.is_float for precision in native])
    return np.where(is_float & (tensor_bytes > 1), 4.0, tensor_bytes)


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


@numba.njit(cache=True, nogil=True, inline="always")
def _ceil_to(value: float, quantum: float) -> float:  # pragma: no cover - compiled
    return np.ceil(value / quantum) * quantum


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
def price(columns: Columns, choices: Choices, ports: Ports, device: NpuConstants, terms: Terms) -> None:
    """Fill ``terms`` for every layer and choice (see ``columns.Terms``)."""
    layers, weights, widths = choices.weight_bytes.shape
    for layer in range(layers):
        convolves = columns.op[layer] in (CONV, DEPTHWISE, LINEAR)
        for w in range(weights):
            for a in range(widths):
                rate, pad = choices.s_per_mac[w, a], device.pad[w, a]
                if device.is_array:
                    arithmetic = array_s(columns, layer, choices.wide[w, a], device.depth[w, a], device.taps[w, a], rate, device)
                else:
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
