"""Price of layers on a microcontroller: cycles of a kernel library on one in-order core (or one cluster).

Arithmetic is MACs times cycles per MAC of the operation (convolution, pointwise, depthwise, linear; other native precisions by
the ratio of their rates, with the shape of their own kernels where the file has one). Sub-byte weights are unpacked once a
layer, per weight, or in the inner loop, per MAC: the file says which. The inner loop takes ``lanes`` operands at once, and
what is left over costs a full step: a kernel that gathers the patch of each output pixel into a buffer (im2col, as CMSIS-NN
does; Lai, Suda and Chandra, 2018) runs over the whole patch, one that does not runs over the channels of each tap. Gathering
is paid per byte of each patch, and per row of it where each row is copied by a call, so it weighs more the fewer output
channels share it. Every output element is requantized. A depthwise convolution has no sum over channels: its kernels take
channels side by side, may gather patches too, and requantize and set up a window for few MACs, which have prices of their own
per output and per pixel. Additions requantize each operand too, and data movement copies bytes, unless the file has cycles per
element of the operation.

Weights are fetched from flash once if the layer's fit the cache in front of it, or if they are unpacked to RAM once a layer, else
once for every ``pixels_per_pass`` output pixels, which is how many a kernel finishes with one pass over its weights. Feature
maps in internal RAM cost nothing extra; those in external RAM cost its bandwidth. Nothing overlaps on an in-order core: latency
is the sum of the terms. A layer that the runtime composes of two convolutions and a maximum (see ``memory``) pays for both, three
requantizations and three calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hwmodels.classes.mcu_steps import forms, lies_last
from hwmodels.classes.multiples import ceil_to
from hwmodels.classes.registry import HardwareClass, Question
from hwmodels.compiled import compiled
from hwmodels.device.device import Device
from hwmodels.device.sections.mcu import Mcu
from hwmodels.pricing.columns import CONV, DEPTHWISE, ELEMENTWISE, LINEAR, LOOKUP, MOVE, POOL, Choices, Columns, Ports, Terms
from hwmodels.pricing.memory import transfer
from hwmodels.workload import Map, Move, Workload

COPY_BYTES_PER_CYCLE = 2.0
"""Of a copy within RAM where the file states no bandwidth: a word is loaded and stored in two cycles."""


class McuConstants(NamedTuple):
    """What a device's file says, in seconds, for one workload and the weight widths on offer.

    By kernels (those of int8 and those of wider activations, ``float64[2]``): cost of ``pointwise``, ``depthwise`` and
    ``linear`` MACs relative to a convolution's, ``lanes`` of the inner loop and ``depthwise_lanes``, ``requant_s`` per output
    element, and of depthwise layers ``depthwise_output_s`` per output and ``depthwise_pixel_s`` per pixel, and how many
    outputs are made at once.

    ``unpack_s``: ``float64[nW]``, per weight and layer, 0 where weights are not unpacked beforehand. ``own_s``:
    ``float64[L, 2, 2]``, all of a layer that is no convolution, where its input and its output are wide or not; below 0 where the
    file has no such numbers. ``own_macs``: ``bool[L]``, whether MACs are part of that. Then: whether patches are gathered, and
    those of depthwise layers; seconds per byte and per row of a patch, per copied byte, per layer, and per layer of ``own_s``;
    bytes of weights that the cache before the flash holds, and output pixels for which weights beyond it are read once; whether
    slopes are composed (see ``memory``).
    """

    pointwise: np.ndarray
    depthwise: np.ndarray
    linear: np.ndarray
    lanes: np.ndarray
    depthwise_lanes: np.ndarray
    requant_s: np.ndarray
    depthwise_output_s: np.ndarray
    depthwise_pixel_s: np.ndarray
    depthwise_outputs: np.ndarray
    unpack_s: np.ndarray
    own_s: np.ndarray
    own_macs: np.ndarray
    gathers: bool
    gathers_depthwise: bool
    patch_s: float
    row_s: float
    copy_s: float
    layer_s: float
    call_s: float
    cache_bytes: float
    pixels_per_pass: float
    composes: bool


def constants(device: Device, workload: Workload, weight_bits: Sequence[int]) -> McuConstants:
    """The constants of ``device`` for the layers of ``workload`` and the weight widths on offer."""
    mcu = device.own(Mcu)
    clock = mcu.clock_hz.value
    macs = [mcu.cycles_per_mac, mcu.wide.cycles_per_mac if mcu.wide else mcu.cycles_per_mac]
    kernels = (mcu, mcu.wide or mcu)
    requants = [each.cycles_per_output_requant for each in kernels]
    depthwise_outputs = [each.cycles_per_depthwise_output or each.cycles_per_output_requant for each in kernels]
    depthwise_lanes = np.array([(mcu.depthwise_lanes or mcu.lanes).value, 1.0])
    if mcu.wide is None:
        depthwise_lanes[1] = depthwise_lanes[0]
    onchip = device.memory.onchip
    stated = onchip.bytes_per_s if onchip is not None else None
    unpacking: dict[str, float] = {bits: cycles.value for bits, cycles in mcu.cycles_per_unpacked_weight.items()}
    own = _own(mcu, workload)
    call = mcu.cycles_per_call or mcu.cycles_per_layer
    return McuConstants(
        pointwise=np.array([cycles.pointwise.value / cycles.conv.value for cycles in macs]),
        depthwise=np.array([cycles.depthwise.value / cycles.conv.value for cycles in macs]),
        linear=np.array([cycles.linear.value / cycles.conv.value for cycles in macs]),
        lanes=np.array([mcu.lanes.value, 1.0 if mcu.wide else mcu.lanes.value]),
        depthwise_lanes=depthwise_lanes,
        requant_s=np.array([cycles.value / clock for cycles in requants]),
        depthwise_output_s=np.array([cycles.value / clock for cycles in depthwise_outputs]),
        depthwise_pixel_s=np.array([each.cycles_per_depthwise_pixel.value / clock for each in kernels]),
        depthwise_outputs=np.where([each.cycles_per_depthwise_output is not None for each in kernels], depthwise_lanes, 1.0),
        unpack_s=np.array([unpacking.get(str(bits), 0.0) / clock for bits in weight_bits]),
        own_s=own[0] / clock,
        own_macs=own[1],
        gathers=mcu.cycles_per_im2col_byte.value > 0,
        gathers_depthwise=mcu.gathers_depthwise,
        patch_s=mcu.cycles_per_im2col_byte.value / clock,
        row_s=mcu.cycles_per_im2col_row.value / clock,
        copy_s=1.0 / stated.value if stated is not None else 1.0 / (COPY_BYTES_PER_CYCLE * clock),
        layer_s=mcu.cycles_per_layer.value / clock + device.overhead.layer_s.value,
        call_s=call.value / clock + device.overhead.layer_s.value,
        cache_bytes=mcu.weight_cache_bytes.value,
        pixels_per_pass=mcu.pixels_per_pass.value,
        composes=device.arena.composes_slopes,
    )


UNKNOWN = -1.0
"""In place of cycles that a file does not state."""


def _own(mcu: Mcu, workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Cycles of every layer that is no convolution, ``float64[L, 2, 2]`` by whether its input and its output are wide,
    ``UNKNOWN`` where the file does not state them; and whether its MACs are part of them, ``bool[L]``."""
    narrow: dict[str, float] = {key: cycles.value for key, cycles in mcu.cycles_per_element.items()}
    wide = narrow | {key: cycles.value for key, cycles in (mcu.wide.cycles_per_element if mcu.wide else {}).items()}
    cycles = np.full((len(workload.layers), 2, 2), UNKNOWN)
    macs = np.zeros(len(workload.layers), np.bool_)
    last = lies_last(workload)
    for row, layer in enumerate(workload.layers):
        looked_up = isinstance(layer.work, Map) and layer.work.arity == 1
        for ends in np.ndindex(2, 2):
            reads, writes = bool(ends[0]), bool(ends[1])
            # A function of 8-bit codes is a table, however wide the codes in it are.
            stated = wide if reads or (writes and not looked_up) else narrow
            for counts in forms(workload, layer, mcu.lanes.value, (reads, writes), last):
                if counts.keys() <= stated.keys():
                    found = sum(stated[key] * count for key, count in counts.items())
                    if isinstance(layer.work, Move) and not layer.work.taps:
                        # Twice the bytes never move faster; where counts say so, it is by the error of their fit.
                        found = max(found, cycles[row, 0, 0])
                    cycles[row, ends[0], ends[1]] = found
                    macs[row] = "product_mac" in counts
                    break
    return cycles, macs


@compiled
def steps(columns: Columns, layer: int, device: McuConstants, wide: int) -> float:
    """MACs of a layer in convolution equivalents: rounded up to the lanes, times the relative cost of the operation.

    ``wide``: 1 where the kernels of wider activations run it.
    """
    op, pixels, lanes = columns.op[layer], columns.out_h[layer] * columns.out_w[layer], device.lanes[wide]
    taps, cin, cout = columns.kernel_h[layer] * columns.kernel_w[layer], columns.cin[layer], columns.cout[layer]
    if op == DEPTHWISE:
        return float(pixels * taps * ceil_to(cout, device.depthwise_lanes[wide]) * device.depthwise[wide])
    if op == LINEAR:
        return float(columns.macs[layer] * ceil_to(cin, lanes) / cin * device.linear[wide])
    if op != CONV:
        return 0.0
    inputs = cin / columns.groups[layer]
    patch = ceil_to(taps * inputs, lanes) if device.gathers else taps * ceil_to(inputs, lanes)
    return float(pixels * cout * patch * (device.pointwise[wide] if taps == 1 else 1.0))


@compiled
def price(columns: Columns, choices: Choices, ports: Ports, device: McuConstants, terms: Terms) -> None:
    """Fill ``terms`` for every layer and choice (see ``columns.Terms``)."""
    layers, weights, widths = choices.weight_bytes.shape
    for layer in range(layers):
        op, taps = columns.op[layer], columns.kernel_h[layer] * columns.kernel_w[layer]
        pixels = columns.out_h[layer] * columns.out_w[layer]
        gathered = taps > 1 and (op == CONV or (op == DEPTHWISE and device.gathers_depthwise))
        patches = pixels * taps * columns.cin[layer] if gathered else 0
        rows = pixels * columns.kernel_h[layer] if patches else 0
        passes = np.ceil(pixels / device.pixels_per_pass) if op == CONV else 1.0
        unpacked = columns.macs[layer] / pixels if op <= LINEAR else 0.0
        calls, copies = 1, 1
        rounded = 0
        if op <= LINEAR or op == POOL:
            rounded = columns.written[layer]
        elif op == ELEMENTWISE:
            rounded = columns.read[layer] + columns.written[layer]
        if device.composes and op <= LINEAR and columns.activation[layer] == LOOKUP:
            rounded, calls, copies = 3 * rounded, 3, 2
        output_s = device.depthwise_output_s if op == DEPTHWISE else device.requant_s
        for w in range(weights):
            for a in range(widths):
                arithmetic = 0.0
                if not device.own_macs[layer]:
                    arithmetic = steps(columns, layer, device, choices.wide[w, a]) * choices.s_per_mac[w, a]
                if op == DEPTHWISE:
                    arithmetic += pixels * device.depthwise_pixel_s[choices.wide[w, a]]
                    side_by_side = device.depthwise_outputs[choices.wide[w, a]]
                    outputs = rounded * ceil_to(columns.cout[layer], side_by_side) / columns.cout[layer]
                else:
                    outputs = rounded
                arithmetic += unpacked * device.unpack_s[w]
                arithmetic += patches * choices.tensor_bytes[a] * device.patch_s + rows * device.row_s
                stored = choices.weight_bytes[layer, w, a]
                again = stored > device.cache_bytes and device.unpack_s[w] == 0
                fetched = stored * (passes if again else 1.0)
                for b in range(widths):
                    read, written = choices.tensor_bytes[a], choices.tensor_bytes[b]
                    own_s = device.own_s[layer, choices.wide[w, a], choices.wide[w, b]]
                    weight, activation, _ = transfer(
                        0.0,
                        choices.offchip_read[layer, a] * read + choices.offchip_written[layer, b] * written,
                        fetched,
                        ports,
                    )
                    compute = copies * arithmetic
                    overhead = calls * device.layer_s
                    if own_s >= 0:
                        overhead = device.call_s
                        if op == MOVE:
                            activation += own_s
                        else:
                            compute += own_s
                    else:
                        compute += outputs * output_s[max(choices.wide[w, a], choices.wide[w, b])]
                        if op in (MOVE, POOL):
                            activation += (columns.read[layer] * read + columns.written[layer] * written) * device.copy_s
                    terms.compute_s[layer, w, a, b] = compute
                    terms.weight_s[layer, w, a, b] = weight
                    terms.activation_s[layer, w, a, b] = activation
                    terms.overhead_s[layer, w, a, b] = overhead
                    terms.latency_s[layer, w, a, b] = compute + weight + activation + overhead


class _Mcu(HardwareClass):
    def price(self, question: Question, terms: Terms) -> Choices:
        price(
            question.columns,
            question.choices,
            question.ports,
            constants(question.device, question.workload, question.weight_bits),
            terms,
        )
        return question.choices


CLASS = _Mcu()
