"""A quantized network in the form in which a TFLite file holds it.

TFLite has no field for the lowest and highest code of a tensor. What it has are the ends of the container and three fused
activations, whose ends depend on the scale: RELU cuts below the zero point, RELU6 and RELU_N1_TO_1 at the codes of 6 and
of -1 and 1. The integer function of a convolution depends on scales only through ``s_x * s_w / s_y``, so a tensor that nothing
but convolutions write and read may be given another scale (a gauge), if the weights on both sides take the opposite factor. With
``s_y = 1 / n`` and codes moved to one end of the container, RELU_N1_TO_1 cuts exactly at n steps from the zero point: a narrow
tensor then costs nothing at run time. Where no gauge fits, the file has MAXIMUM and MINIMUM operators.

``form`` applies this to a network: ReLU and ReLU6 become bounds of codes, formats get gauge and position. Multipliers keep their
value up to the rounding of a float32 scale; where a power of two fits the gauge, exactly.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from hwsearch.quant.engine import requant
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.maps.activation import Relu, Relu6
from searchspaces.ops.maps.elementwise import Add

NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
"""Fused activations as the TFLite schema numbers them (``ActivationFunctionType``)."""
SAME, VALID = 0, 1
"""Padding of convolutions, likewise (``Padding``)."""


def container(fmt: TensorFormat) -> tuple[int, int]:
    """Lowest and highest code that the container of a format holds."""
    return 0, fmt.grid.last_code


def fused_bounds(activation: int, fmt: TensorFormat) -> tuple[int, int]:
    """Lowest and highest code that an operator with a fused activation writes, as TFLite derives them from the scale."""
    low, high = container(fmt)
    steps = {RELU_N1_TO_1: 1.0, RELU6: 6.0}
    if activation in (RELU, RELU6):
        low = max(low, fmt.zero_point)
    if activation in steps:
        reach = math.floor(float(np.float32(steps[activation]) / np.float32(fmt.scale)) + 0.5)
        high = min(high, fmt.zero_point + reach)
        if activation == RELU_N1_TO_1:
            low = max(low, fmt.zero_point - reach)
    return low, high


def fused_activation(fmt: TensorFormat) -> int | None:
    """The fused activation that writes exactly the codes of a format, or None if there is none."""
    wanted = (fmt.qmin, fmt.qmax)
    return next((kind for kind in (NONE, RELU, RELU6, RELU_N1_TO_1) if fused_bounds(kind, fmt) == wanted), None)


def _bounded(qgraph: QuantizedGraph) -> QuantizedGraph:
    """ReLU and ReLU6 of layers and additions as bounds of their codes."""
    formats, nodes = dict(qgraph.formats), {}
    for node in qgraph.graph.nodes:
        if isinstance(node.op, Conv | Linear | Add) and isinstance(node.activation, Relu | Relu6):
            low, high = requant.bounds(node, formats[node.name])
            formats[node.name] = replace(formats[node.name], qmin=low, qmax=high)
            nodes[node.name] = node.with_op(activation=None)
    return replace(qgraph, graph=qgraph.graph.replaced(nodes), formats=formats)


def _free_groups(graph: Graph) -> list[list[Node]]:
    """Members of the quantizer groups that nothing but convolutions write and read, apart from moves."""
    groups = graph.quantizer_groups()
    pinned = {groups[graph.input.name], groups[graph.output.name]}
    members: dict[str, list[Node]] = {}
    for node in graph.nodes:
        members.setdefault(groups[node.name], []).append(node)
        if not (isinstance(node.op, Conv) or node.op.moves):
            pinned |= {groups[name] for name in (node.name, *node.inputs)}
    return [nodes for leader, nodes in members.items() if leader not in pinned]


def _gauge(fmt: TensorFormat) -> TensorFormat:
    """The format with the same codes, moved and rescaled so that RELU_N1_TO_1 writes them and no others."""
    down, up = fmt.zero_point - fmt.qmin, fmt.qmax - fmt.zero_point
    move = -fmt.qmin if down <= up else container(fmt)[1] - fmt.qmax
    steps = max(down, up)
    scale = fmt.scale * 2.0 ** round(math.log2(1 / (steps * fmt.scale)))
    if abs(1 / scale - steps) > 0.49:
        scale = float(np.float32(1 / steps))
    return replace(fmt, scale=scale, zero_point=fmt.zero_point + move, qmin=fmt.qmin + move, qmax=fmt.qmax + move)


def form(qgraph: QuantizedGraph, rule: str) -> QuantizedGraph:
    """The network as the file holds it, to be executed under ``rule``.

    The engine runs the result as it runs any other network; its codes are those of the runtime, tensor by tensor.
    """
    bounded = _bounded(qgraph)
    graph, formats = bounded.graph, dict(bounded.formats)
    factors = dict.fromkeys(formats, 1.0)
    for nodes in _free_groups(graph):
        written = [formats[node.name] for node in nodes if isinstance(node.op, Conv)]
        narrow = [f for f in written if not f.is_wide and not f.is_float and f.qmin < f.qmax and fused_activation(f) is None]
        if not narrow:
            continue
        gauged = _gauge(narrow[0])
        move = gauged.zero_point - narrow[0].zero_point
        if any(f.qmin + move < 0 or f.qmax + move > f.grid.last_code for f in written):
            continue
        for node in nodes:
            old = formats[node.name]
            factors[node.name] = gauged.scale / old.scale
            formats[node.name] = replace(
                old,
                scale=gauged.scale,
                zero_point=old.zero_point + move,
                qmin=max(old.qmin + move, 0),
                qmax=min(old.qmax + move, old.grid.last_code),
            )
    layers = dict(bounded.layers)
    for node in graph.convs:
        layer, factor = layers[node.name], factors[node.name] / factors[node.inputs[0]]
        if isinstance(layer, LayerIntegers) and factor != 1:
            layers[node.name] = replace(layer, scale=(layer.scale.astype(np.float64) * factor).astype(np.float32))
    return QuantizedGraph(graph, formats, layers, rule)
