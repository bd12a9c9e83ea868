"""Price of layers on a general-purpose processor: vector arithmetic in blocks of output channels, work per element, memory.

A convolution is computed for ``lanes`` output channels side by side (one vector register, or one panel of a matrix product), so
channels are padded to whole vectors. Up to ``shared_vectors`` of them share one pass over the inputs; a pass costs as much as
``pass_vectors`` further vectors (loads and broadcasts, or the patches that a matrix product gathers, which also takes ``tap_s``
for every tap of every pixel, however few channels it has). Few output channels are therefore dear: with 8 lanes, 4 shared vectors
and passes worth 3, one to 8 channels take 4/7 of the time of 32.

Where the layout is blocked (``blocked_inputs``), inputs of at least ``lanes`` channels are padded, too, and with fewer the kernel
reads planes: it goes over the outputs once for each of them, which takes as long as ``visit_taps`` taps. What a network converts
between the two layouts, and what is fused, tells ``onnxruntime_float``. A matrix product pads its columns, and takes as long
for an output as if ``visit_depth`` more products were summed. Depthwise layers and matrix products reach fractions of the rate.
No Winograd or FFT: ONNX Runtime uses neither.

Work per element is added: finishing an output (bias, requantization), element-wise arithmetic, copies, pixel shuffles (strided
copies), transposes, a slope that the kernel cannot fuse, a look-up, normalization and softmax as wholes (several operations each
in a file), conversions of layout, and those of the network's own input and output (codes from and to floats). All of it overlaps
with DRAM traffic; the call of each layer does not. The form was found by timing one-layer networks in ONNX Runtime (`hwsearch
devices calibrate host` times them again and fits the constants).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hwmodels.classes import onnxruntime_float
from hwmodels.classes.registry import HardwareClass, Question
from hwmodels.compiled import compiled
from hwmodels.device.device import Device
from hwmodels.device.sections.cpu import Cpu, CpuKernels
from hwmodels.numbers import Precision
from hwmodels.pricing.columns import CONV, DEPTHWISE, Choices, Columns, Ports, Terms
from hwmodels.pricing.memory import transfer
from hwmodels.workload import Contract, Layer, Map, Move, Reduce, Workload


class CpuConstants(NamedTuple):
    """Arrays by (weight, input) width, ``float64[nW, nA]``: vectors and their cost. ``products float64[L, nW, nA]``:
    multiply-accumulates in the time of matrix products, 0 for other layers; ``elements_s``, likewise: seconds of work per element
    of each layer; ``layer_s``: seconds per layer call."""

    lanes: np.ndarray
    shared_vectors: np.ndarray
    pass_vectors: np.ndarray
    blocked_inputs: np.ndarray
    visit_taps: np.ndarray
    depthwise: np.ndarray
    products: np.ndarray
    elements_s: np.ndarray
    layer_s: float


def constants(device: Device, workload: Workload, native: list[list[Precision]]) -> CpuConstants:
    """Constants of ``device`` for the choices that ``native[w][a]`` executes."""
    cpu = device.own(Cpu)
    known = {str(precision): cpu.kernels.get(str(precision), CpuKernels()) for row in native for precision in row}

    def table(name: str) -> np.ndarray:
        return np.array([[float(getattr(known[str(precision)], name)) for precision in row] for row in native])

    def by_layer(value: Callable[[Workload, CpuKernels], list[float]]) -> np.ndarray:
        each = {key: value(workload, kernel) for key, kernel in known.items()}
        return np.ascontiguousarray(np.moveaxis(np.array([[each[str(precision)] for precision in row] for row in native]), 2, 0))

    return CpuConstants(
        lanes=table("lanes"),
        shared_vectors=table("shared_vectors"),
        pass_vectors=table("pass_vectors"),
        blocked_inputs=table("blocked_inputs"),
        visit_taps=table("visit_taps"),
        depthwise=table("depthwise"),
        products=by_layer(_product_macs),
        elements_s=by_layer(_elements_s),
        layer_s=device.overhead.layer_s.value,
    )


def _layer_elements_s(workload: Workload, layer: Layer, kernel: CpuKernels) -> float:
    """Seconds of work per element in one layer, the network's input and output included where it reads or writes them."""
    inputs, output = [workload.tensors[i] for i in layer.inputs], workload.tensors[layer.output]
    ends = sum(t.elements for t in inputs if t.producer < 0) + (0 if output.readers else output.elements)
    seconds = ends * kernel.convert_s.value
    read, written = sum(t.elements for t in inputs), output.elements
    match layer.work:
        case Contract(kernel=(rows, columns)):
            taps = rows * columns
            if taps > 1 and not layer.channelwise:
                seconds += output.height * output.width * taps * kernel.tap_s.value
            seconds += written * kernel.output_s.value
            if layer.finish not in ("none", "clamp"):
                seconds += written * kernel.slope_s.value
        case Move(how="transpose" | "gather"):
            seconds += written * (kernel.transpose_s or kernel.shuffle_s).value
        case Move(how="view"):
            pass
        case Move(how="shuffle" | "resize"):
            seconds += written * kernel.shuffle_s.value
        case Move():
            seconds += written * kernel.copy_s.value
        case Map(function="function"):
            seconds += written * kernel.lookup_s.value
        case Map():  # sums, products, and functions that are a comparison and a product
            seconds += max(read, written) * kernel.elementwise_s.value
        case Reduce(passes=passes, keeps=keeps, function=function):
            whole = kernel.softmax_s if function == "function" else kernel.normalize_s
            a_pass = kernel.elementwise_s.value * passes
            seconds += max(read, written) * (whole.value if keeps and whole else a_pass)
    return seconds


def _product_macs(workload: Workload, kernel: CpuKernels) -> list[float]:
    """Multiply-accumulates that convolutions would do in the time of every matrix product: with columns padded to whole vectors,
    and ``visit_depth`` more for each output, at the fraction of the rate that products reach; 0 for other layers."""
    found = []
    for layer in workload.layers:
        output, lanes = workload.tensors[layer.output], kernel.lanes.value
        padded = output.elements / output.channels * math.ceil(output.channels / lanes) * lanes
        depth = layer.work.depth + kernel.visit_depth.value if isinstance(layer.work, Contract) and layer.product else 0.0
        found.append(padded * depth / kernel.product.value)
    return found


def _elements_s(workload: Workload, kernel: CpuKernels) -> list[float]:
    """Seconds of work per element in every layer, conversions of layout included."""
    own = [_layer_elements_s(workload, layer, kernel) for layer in workload.layers]
    if not (kernel.blocked_inputs and kernel.layout_s):
        return own
    found = onnxruntime_float.executed(workload, round(kernel.lanes.value))
    changes = [sum(workload.tensors[i].elements for i in rows) * kernel.layout_s.value for rows in found.converted]
    return [change + (0.0 if fused else s) for change, fused, s in zip(changes, found.fused, own, strict=True)]


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
                    macs = pixels * taps * padded / device.depthwise[w, a]
                elif device.products[layer, w, a] > 0:
                    macs = device.products[layer, w, a]
                elif op == CONV:
                    macs = dense_macs(columns, layer, w, a, device)
                compute = macs * choices.s_per_mac[w, a] + device.elements_s[layer, w, a]
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
