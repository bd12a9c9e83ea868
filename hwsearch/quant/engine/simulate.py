"""Execution of a quantized network with torch's floating-point convolutions on integer codes: the fast path of the search.

Tensors in integers are carried as ``code - zero point`` in float32, weights as their integers. For 8-bit tensors this is the
arithmetic of the "f32" rule (see ``hwsearch.quant.graph``), exact as long as accumulators stay below 2^24; beyond, and for
16-bit tensors, a code may differ by one from the integer engine now and then. Nothing is differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hwsearch.quant.formats import TensorFormat
from hwsearch.quant.graph import LayerFloats, LayerIntegers
from searchspaces.ir.graph import VIEWS, Graph, Node, activate, apply


@dataclass(frozen=True, eq=False)
class Prepared:
    """A layer as torch runs it. For integers ``multiplier float32[1, O, 1, 1]`` takes accumulators to output codes (or, if
    the output is floating point, to real values); ``None`` for a layer in floating point."""

    node: Node
    multiplier: Tensor | None


def prepare(node: Node, layer: LayerIntegers | LayerFloats, source: TensorFormat, target: TensorFormat) -> Prepared:
    """Bring one convolution into the form that torch executes."""
    bias = torch.from_numpy(layer.bias.astype(np.float32))
    prepared = node.with_weights(weight=torch.from_numpy(layer.weight.astype(np.float32)), bias=bias)
    if isinstance(layer, LayerFloats):
        return Prepared(prepared, None)
    real = np.float32(source.scale) * layer.scale.astype(np.float32)
    multiplier = real if target.is_float else real / np.float32(target.scale)
    bare = Node(node.name, "conv", node.inputs, {**node.attrs, "activation": "none"}, prepared.weights)
    return Prepared(bare, torch.from_numpy(multiplier).view(1, -1, 1, 1))


def simulate(
    graph: Graph,
    formats: Mapping[str, TensorFormat],
    layer: Callable[[Node], Prepared],
    x: Tensor,
) -> Tensor:
    """Output ``[N, C, H, W]`` (real values) of the quantized network for ``x`` in real values.

    Args:
        formats: node name -> format.
        layer: gives the prepared layer of a convolution.
    """
    last_use = {source: node.name for node in graph.nodes for source in node.inputs}
    tensors: dict[str, Tensor] = {}
    with torch.no_grad():
        for node in graph.nodes:
            inputs = [tensors[source] for source in node.inputs]
            before = [formats[source] for source in node.inputs]
            tensors[node.name] = _step(node, inputs, before, formats[node.name], layer, x)
            for source in set(node.inputs):
                if last_use[source] == node.name:
                    del tensors[source]
        return formats[graph.output.name].real(tensors[graph.output.name])


def _step(
    node: Node,
    inputs: list[Tensor],
    before: list[TensorFormat],
    after: TensorFormat,
    layer: Callable[[Node], Prepared],
    x: Tensor,
) -> Tensor:
    if node.op == "input":
        return after.stored(x)
    if node.op in VIEWS or node.op == "concat":
        return apply(node, inputs)  # one format on both sides: codes are moved as they are
    if node.op != "conv":
        return after.stored(apply(node, [f.real(t) for t, f in zip(inputs, before, strict=True)]))
    prepared = layer(node)
    if prepared.multiplier is None:
        return after.stored(apply(prepared.node, [before[0].real(inputs[0])]))
    values = apply(prepared.node, inputs).mul_(prepared.multiplier)
    if after.is_float:
        return after.stored(activate(values, node.activation, node))
    if node.activation == "prelu":
        values = F.prelu(values, node.weights["slope"])
    elif node.activation == "leaky_relu":
        values = F.leaky_relu(values, node.attrs["slope"])
    # ReLU and ReLU6 are in the clamp.
    return values.round_().clamp_(after.qmin - after.zero_point, after.qmax - after.zero_point)
