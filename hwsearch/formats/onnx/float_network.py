"""The network in single precision: one ONNX node for each canonical operation, two where an activation is fused.

Tensors are called as the nodes of the canonical graph, weights ``LAYER.weight`` and ``LAYER.bias``. The flavours that are single
precision with quantizers between (TensorRT, QONNX) derive from the writer: they say what becomes of weights and of stored
tensors. As a format of its own it is for tools that take widths from a file beside the network (AIMET, Core ML, ncnn).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from hwsearch.documents.files import write_bytes
from hwsearch.formats.onnx.writer import Writer
from hwsearch.quant.engine.integer import same_grid
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, QuantizedGraph
from hwsearch.quant.ranges.ranges import clamped, format_source
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.input import Input


class FloatWriter(Writer):
    """Writes a graph; ``values[name]`` is the ONNX tensor that readers of a graph node's tensor read."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.values: dict[str, str] = {}

    def weights(self, node: Node) -> list[str]:
        """Weight and bias of a convolution."""
        weight = self.weight(node, node.weights["weight"].detach().numpy())
        bias = node.weights.get("bias")
        return [weight] if bias is None else [weight, self.const(bias.detach().numpy(), name=f"{node.name}.bias")]

    def stored(self, node: Node, x: str) -> str:
        """What readers read of the tensor ``x`` that a node has computed."""
        return x

    def write_all(self) -> None:
        """Append every node and name the result "output"."""
        for node in self.graph.nodes:
            x = "input" if isinstance(node.op, Input) else self._compute(node, [self.values[name] for name in node.inputs])
            self.values[node.name] = self.stored(node, x)
        self.op("Identity", [self.values[self.graph.output.name]], "output")

    def _compute(self, node: Node, xs: list[str]) -> str:
        name = node.name if node.activation is None else f"{node.name}.before"
        return self.activate(self.written(node, xs, name), node, node.activation, node.name)


def real_parameters(qgraph: QuantizedGraph, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Weight ``float32[O, I/groups, kh, kw]`` and bias ``float32[O]`` for which a layer's integers stand."""
    layer, source = qgraph.layers[name], qgraph.formats[qgraph.graph[name].inputs[0]]
    if isinstance(layer, LayerFloats):
        return layer.weight, layer.bias
    bias = layer.bias * (layer.scale.astype(np.float64) * source.scale)
    return layer.weight.astype(np.float32) * layer.scale[:, None, None, None], bias.astype(np.float32)


class RoundedWriter(FloatWriter):
    """With the weights that a plan's integers stand for."""

    def __init__(self, qgraph: QuantizedGraph) -> None:
        super().__init__(qgraph.graph)
        self.qgraph = qgraph

    def weights(self, node: Node) -> list[str]:
        weight, bias = real_parameters(self.qgraph, node.name)
        return [self.weight(node, weight), self.const(bias, name=f"{node.name}.bias")]


class QuantizingWriter(RoundedWriter):
    """With a quantizer behind every integer tensor that is computed. Views have none: their values lie on their source's grid."""

    def quantizer(self, x: str, fmt: TensorFormat) -> str:
        """The values ``x`` on the grid of a format, in single precision."""
        raise NotImplementedError

    def stored(self, node: Node, x: str) -> str:
        formats = self.qgraph.formats
        fmt = formats[node.name]
        if fmt.is_float or (node.op.moves and all(same_grid(formats[source], fmt) for source in node.inputs)):
            return x
        whole = replace(fmt, qmin=0, qmax=(1 << fmt.bits) - 1)
        if fmt != clamped(whole, format_source(self.graph, node)):  # bounds that no activation explains
            low, high = ((code - fmt.zero_point) * fmt.scale for code in (fmt.qmin, fmt.qmax))
            x = self.op("Clip", [x, self.const(low), self.const(high)])
        return self.quantizer(x, fmt)


def to_float_model(graph: Graph) -> onnx.ModelProto:
    """The traced network as an ONNX model in memory: what a quantized one is compared with for speed.

    Raises:
        ValueError: an operation that the canonical graph does not know.
    """
    writer = FloatWriter(graph)
    writer.write_all()
    return writer.model(graph)


def to_rounded_model(qgraph: QuantizedGraph, metadata: Mapping[str, Any] | None = None) -> onnx.ModelProto:
    """The network in single precision with the weights that its integers stand for."""
    writer = RoundedWriter(qgraph)
    writer.write_all()
    return writer.model(qgraph.graph, metadata)


def export(qgraph: QuantizedGraph, path: str | Path, *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write ``to_rounded_model``, whole or not at all.

    Raises:
        FileError: ``path`` cannot be written.
    """
    return write_bytes(Path(path), to_rounded_model(qgraph, metadata).SerializeToString())
