"""Price of layers on a general-purpose processor: vector arithmetic in blocks of output channels, work per element, memory.

A convolution is computed for ``lanes`` output channels side by side (one vector register, or one panel of a matrix product), so
channels are padded to whole vectors. Up to ``shared_vectors`` of them share one pass over the inputs; a pass costs as much as
``pass_vectors`` further vectors (loads and broadcasts, or the patches that a matrix product gathers, which also takes ``tap_s``
for every row of taps of every pixel, however few channels it has). Few output channels are therefore dear: with 8 lanes, 4 shared
vectors and passes worth 3, one to 8 channels take 4/7 of the time of 32.

Where the layout is blocked (``blocked_inputs``), inputs of at least ``lanes`` channels are padded, too, and with fewer the kernel
reads planes: it goes over the outputs once for each of them, which takes as long as ``visit_taps`` taps. What a network converts
between the two layouts, and what is fused, tells ``onnxruntime_float``. A matrix product pads its columns, and takes as long
for an output as if ``visit_depth`` more products were summed. Depthwise layers and matrix products reach fractions of the rate.
No Winograd or FFT: ONNX Runtime uses neither.

Work per element is added: finishing an output (bias, requantization), element-wise arithmetic, copies, pixel shuffles (strided
copies), transposes, a slope that the kernel cannot fuse, a look-up, normalization and softmax as wholes, conversions of layout,
and those of the network's own input and output; what a layer has of each tells ``onnxruntime_work``. A layer whose tensors are
too large for the core's own cache waits for the last one, besides. Patches of codes are gathered for a whole picture at once, and
what of them the last cache does not keep is written to DRAM and read again. Other traffic with DRAM overlaps with work; the call
of each layer does not. The form was found by timing one-layer networks in ONNX Runtime (`hwsearch devices calibrate host` times
them again and fits the constants) and by its profiles of whole networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hwmodels.classes.onnxruntime_work import SECONDS, Counted, Same, counted
from hwmodels.classes.registry import HardwareClass, Question
from hwmodels.compiled import compiled
from hwmodels.device.device import Device
from hwmodels.device.sections.cpu import Cpu, CpuKernels
from hwmodels.device.values import Quantity
from hwmodels.numbers import Precision
from hwmodels.pricing.columns import CONV, DEPTHWISE, Choices, Columns, Ports, Terms
from hwmodels.pricing.memory import transfer
from hwmodels.workload import Workload

NEAR_BYTES = float(1 << 20)
"""Bytes of a layer's tensors that a core's own cache hands over as fast as they are worked on: the second level has 1 to 2 MiB in
the cores of present servers and desktops. The rest passes the last level, the device's on-chip memory."""


class CpuConstants(NamedTuple):
    """Arrays by (weight, input) width, ``float64[nW, nA]``: vectors and their cost. By layer too, ``float64[L, nW, nA]``:
    ``products``, multiply-accumulates in the time of matrix products and of kept sums, 0 for other layers; ``elements_s``,
    seconds of work per element; ``patches``, values that are gathered as a whole before they are multiplied; ``idle``, whether
    nothing is moved; ``calls``, how many operators run. ``layer_s``: seconds for each; ``cache_bytes``: of the last cache."""

    lanes: np.ndarray
    shared_vectors: np.ndarray
    pass_vectors: np.ndarray
    blocked_inputs: np.ndarray
    visit_taps: np.ndarray
    depthwise: np.ndarray
    products: np.ndarray
    elements_s: np.ndarray
    patches: np.ndarray
    idle: np.ndarray
    calls: np.ndarray
    layer_s: float
    cache_bytes: float


def constants(device: Device, workload: Workload, native: list[list[Precision]]) -> CpuConstants:
    """Constants of ``device`` for the choices that ``native[w][a]`` executes."""
    cpu = device.own(Cpu)
    known = {str(precision): cpu.kernels.get(str(precision), CpuKernels()) for row in native for precision in row}
    floats = {str(precision): precision.is_float for row in native for precision in row}
    work = {
        key: counted(Same(workload), kernel.lanes.value, _has_blocks(kernel), not floats[key]) for key, kernel in known.items()
    }

    def table(name: str) -> np.ndarray:
        return np.array([[float(getattr(known[str(precision)], name)) for precision in row] for row in native])

    def by_layer(value: Callable[[CpuKernels, Counted], np.ndarray]) -> np.ndarray:
        each = {key: value(kernel, work[key]) for key, kernel in known.items()}
        return np.ascontiguousarray(np.moveaxis(np.array([[each[str(precision)] for precision in row] for row in native]), 2, 0))

    cache = device.memory["onchip"].bytes if "onchip" in device.memory else None
    return CpuConstants(
        lanes=table("lanes"),
        shared_vectors=table("shared_vectors"),
        pass_vectors=table("pass_vectors"),
        blocked_inputs=table("blocked_inputs"),
        visit_taps=table("visit_taps"),
        depthwise=table("depthwise"),
        products=by_layer(
            lambda kernel, of: of.sums + (of.products + of.outputs * kernel.visit_depth.value) / _reached(kernel, of)
        ),
        elements_s=by_layer(lambda kernel, of: _seconds(kernel) @ of.elements),
        patches=by_layer(lambda kernel, of: of.patches * (kernel.tap_s.value > 0)),
        idle=by_layer(lambda kernel, of: of.idle),
        calls=by_layer(lambda kernel, of: of.calls),
        layer_s=device.overhead.layer_s.value,
        cache_bytes=cache.value if cache is not None else np.inf,
    )


def _reached(kernel: CpuKernels, of: Counted) -> np.ndarray:
    """Fractions of the rate, ``float64[L]``, that matrix products reach."""
    dense = kernel.product if kernel.dense is None else kernel.dense
    return np.where(of.dense, dense.value, kernel.product.value)


def _has_blocks(kernel: CpuKernels) -> bool:
    return bool(kernel.blocked_inputs and kernel.layout_s)


def _seconds(kernel: CpuKernels) -> np.ndarray:
    """The constants ``SECONDS``; of those that a device does not state, what stands for them."""
    twice = Quantity(value=2 * kernel.elementwise_s.value)  # two passes
    instead = {"layout_s": Quantity(value=0.0), "transpose_s": kernel.shuffle_s, "normalize_s": twice, "softmax_s": twice}
    stated = {name: getattr(kernel, name) for name in SECONDS}
    return np.array([float(instead[name] if value is None else value) for name, value in stated.items()])


@compiled
def dense_macs(columns: Columns, layer: int, w: int, a: int, device: CpuConstants) -> float:
    """Multiply-accumulates of a dense convolution as the vector unit counts them: padding, and passes over inputs or outputs.

    Nine channels with 8 lanes are two vectors, which share one pass; with passes worth 3 vectors they cost what (2 + 3) * 8 = 40
    channels would without any.
    """
    lanes, groups = device.lanes[w, a], columns.groups[layer]
    pixels, taps = columns.out_h[layer] * columns.out_w[layer], columns.kernel_h[layer] * columns.kernel_w[layer]
    inputs, outputs = columns.cin[layer] / groups, columns.cout[layer] / groups
    vectors = np.ceil(outputs / lanes)
    if device.blocked_inputs[w, a] > 0:
        if inputs < lanes:
            return float(groups * pixels * inputs * lanes * vectors * (taps + device.visit_taps[w, a]))
        inputs = np.ceil(inputs / lanes) * lanes
    passes = np.ceil(vectors / device.shared_vectors[w, a])
    return float(groups * (pixels * taps * inputs * lanes * (vectors + passes * device.pass_vectors[w, a])))


@compiled
def price(columns: Columns, choices: Choices, ports: Ports, device: CpuConstants, terms: Terms) -> None:
    """Fill ``terms`` for every layer and choice (see ``columns.Terms``)."""
    layers, weights, widths = choices.weight_bytes.shape
    for layer in range(layers):
        op = columns.op[layer]
        pixels, taps = columns.out_h[layer] * columns.out_w[layer], columns.kernel_h[layer] * columns.kernel_w[layer]
        for w in range(weights):
            for a in range(widths):
                macs = 0.0
                if op == DEPTHWISE:
                    padded = np.ceil(columns.cout[layer] / device.lanes[w, a]) * device.lanes[w, a]
                    macs = pixels * (taps + device.visit_taps[w, a]) * padded / device.depthwise[w, a]
                elif device.products[layer, w, a] > 0:
                    macs = device.products[layer, w, a]
                elif op == CONV:
                    macs = dense_macs(columns, layer, w, a, device)
                compute = macs * choices.s_per_mac[w, a] + device.elements_s[layer, w, a]
                gathered = device.patches[layer, w, a] * choices.tensor_bytes[a]
                compute += 2 * max(gathered - device.cache_bytes, 0.0) * ports.dram_s_per_byte  # written and read again
                moved = 1.0 - device.idle[layer, w, a]
                call = device.layer_s * device.calls[layer, w, a]
                for b in range(widths):
                    read, written = choices.tensor_bytes[a], choices.tensor_bytes[b]
                    weight, activation, together = transfer(
                        0.0,
                        moved * (choices.offchip_read[layer, a] * read + choices.offchip_written[layer, b] * written),
                        choices.weight_bytes[layer, w, a],
                        ports,
                    )
                    through = moved * (columns.read[layer] * read + columns.written[layer] * written)
                    near = max(through - NEAR_BYTES, 0.0) * ports.onchip_s_per_byte
                    terms.compute_s[layer, w, a, b] = compute
                    terms.weight_s[layer, w, a, b] = weight
                    terms.activation_s[layer, w, a, b] = max(activation, near)
                    terms.overhead_s[layer, w, a, b] = call
                    terms.latency_s[layer, w, a, b] = max(compute + near, together) + call


class _Cpu(HardwareClass):
    def price(self, question: Question, terms: Terms) -> Choices:
        price(
            question.columns,
            question.choices,
            question.ports,
            constants(question.device, question.workload, question.runs),
            terms,
        )
        return question.choices


CLASS = _Cpu()
