"""Execution of a quantized network with torch's floating-point convolutions on integer codes: the fast path of the search.

Tensors in integers are carried as ``code - zero point`` in float32, weights as their integers. For 8-bit tensors this is the
arithmetic of the "f32" rule (see ``quant.network.graph``), exact as long as accumulators stay below 2^24; beyond, and for
16-bit tensors, a code may differ by one from the integer engine now and then. That is so operator by operator: where a plan mixes
8 and 16 bits, one code of 8 bits that tips is 256 codes of 16 bits behind it. Nothing is differentiated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Graph, Memory, Node, apply, through_time
from searchspaces.ops.base import Op
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.maps.activation import LeakyRelu, Log, Pow, PRelu, Relu, Relu6, Rsqrt, Sqrt, activate
from searchspaces.ops.maps.elementwise import Div
from searchspaces.ops.state import Remember
from searchspaces.ops.table import OpTable


@dataclass(frozen=True, eq=False)
class Prepared:
    """A layer as torch runs it. For integers ``multiplier float32[1, O, 1, 1]`` takes accumulators to output codes (or, if
    the output is floating point, to real values); ``None`` for a layer in floating point."""

    node: Node
    multiplier: Tensor | None


def prepare(node: Node, layer: LayerIntegers | LayerFloats, source: TensorFormat, target: TensorFormat) -> Prepared:
    """Bring one convolution into the form that torch executes."""
    bias = torch.from_numpy(layer.bias.astype(np.float32))
    weight = torch.from_numpy(layer.weight.astype(np.float32))
    prepared = node.with_weights(weight=weight.flatten(1) if isinstance(node.op, Linear) else weight, bias=bias)
    if isinstance(layer, LayerFloats):
        return Prepared(prepared, None)
    real = np.float32(source.scale) * layer.scale.astype(np.float32)
    multiplier = real if target.is_float else real / np.float32(target.scale)
    shape = (-1,) if isinstance(node.op, Linear) else (1, -1, 1, 1)
    return Prepared(prepared.with_op(activation=None), torch.from_numpy(multiplier).view(shape))


def as_real(node: Node, layer: LayerIntegers | LayerFloats, source: TensorFormat) -> Node:
    """The layer with the real numbers that its integers stand for, behind an input of format ``source``."""
    shape = node.weights["weight"].shape
    weight, bias = layer.weight.astype(np.float32).reshape(shape), layer.bias.astype(np.float64)
    if isinstance(layer, LayerIntegers):
        weight = weight * layer.scale.reshape(-1, *[1] * (len(shape) - 1))
        bias = bias * source.scale * layer.scale
    return node.with_weights(weight=torch.from_numpy(weight), bias=torch.from_numpy(bias.astype(np.float32)))


@dataclass(frozen=True)
class Site:
    """One node as it is simulated: the formats of what it reads and writes, and what gives prepared layers."""

    node: Node
    before: list[TensorFormat]
    after: TensorFormat
    layer: Callable[[Node], Prepared]


UNDEFINED = (Div, Log, Pow, Rsqrt, Sqrt)
"""Operators that floating point has no number for somewhere: 0 / 0, roots and logarithms of what rounding took below zero."""


def of_decoded(node: Node, inputs: list[Tensor]) -> Tensor:
    """What a node without integers computes from decoded values; where that is undefined nothing, for no code stands for it."""
    found = apply(node, inputs)
    return found.nan_to_num_(nan=0.0, posinf=math.inf, neginf=-math.inf) if isinstance(node.op, UNDEFINED) else found


Simulation = Callable[[Site, list[Tensor]], Tensor]
SIMULATED: OpTable[Simulation] = OpTable("the simulation")
"""What a node writes, for what it reads, both as they are carried."""
SIMULATED.lacks("nobody knows what it computes", Unknown)


def simulate(
    graph: Graph,
    formats: Mapping[str, TensorFormat],
    layer: Callable[[Node], Prepared],
    x: Tensor,
) -> Tensor:
    """Output (real values) of the quantized network for ``x [N, C, H, W]`` in real values; of one
    with state for the N frames of a clip.

    Args:
        formats: node name -> format.
        layer: gives the prepared layer of a convolution.
    """
    graph = graph.at(*x.shape[2:])
    last_use = {source: node.name for node in graph.nodes for source in node.inputs}

    def run(x: Tensor, memory: Memory) -> Tensor:
        tensors: dict[str, Tensor] = {}
        for node in graph.nodes:
            inputs = [tensors[source] for source in node.inputs] if node.inputs else [x]
            step = SIMULATED.get(node.op)
            if step is None:
                raise ValueError(f"{node.name}: {SIMULATED.missing([node.op])[0]}")
            site = Site(node, [formats[source] for source in node.inputs], formats[node.name], layer)
            known = memory.get(node.name)
            tensors[node.name] = _kept(site, step(site, inputs)) if known is None else known
            if isinstance(node.op, Remember):
                memory[node.op.state] = tensors[node.name]
            for source in set(node.inputs):
                if last_use[source] == node.name:
                    del tensors[source]
        return formats[graph.output.name].real(tensors[graph.output.name])

    with torch.no_grad():
        return through_time(graph, x, run)


def simulated(quantized: QuantizedGraph, x: Tensor) -> Tensor:
    """Output (real values) of a network whose every number is decided, for ``x [N, C, H, W]`` in real values."""
    formats = quantized.formats

    def layer(node: Node) -> Prepared:
        return prepare(node, quantized.layers[node.name], formats[node.inputs[0]], formats[node.name])

    return simulate(quantized.graph, formats, layer, x)


def _kept(site: Site, value: Tensor) -> Tensor:
    """What is stored of what a node computes."""
    return site.after.projected(value) if site.after.projects(moved=site.node.op.moves) else value


@SIMULATED.register(Input)
def _input(site: Site, inputs: list[Tensor]) -> Tensor:
    return site.after.stored(inputs[0])


@SIMULATED.register(Op)
def _simulated(site: Site, inputs: list[Tensor]) -> Tensor:
    """Codes are moved as they are, where there is one format on both sides; everything else decodes, computes and encodes."""
    if site.node.op.moves:
        return apply(site.node, inputs)
    return site.after.stored(of_decoded(site.node, [f.real(t) for t, f in zip(inputs, site.before, strict=True)]))


@SIMULATED.register(Conv, Linear)
def _layer(site: Site, inputs: list[Tensor]) -> Tensor:
    node, after, prepared = site.node, site.after, site.layer(site.node)
    if prepared.multiplier is None:
        return after.stored(apply(prepared.node, [site.before[0].real(inputs[0])]))
    values = apply(prepared.node, inputs).mul_(prepared.multiplier)
    if after.is_float:
        return after.stored(activate(values, node.activation, node.weights))
    if isinstance(node.activation, PRelu | LeakyRelu):
        values = activate(values, node.activation, node.weights)
    elif node.activation is not None and not isinstance(node.activation, Relu | Relu6):
        raise ValueError(f"{node.name}: {node.activation.describe()} is fused, which no kernel does")
    # ReLU and ReLU6 are in the clamp.
    return values.round_().clamp_(after.qmin - after.zero_point, after.qmax - after.zero_point)
