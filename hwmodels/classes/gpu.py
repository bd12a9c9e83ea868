"""Price of layers on a GPU: implicit matrix products in tiles and waves, memory traffic, and a launch per kernel.

A convolution is a product of [pixels, patch] by [patch, channels]. Output channels, and input channels of the patch, are padded
to the quantum of the precision (inputs of at most four channels to four); the output is cut into tiles of ``tile_m`` pixels by
at most ``tile_n`` channels, which run in waves over the multiprocessors: the last wave costs as much as a full one. Each group
of a grouped convolution is a product of its own; tiles are at least 32 channels wide at every precision (the narrowest of
shipping kernels), and each pays for filling and draining its pipeline; depthwise convolutions run on the CUDA cores. Tensor
cores, cache and DRAM work side by side; launches do not. Biases and activations are fused into the producing kernel and free, and
so is the conversion of what an integer layer writes: its accumulators are scaled to whatever is stored. A floating-point layer
converts in kernels of their own: one before it where it reads codes, one behind it where it writes them, each with a launch and
the tensor's bytes in both formats. NVIDIA's blog on quantization-aware training with TensorRT (2021) shows both rules: a fused
convolution with integer inputs may write floating point, but the quantization behind a floating-point result is not fused. In
a profile of such an engine the conversion of a convolution's input took longer than the convolution (NVIDIA/TensorRT, issue
1423). Its energy is counted as static power alone. An addition to the result of a convolution that nobody else
reads is done by that convolution (TensorRT documents this fusion): no launch, and of its bytes only those of the other operand.
Other additions, concatenation, pixel shuffle and the like cost a launch and the bytes they move. Views cost nothing, and where
the runtime fuses around matrix products, neither does most of what is between those of a transformer (``pricing.joined``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.classes.multiples import ceil_to
from hwmodels.classes.registry import HardwareClass, Question
from hwmodels.compiled import compiled
from hwmodels.device.device import Device
from hwmodels.device.sections.gpu import Gpu
from hwmodels.numbers import Precision
from hwmodels.pricing import joined
from hwmodels.pricing.columns import CONV, DEPTHWISE, LINEAR, Choices, Columns, Ports, Terms
from hwmodels.pricing.memory import transfer
from hwmodels.workload import Workload

SHALLOW = 4
"""Inputs of a few channels have kernels that pad to four."""
NARROWEST_TILE = 32
"""Channels of the narrowest output tile: a layer with four output channels fills an eighth of it, in FP16 as in INT8."""

FILL = 64
"""Depth of the product that a tile could have done while it loads its first slices and stores its result."""


class GpuConstants(NamedTuple):
    """Scalars of the device, and per (weight, input) choice: channel quantum, seconds per MAC outside the tensor cores, and
    bytes of an element in floating-point arithmetic, 0 for integers.

    ``alone``: what each layer launches, reads and writes of its own.
    """

    multiprocessors: float
    tile_m: float
    tile_n: float
    efficiency: float
    layer_s: float
    pad: np.ndarray
    scalar_s_per_mac: np.ndarray
    float_bytes: np.ndarray
    alone: joined.Joined


def constants(device: Device, workload: Workload, native: list[list[Precision]], unpack: np.ndarray) -> GpuConstants:
    """Constants of ``device``; ``native[w][a]`` executes the choices, ``unpack float64[nW, nA]`` multiplies compute time."""
    gpu = device.own(Gpu)
    pad, scalar = np.ones_like(unpack), np.zeros_like(unpack)
    for w, row in enumerate(native):
        for a, precision in enumerate(row):
            quantum = gpu.channel_pad.get(str(precision))
            pad[w, a] = quantum.value if quantum is not None else 1.0
            rate = gpu.cuda_core_rates.get(str(precision), device.rates[str(precision)])
            scalar[w, a] = unpack[w, a] / min(rate.value, device.rates[str(precision)].value)
    return GpuConstants(
        multiprocessors=gpu.sm_count.value,
        tile_m=gpu.tile_m.value,
        tile_n=gpu.tile_n.value,
        efficiency=gpu.efficiency.value,
        layer_s=device.overhead.layer_s.value,
        pad=pad,
        scalar_s_per_mac=scalar,
        float_bytes=np.array([[p.activation_bits / 8 if p.is_float else 0.0 for p in row] for row in native]),
        alone=joined.joined(workload, gpu.fuses_products),
    )


@compiled
def conversion_s(
    elements: float, offchip: float, stored_bytes: float, float_bytes: float, ports: Ports, layer_s: float
) -> float:  # pragma: no cover - compiled
    """Seconds of the kernel that converts a tensor between codes and floating point, 0 where there is nothing to convert.

    Args:
        offchip: of the ``elements``, those that pass the external memory.
        stored_bytes: of a stored element; float_bytes: of one in the layer's arithmetic, 0 for integers.
    """
    if float_bytes == 0.0 or stored_bytes > 1.0:
        return 0.0
    both = stored_bytes + float_bytes
    return layer_s + max(elements * both * ports.onchip_s_per_byte, offchip * both * ports.dram_s_per_byte)


@compiled
def price(columns: Columns, choices: Choices, ports: Ports, device: GpuConstants, terms: Terms) -> None:
    """Fill ``terms`` for every layer and choice (see ``columns.Terms``)."""
    layers, weights, widths = choices.weight_bytes.shape
    for layer in range(layers):
        op, groups = columns.op[layer], columns.groups[layer]
        pixels, taps = columns.out_h[layer] * columns.out_w[layer], columns.kernel_h[layer] * columns.kernel_w[layer]
        inputs, outputs = columns.cin[layer] / groups, columns.cout[layer] / groups
        launch = 0.0 if columns.fused[layer] else device.layer_s * device.alone.launches[layer]
        reads = device.alone.read[layer] - 0.5 * columns.fused[layer] / columns.read[layer]
        writes = device.alone.written[layer] - 0.5 * columns.fused[layer] / columns.written[layer]
        for w in range(weights):
            for a in range(widths):
                compute = 0.0
                if op == DEPTHWISE:
                    compute = columns.macs[layer] * device.scalar_s_per_mac[w, a] / device.efficiency
                elif op in (CONV, LINEAR):
                    pad = device.pad[w, a]
                    depth = taps * ceil_to(inputs, min(pad, SHALLOW) if inputs <= SHALLOW else pad)
                    across = ceil_to(outputs, pad)
                    tile_n = min(device.tile_n, max(across, NARROWEST_TILE))
                    tiles = np.ceil(pixels / device.tile_m) * np.ceil(across / tile_n) * groups
                    waves = np.ceil(tiles / device.multiprocessors)
                    work = waves * device.multiprocessors * device.tile_m * tile_n * (depth + FILL)
                    compute = work * choices.s_per_mac[w, a] / device.efficiency
                converts = device.float_bytes[w, a] if op in (CONV, DEPTHWISE, LINEAR) else 0.0
                before = conversion_s(
                    elements=columns.read[layer],
                    offchip=choices.offchip_read[layer, a],
                    stored_bytes=choices.tensor_bytes[a],
                    float_bytes=converts,
                    ports=ports,
                    layer_s=device.layer_s,
                )
                for b in range(widths):
                    behind = conversion_s(
                        elements=columns.written[layer],
                        offchip=choices.offchip_written[layer, b],
                        stored_bytes=choices.tensor_bytes[b],
                        float_bytes=converts,
                        ports=ports,
                        layer_s=device.layer_s,
                    )
                    overhead = launch + before + behind
                    read, written = choices.tensor_bytes[a] * reads, choices.tensor_bytes[b] * writes
                    weight, activation, together = transfer(
                        columns.read[layer] * read + columns.written[layer] * written,
                        choices.offchip_read[layer, a] * read + choices.offchip_written[layer, b] * written,
                        choices.weight_bytes[layer, w, a],
                        ports,
                    )
                    terms.compute_s[layer, w, a, b] = compute
                    terms.weight_s[layer, w, a, b] = weight
                    terms.activation_s[layer, w, a, b] = activation
                    terms.overhead_s[layer, w, a, b] = overhead
                    terms.latency_s[layer, w, a, b] = max(compute, together) + overhead


class _Gpu(HardwareClass):
    def price(self, question: Question, terms: Terms) -> Choices:
        found = constants(question.device, question.workload, question.runs, question.unpack)
        price(question.columns, question.choices, question.ports, found, terms)
        return question.choices


CLASS = _Gpu()
