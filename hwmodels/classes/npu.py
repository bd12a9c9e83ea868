"""Price of layers on a neural processor of which a channel quantum and an effective rate are known (DLA, Edge TPU, RK3588, ...).
A documented array is in ``ethos``, a matrix unit beside a vector unit in ``hexagon``, a chip that holds whole networks in
``dataflow``.

Channels of each group are padded to the quantum, MACs over rate times efficiency; groups narrower than the quantum share it, as a
block-diagonal dense convolution. Depthwise layers fill a share of such an array (``depthwise_fill``; a quarter unless
the device file says otherwise: a prior, not a measurement).

Arithmetic, on-chip port, DRAM and flash work side by side, or one after the other where the file says ``takes_turns``; the cost
of issuing an operation does not overlap.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from hwmodels.classes.multiples import ceil_to
from hwmodels.classes.registry import HardwareClass, Question
from hwmodels.compiled import compiled
from hwmodels.device.device import Device
from hwmodels.device.sections.npu import Npu
from hwmodels.numbers import Precision
from hwmodels.pricing.columns import CONV, DEPTHWISE, LINEAR, Choices, Columns, Ports, Terms
from hwmodels.pricing.memory import transfer


class NpuConstants(NamedTuple):
    """Scalars of the device; ``pad float64[nW, nA]`` by choice."""

    pad: np.ndarray
    efficiency: float
    layer_s: float
    image_pad: float
    depthwise_fill: float
    takes_turns: bool


def constants(device: Device, native: list[list[Precision]]) -> NpuConstants:
    """Constants of ``device`` for the choices that ``native[w][a]`` executes."""
    npu = device.own(Npu)
    pad = np.ones((len(native), len(native[0])))
    for w, row in enumerate(native):
        for a, precision in enumerate(row):
            if str(precision) in npu.channel_pad:
                pad[w, a] = npu.channel_pad[str(precision)].value
    image_pad = npu.image_pad.value if npu.image_pad is not None else math.inf
    return NpuConstants(
        pad=pad,
        efficiency=npu.efficiency.value,
        layer_s=device.overhead.layer_s.value,
        image_pad=image_pad,
        depthwise_fill=npu.depthwise_fill.value,
        takes_turns=npu.takes_turns,
    )


@compiled
def rated_s(columns: Columns, layer: int, w: int, a: int, s_per_mac: float, device: NpuConstants) -> float:
    """Seconds that an array of effective rate needs for a convolution or matrix product; 0 for anything else."""
    op, groups, pad = columns.op[layer], columns.groups[layer], device.pad[w, a]
    pixels, taps = columns.out_h[layer] * columns.out_w[layer], columns.kernel_h[layer] * columns.kernel_w[layer]
    cin, cout = columns.cin[layer], columns.cout[layer]
    pad_in = min(pad, device.image_pad) if columns.host_read[layer] else pad
    if op == DEPTHWISE:
        macs = pixels * taps * ceil_to(cout, pad) / device.depthwise_fill
    elif op in (CONV, LINEAR):
        apart = ceil_to(cin / groups, pad_in) * ceil_to(cout / groups, pad) * groups
        macs = pixels * taps * min(apart, ceil_to(cin, pad_in) * ceil_to(cout, pad))
    else:
        return 0.0
    return float(macs * s_per_mac / device.efficiency)


@compiled
def price(columns: Columns, choices: Choices, ports: Ports, device: NpuConstants, terms: Terms) -> None:
    """Fill ``terms`` for every layer and choice (see ``columns.Terms``)."""
    layers, weights, widths = choices.weight_bytes.shape
    for layer in range(layers):
        for w in range(weights):
            for a in range(widths):
                compute = rated_s(columns, layer, w, a, choices.s_per_mac[w, a], device)
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
                    busy = compute + weight + activation if device.takes_turns else max(compute, together)
                    terms.latency_s[layer, w, a, b] = busy + device.layer_s


class _Npu(HardwareClass):
    def price(self, question: Question, terms: Terms) -> Choices:
        found = constants(question.device, question.runs)
        price(question.columns, question.choices, question.ports, found, terms)
        return question.choices


CLASS = _Npu()
