"""ONNX files for TensorRT's explicit quantization: int8 QuantizeLinear and DequantizeLinear around a network in single precision.

What TensorRT asks of such files (its documentation, "Explicit Quantization"; not executed here, there is no GPU in the tests):
every zero point is 0, so that tensors are signed int8 also behind a ReLU; scales are positive constants, one per tensor, and for
weights one per output channel (axis 0); biases stay in single precision; integer operations (QLinearConv, ConvInteger) and uint8
are not read. ``violations`` checks all of that. Layers and tensors in half precision have no quantizers: build the engine with
FP16 enabled. Views carry no quantizers, for their values lie on the grid of their source.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from hwmodels.errors import FileError
from hwmodels.numbers import INT8
from hwsearch.documents.files import write_bytes
from hwsearch.formats.onnx.float_network import QuantizingWriter, real_parameters
from hwsearch.formats.writing.check import check
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Node

FORBIDDEN = ("QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "DynamicQuantizeLinear")


class TensorRTWriter(QuantizingWriter):
    """Quantizers behind everything that computes; weights as int8 constants."""

    def weights(self, node: Node) -> list[str]:
        layer = self.qgraph.layers[node.name]
        weight, bias = real_parameters(self.qgraph, node.name)
        bias_name = self.const(bias, name=f"{node.name}.bias")
        if not isinstance(layer, LayerIntegers):
            halves = self.weight(node, weight, np.float16)
            return [self.cast(halves, TensorProto.FLOAT), bias_name]
        codes = self.weight(node, layer.weight, np.int8)
        zeros = self.const(np.zeros(len(layer.scale)), np.int8)
        scale = self.const(layer.scale, name=f"{node.name}.weight_scale")
        return [self.op("DequantizeLinear", [codes, scale, zeros], axis=0), bias_name]

    def quantizer(self, x: str, fmt: TensorFormat) -> str:
        grid = [self.const(fmt.scale), self.const(0, np.int8)]
        return self.op("DequantizeLinear", [self.op("QuantizeLinear", [x, *grid]), *grid])


def to_model(qgraph: QuantizedGraph, metadata: Mapping[str, Any] | None = None) -> onnx.ModelProto:
    """The network as an ONNX model in memory, checked by ``onnx.checker`` and by ``violations``.

    Raises:
        FileError: values that make no correct file, or formats that TensorRT does not read (see ``promote``).
    """
    check(qgraph)
    writer = TensorRTWriter(qgraph)
    writer.write_all()
    model = writer.model(qgraph.graph, metadata)
    if wrong := violations(model) + _unheld(qgraph):
        raise FileError("TensorRT would refuse this network:\n" + "\n".join(f"  - {line}" for line in wrong))
    return model


def export(qgraph: QuantizedGraph, path: str | Path, *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write ``to_model``, whole or not at all.

    Raises:
        FileError: see ``to_model``, or ``path`` cannot be written.
    """
    return write_bytes(Path(path), to_model(qgraph, metadata).SerializeToString())


def _unheld(qgraph: QuantizedGraph) -> list[str]:
    """Tensors whose grid is not that of a symmetric int8."""
    return [
        f"tensor {name!r} is not symmetric in 8 bits"
        for name, fmt in qgraph.formats.items()
        if not fmt.is_float and (fmt.number, fmt.zero_point) != (INT8, INT8.middle)
    ]


def violations(model: onnx.ModelProto) -> list[str]:
    """What in a QDQ file breaks a rule of the module's text; one sentence each."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    wrong = []
    for node in model.graph.node:
        if node.op_type in FORBIDDEN:
            wrong.append(f"{node.name}: {node.op_type} is not read")
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            wrong += [f"{node.name}: {problem}" for problem in _grid_problems(node, arrays)]
        if node.op_type == "Conv" and len(node.input) > 2 and node.input[2] in made_by:
            wrong.append(f"{node.name}: its bias is computed by {made_by[node.input[2]].op_type}, not a constant")
    return wrong


def _grid_problems(node: onnx.NodeProto, arrays: Mapping[str, np.ndarray]) -> list[str]:
    if len(node.input) < 3 or any(name not in arrays for name in node.input[1:3]):
        return ["scale and zero point must be constants, and the zero point says that the type is int8"]
    scale, zero = (arrays[name] for name in node.input[1:3])
    found = []
    if zero.dtype != np.int8 or zero.any():
        found.append(f"zero point of type {zero.dtype} with values up to {zero.max()}; int8 and 0 are read")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        found.append("a scale is not positive")
    weight = arrays.get(node.input[0])
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if weight is None and scale.size != 1:
        found.append("a tensor has one scale")
    if weight is not None and scale.size != 1 and (axis != 0 or scale.size != weight.shape[0]):
        found.append("weights have one scale per output channel, along axis 0")
    return found
