"""Price of layers on a neural processor with a matrix unit, a vector unit beside it and a scratchpad that strips of feature maps
pass through (Qualcomm's Hexagon).

*Matrix unit*: multiply-accumulates of convolutions and matrix products at the device's rate. Channels of each group are filled up
to a quantum; groups narrower than the quantum share it, as a block-diagonal dense convolution. A convolution of a picture (up to
``PICTURE_CHANNELS`` channels) gathers the taps of its window into one long channel first.

*Vector unit*: everything else, in bytes of feature maps whose channels are filled up to the quantum, times how many passes of the
unit such a byte costs: each tap of a depthwise convolution, each tap of a pooling window, a softmax, a normalization, data
movement, a resampling. Its registers hold neighbours of a row, so a depthwise convolution that strides computes what lies between
two results of a row and drops it; rows between are left out. A plain element-wise operation is one pass, which is what
``vector_bytes_per_s`` counts. Element-wise work on a picture and its resampling are dear, because 32 channels are stored for its
three. A fused activation that is no clamp costs passes of its own. Feature maps lie in blocks of 8x8 pixels, and the unit passes
whole blocks; where there is one row or column of pixels (tokens), 64 of them are a block (Qualcomm AI Engine Direct
documentation, tensors and memory layout, tells of chunks; their size is assumed). In floating point all take
``float_passes`` times as long, but a softmax and a normalization, which compute in 16 bits or more whatever is stored, and data
movement, which computes nothing (the same documentation finds it as fast in half precision as in 16-bit integers).

*Scratchpad*: the compiler cuts feature maps that do not fit into strips and runs several layers strip by strip, so that only the
share ``strip_spill`` of what does not fit travels to external memory and back.

Starting a layer, matrix unit, vector unit and spilling take turns; weights arrive side by side with all of them, one layer's
after the other's. They may arrive before their layer begins, as many as a share of the scratchpad holds (``weights_ahead``): what
layers before it took longer than their own weights is a head start. Layers of the matrix unit start at a share of the time of
others (``matrix_start``). The network's input and output are exchanged with the host before and after, unpadded. The head start
of a layer under one choice is that in a network whose other layers have the same choice, so that layers stay independent.

*Elsewhere*: what the runtime hands to another processor (``npu.fallback``) splits the network there. What the layer reads and
writes is exchanged with the host, unpadded and as wide as it is computed there, the other processor makes its passes over it, and
the neural processor is started anew. Layers in a row that run elsewhere are taken to be apart, as the normalizations of a
transformer are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from hwmodels.classes.registry import HardwareClass, Question
from hwmodels.compiled import compiled
from hwmodels.device.device import Device
from hwmodels.device.sections.fallback import WORK
from hwmodels.device.sections.npu import Npu
from hwmodels.numbers import Precision
from hwmodels.pricing import handed_over
from hwmodels.pricing.columns import LOOKUP, Choices, Columns, Ports, Terms
from hwmodels.workload import Contract, Layer, Map, Move, Reduce, Workload

PICTURE_CHANNELS = 4
WIDE_BYTES = 2.0
"""Bytes of an element inside of a softmax or a normalization, however few are stored."""
BLOCK_SIDE = 8
"""Rows and columns of a block of pixels: with 32 channels of 8 bits it has 2 KiB."""

MATRIX, DEPTHWISE_TAP, MAP, PICTURE, MOVE, RESAMPLE, WINDOW_TAP, SOFTMAX, NORMALIZE, FUSED_LOOKUP, VIEW = range(11)
"""Kinds of work, in the order of ``HexagonConstants.passes``; the first one is the matrix unit's, the last one is nobody's."""


class HexagonConstants(NamedTuple):
    """Constants of a device for the widths on offer.

    Attributes:
        kind: ``int64[L]``, the kind of work of each layer.
        taps: ``int64[L]``, pixels that a result costs (``taps``).
        passes: ``float64[nW, nA, 11]``, passes of the vector unit for each kind of work by choice; 0 for the matrix unit
            and for views.
        pad: ``float64[nW, nA]``, quantum of channels by choice.
        native_bytes: ``float64[nW, nA]``, bytes of an activation in the precision that executes a choice.
        vector_s_per_byte: seconds of one pass.
        strip_spill: share of what does not fit into the scratchpad that leaves it.
        ahead_s: seconds that the weights take to arrive which may lie in the scratchpad before their layer begins.
        start_s: ``float64[L]``, seconds to start a layer.
        host_s_per_element: ``float64[nA]``.
        elsewhere_s: ``float64[L, nW, nA, 2]``, seconds of a layer on another processor and of what is exchanged with it; 0 for
            layers that stay.
        restart_s: seconds to start the neural processor behind such a layer.
    """

    kind: np.ndarray
    taps: np.ndarray
    passes: np.ndarray
    pad: np.ndarray
    native_bytes: np.ndarray
    vector_s_per_byte: float
    strip_spill: float
    ahead_s: float
    start_s: np.ndarray
    host_s_per_element: np.ndarray
    elsewhere_s: np.ndarray
    restart_s: float


class Kernel(NamedTuple):
    """What runs a layer: its kind of work, the pixels that a result costs, the granularity of channels, and bytes an element."""

    kind: int
    taps: int
    pad: float
    native_bytes: float


class Asked(NamedTuple):
    """What a layer asks of the device under one choice: filled-up multiply-accumulates, and bytes by who moves them.

    Attributes:
        macs: of the matrix unit.
        vector_bytes: of the vector unit, each of which costs the passes of the layer's kind.
        looked_up_bytes: that pass the vector unit for a fused activation.
        spilled_bytes: that do not fit into the scratchpad.
    """

    macs: float
    vector_bytes: float
    looked_up_bytes: float
    spilled_bytes: float


def constants(
    device: Device, workload: Workload, native: list[list[Precision]], tensor_bytes: np.ndarray, weight_s_per_byte: float
) -> HexagonConstants:
    """Constants of ``device`` for the choices that ``native[w][a]`` executes; ``tensor_bytes float64[nA]`` per element."""
    npu = device.own(Npu)
    assert npu.passes is not None
    assert npu.vector_bytes_per_s is not None
    in_float = np.where(np.isin(np.arange(VIEW + 1), (MOVE, SOFTMAX, NORMALIZE)), 1.0, npu.float_passes.value)
    passes = [[np.array(npu.passes.by_kind()) * (in_float if precision.is_float else 1.0) for precision in row] for row in native]
    pad = np.array([[npu.channel_pad[str(p)].value if str(p) in npu.channel_pad else 1.0 for p in row] for row in native])
    host = npu.host_bytes_per_s.value if npu.host_bytes_per_s is not None else math.inf
    onchip = device.memory.onchip.bytes if device.memory.onchip is not None else None
    ahead_bytes = npu.weights_ahead.value * onchip.value if npu.weights_ahead is not None and onchip is not None else 0.0
    kind, start_s = kinds(workload), device.overhead.layer_s.value
    return HexagonConstants(
        kind=kind,
        taps=taps(workload),
        passes=np.array(passes),
        pad=pad,
        native_bytes=np.array([[precision.activation_bits / 8 for precision in row] for row in native]),
        vector_s_per_byte=1 / npu.vector_bytes_per_s.value,
        strip_spill=npu.strip_spill.value,
        ahead_s=ahead_bytes * weight_s_per_byte,
        start_s=np.select([kind == MATRIX, kind == VIEW], [npu.matrix_start.value * start_s, 0.0], start_s),
        host_s_per_element=tensor_bytes / host,
        elsewhere_s=elsewhere_s(npu, workload, kind, native),
        restart_s=device.overhead.inference_s.value,
    )


def elsewhere_s(npu: Npu, workload: Workload, kind: np.ndarray, native: list[list[Precision]]) -> np.ndarray:
    """Seconds of every layer on another processor, and of what is exchanged with it: ``float64[L, nW, nA, 2]``, 0 where it
    stays."""
    found = np.zeros((len(workload.layers), len(native), len(native[0]), 2))
    if npu.fallback is None or npu.host_bytes_per_s is None:
        return found
    each = npu.fallback.element_bytes.value
    for row, w, a in np.ndindex(*found.shape[:3]):
        unheld = npu.fallback.operators.get(WORK[kind[row]]) if kind[row] < len(WORK) else None
        if unheld is None or str(native[w][a].activations) not in unheld.tensors:
            continue
        layer = workload.layers[row]
        made = workload.tensors[layer.output].elements
        exchanged = made + sum(workload.tensors[i].elements for i in layer.inputs)
        found[row, w, a] = (
            handed_over.seconds(npu.fallback, unheld, workload, layer),
            exchanged * each / npu.host_bytes_per_s.value,
        )
    return found


def kinds(workload: Workload) -> np.ndarray:
    """The kind of work of each layer: ``int64[L]``."""
    channels = [workload.tensors[layer.inputs[0]].channels for layer in workload.layers]
    return np.array([_kind(layer, count) for layer, count in zip(workload.layers, channels, strict=True)], dtype=np.int64)


def _kind(layer: Layer, channels: int) -> int:
    """The kind of work of a layer whose first operand has this many channels."""
    match layer.work:
        case Contract(form="channelwise"):
            return DEPTHWISE_TAP
        case Contract(groups=groups):
            return DEPTHWISE_TAP if groups == channels > 1 else MATRIX
        case Map():
            return PICTURE if channels <= PICTURE_CHANNELS else MAP
        case Reduce(is_softmax=True):
            return SOFTMAX
        case Reduce(is_normalization=True):
            return NORMALIZE
        case Reduce():
            return WINDOW_TAP
        case Move(how="copy" | "view"):
            return VIEW
        case Move(how="resize"):
            return PICTURE if channels <= PICTURE_CHANNELS else RESAMPLE
    return MOVE


def taps(workload: Workload) -> np.ndarray:
    """Pixels that a result of each layer costs: ``int64[L]``.

    Those of its window, 1 where that is everything at once; of a depthwise convolution also the windows of a row that a stride
    drops.
    """
    windows = [layer.work.kernel if isinstance(layer.work, Contract | Reduce) else None for layer in workload.layers]
    pixels = np.array([height * width for height, width in (window or (1, 1) for window in windows)], dtype=np.int64)
    strides = np.array([layer.stride for layer in workload.layers], dtype=np.int64)
    return pixels * np.where(kinds(workload) == DEPTHWISE_TAP, strides, 1)


@compiled(inline="always")
def _filled(channels: float, quantum: float) -> float:  # pragma: no cover - compiled
    return float(np.ceil(channels / quantum) * quantum)


@compiled(inline="always")
def in_blocks(height: float, width: float) -> float:  # pragma: no cover - compiled
    """Pixels of the blocks that a feature map takes over its own."""
    if height * width == 1:
        return 1.0
    if height == 1 or width == 1:
        return _filled(height * width, BLOCK_SIDE**2) / (height * width)
    return _filled(height, BLOCK_SIDE) * _filled(width, BLOCK_SIDE) / (height * width)


@compiled
def macs(columns: Columns, layer: int, taps: int, pad: float) -> float:
    """Multiply-accumulates of the matrix unit, those that only fill it up included."""
    pixels = columns.out_h[layer] * columns.out_w[layer]
    cin, cout, groups = columns.cin[layer], columns.cout[layer], columns.groups[layer]
    if cin <= PICTURE_CHANNELS:
        return float(pixels * _filled(PICTURE_CHANNELS * taps, pad) * _filled(cout, pad))
    apart = _filled(cin / groups, pad) * _filled(cout / groups, pad) * groups
    return float(pixels * taps * min(apart, _filled(cin, pad) * _filled(cout, pad)))


@compiled
def ask(columns: Columns, choices: Choices, layer: int, kernel: Kernel, a: int, b: int) -> Asked:  # pragma: no cover - compiled
    """What ``layer``, run by ``kernel``, asks of the device for input width ``a`` and output width ``b``.

    Arithmetic runs in the precision that executes the layer; only what merely passes the vector unit shrinks with its width.
    """
    kind, taps, pad, native_bytes = kernel
    wide_in = 1.0 if columns.host_read[layer] else _filled(columns.cin[layer], pad) / columns.cin[layer]
    wide_out = 1.0 if columns.host_written[layer] else _filled(columns.cout[layer], pad) / columns.cout[layer]
    read = columns.read[layer] * wide_in * choices.tensor_bytes[a]
    written = columns.written[layer] * wide_out * choices.tensor_bytes[b]
    outside = (choices.offchip_read[layer, a] - columns.host_read[layer]) * wide_in * choices.tensor_bytes[a]
    outside += (choices.offchip_written[layer, b] - columns.host_written[layer]) * wide_out * choices.tensor_bytes[b]
    blocks = in_blocks(columns.out_h[layer], columns.out_w[layer])
    computed = columns.written[layer] * wide_out * native_bytes
    looked_up = computed * blocks if columns.activation[layer] == LOOKUP else 0.0
    if kind == VIEW:
        return Asked(0.0, 0.0, 0.0, 0.0)
    if kind == MATRIX:
        return Asked(macs(columns, layer, taps, pad), 0.0, looked_up, outside)
    passed = written
    if kind == DEPTHWISE_TAP:
        passed = computed * taps
    if kind == WINDOW_TAP:
        passed = written * taps
    if kind in (MOVE, WINDOW_TAP):
        passed = max(read, passed)
    if kind in (SOFTMAX, NORMALIZE):
        passed = columns.written[layer] * wide_out * WIDE_BYTES
    return Asked(0.0, passed * blocks, looked_up, outside)


@compiled(inline="always")
def head_start(before_s: float, busy_s: float, arriving_s: float, ahead_s: float) -> float:  # pragma: no cover - compiled
    """How far weights are ahead of the work when a layer is done, from how far they were when it began."""
    return min(ahead_s, max(0.0, before_s + busy_s - arriving_s))


@compiled
def price(columns: Columns, choices: Choices, ports: Ports, device: HexagonConstants, terms: Terms) -> None:
    """Fill ``terms`` for every layer and choice (see ``columns.Terms``)."""
    layers, weights, widths = choices.weight_bytes.shape
    for w in range(weights):
        for a in range(widths):
            ahead = 0.0
            for layer in range(layers):
                kind = device.kind[layer]
                kernel = Kernel(kind, device.taps[layer], device.pad[w, a], device.native_bytes[w, a])
                arriving = choices.weight_bytes[layer, w, a] * ports.weight_s_per_byte
                if device.elsewhere_s[layer, w, a, 0] > 0.0:
                    away, exchanged = device.elsewhere_s[layer, w, a]
                    terms.compute_s[layer, w, a] = away
                    terms.weight_s[layer, w, a] = 0.0
                    terms.activation_s[layer, w, a] = exchanged
                    terms.overhead_s[layer, w, a] = device.restart_s
                    terms.latency_s[layer, w, a] = away + exchanged + device.restart_s
                    ahead = 0.0
                    continue
                alike = 0.0
                for b in range(widths):
                    asked = ask(columns, choices, layer, kernel, a, b)
                    passes = asked.vector_bytes * device.passes[w, a, kind]
                    passes += asked.looked_up_bytes * device.passes[w, a, FUSED_LOOKUP]
                    compute = asked.macs * choices.s_per_mac[w, a] + passes * device.vector_s_per_byte
                    spilled = asked.spilled_bytes * device.strip_spill * ports.dram_s_per_byte
                    host = columns.host_read[layer] * device.host_s_per_element[a]
                    host += columns.host_written[layer] * device.host_s_per_element[b]
                    busy = device.start_s[layer] + compute + spilled
                    terms.compute_s[layer, w, a, b] = compute
                    terms.weight_s[layer, w, a, b] = arriving
                    terms.activation_s[layer, w, a, b] = spilled + host
                    terms.overhead_s[layer, w, a, b] = device.start_s[layer]
                    terms.latency_s[layer, w, a, b] = max(busy, arriving - ahead) + host
                    if b == a:
                        alike = busy
                ahead = head_start(ahead, alike, arriving, device.ahead_s)


class _Hexagon(HardwareClass):
    def price(self, question: Question, terms: Terms) -> Choices:
        found = constants(
            question.device, question.workload, question.runs, question.choices.tensor_bytes, question.ports.weight_s_per_byte
        )
        price(question.columns, question.choices, question.ports, found, terms)
        return question.choices

    def processors(self, device: Device, workload: Workload, runs: list[list[Precision]]) -> list[list[list[str]]]:
        npu = device.own(Npu)
        away = elsewhere_s(npu, workload, kinds(workload), runs)[..., 0] > 0
        name = npu.fallback.processor if npu.fallback is not None else ""
        return [[[name if there else "" for there in row] for row in layer] for layer in away.tolist()]


CLASS = _Hexagon()
