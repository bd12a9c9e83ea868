"""What the class kernels read and write, as plain arrays: layer columns, widths on offer, memory ports, and the terms of the
price.

L layers, nW weight widths, nA activation widths. Kernels get these tuples and fill ``Terms``; they know no device, no names, no
files.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.workload import Contract, Layer, Map, Reduce, Workload

CONV, DEPTHWISE, LINEAR, ELEMENTWISE, POOL, MOVE = range(6)
"""Codes of work: convolution, depthwise, matrix product, element-wise, many values to one, data movement."""
PLAIN, RELU, LOOKUP = range(3)
"""Fused activations: none; a clamp; anything that needs a slope or a table."""

OWN_PORT, WITH_DRAM, WITH_ONCHIP = range(3)
"""Where weights come from: a memory of their own (flash), the DRAM of the feature maps, or the on-chip memory."""


class Columns(NamedTuple):
    """One value a layer, all ``int64[L]``: multiply-accumulates, channels, kernel, output size, and elements read and written.

    ``cin`` and ``cout`` count all channels; a group has ``cin / groups``. ``read`` sums all inputs. ``host_read`` and
    ``host_written``: elements of the network's input, counted once, and of its output. ``fused``: elements that an addition
    need not move when it is done by the convolution that produces one of its operands (0 where that is impossible).
    """

    op: np.ndarray
    macs: np.ndarray
    cin: np.ndarray
    cout: np.ndarray
    kernel_h: np.ndarray
    kernel_w: np.ndarray
    groups: np.ndarray
    out_h: np.ndarray
    out_w: np.ndarray
    read: np.ndarray
    written: np.ndarray
    activation: np.ndarray
    host_read: np.ndarray
    host_written: np.ndarray
    fused: np.ndarray


class Choices(NamedTuple):
    """What the widths on offer mean on the device.

    Attributes:
        s_per_mac: ``float64[nW, nA]``, seconds per MAC of the native precision that executes (weight, input) widths,
            unpacking of narrower weights included.
        wide: ``int64[nW, nA]``, 1 where that precision has more than 8 activation bits.
        tensor_bytes: ``float64[nA]``, bytes of one stored element.
        weight_bytes: ``float64[L, nW, nA]``, weight bytes moved for one inference.
        offchip_read, offchip_written: ``float64[L, nA]``, elements that pass the external memory when the tensor has that width.
    """

    s_per_mac: np.ndarray
    wide: np.ndarray
    tensor_bytes: np.ndarray
    weight_bytes: np.ndarray
    offchip_read: np.ndarray
    offchip_written: np.ndarray


class Ports(NamedTuple):
    """Seconds per byte of each memory (0: not a limit), and which one the weights share."""

    onchip_s_per_byte: float
    dram_s_per_byte: float
    weight_s_per_byte: float
    weight_port: int


class Terms(NamedTuple):
    """The price of every (layer, weight width, input width, output width), ``float64[L, nW, nA, nA]`` each, in seconds."""

    compute_s: np.ndarray
    weight_s: np.ndarray
    activation_s: np.ndarray
    overhead_s: np.ndarray
    latency_s: np.ndarray

    @classmethod
    def empty(cls, layers: int, weights: int, activations: int) -> Terms:
        return cls(*(np.zeros((layers, weights, activations, activations)) for _ in cls._fields))


def columns(workload: Workload) -> Columns:
    """The layer columns of a workload."""
    rows, arrived = [], set[int]()
    for i, layer in enumerate(workload.layers):
        source, target = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
        read = sum(workload.tensors[i].elements for i in layer.inputs)
        if layer.moves("slice"):
            read = target.elements
        if isinstance(layer.work, Reduce):
            read *= layer.work.passes
        fresh = {t for t in layer.inputs if workload.tensors[t].producer < 0} - arrived
        arrived |= fresh
        activation = PLAIN if layer.finish == "none" else RELU if layer.finish == "clamp" else LOOKUP
        rows.append(
            (
                _code(layer, source.channels),
                layer.macs,
                source.channels,
                target.channels,
                *layer.kernel,
                layer.groups,
                target.height,
                target.width,
                read,
                target.elements,
                activation,
                sum(workload.tensors[t].elements for t in fresh),
                0 if target.readers else target.elements,
                _fused(workload, i),
            )
        )
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(Columns._fields))
    return Columns(*(np.ascontiguousarray(column) for column in table.T))


def _fused(workload: Workload, row: int) -> int:
    """Elements that a layer neither reads nor writes when the convolution that makes one of its operands adds the other one.

    Possible for an addition of two tensors of one shape, one of which comes from a plain convolution that nobody else reads:
    the sum is written in place of the convolution's own result.
    """
    layer = workload.layers[row]
    shapes = {(t.channels, t.height, t.width) for t in (workload.tensors[i] for i in (*layer.inputs, layer.output))}
    if not layer.maps("add") or len(set(layer.inputs)) != 2 or len(shapes) > 1:
        return 0
    for tensor in (workload.tensors[i] for i in layer.inputs):
        made_by = workload.layers[tensor.producer] if tensor.producer >= 0 else None
        plain = made_by is not None and isinstance(made_by.work, Contract) and made_by.work.form == "window"
        if plain and made_by is not None and made_by.finish == "none" and tensor.readers == (row,):
            return 2 * tensor.elements
    return 0


def _code(layer: Layer, channels: int) -> int:
    match layer.work:
        case Contract(form="product"):
            return LINEAR
        case Contract(form="channelwise"):
            return DEPTHWISE
        case Contract(groups=groups):
            return DEPTHWISE if groups == channels > 1 else CONV
        case Reduce():
            return POOL
        case Map():
            return ELEMENTWISE
    return MOVE
