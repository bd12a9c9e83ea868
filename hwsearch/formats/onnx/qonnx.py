"""QONNX files: a network in single precision with Quant nodes of arbitrary widths, as FINN, hls4ml and Brevitas exchange them.

``Quant(x, scale, zero point, bits)`` rounds ``x / scale + zero point`` half to even, clamps it to the integers of that width, and
gives the value for which the integer stands (Pappalardo et al. 2022, arXiv:2206.07527). Weights are signed, in the narrow range
where they keep to it, with one scale per output channel, tensors unsigned; bounds that no activation explains are a Clip before
the node. Biases stay in single precision. Layers and tensors in half precision have no Quant node. No runtime executes such files
in integers: sums are rounded in single precision, so that codes may differ by one from the integer engine's where a sum lies
between two.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from hwmodels.numbers import Int
from hwsearch.documents.files import write_bytes
from hwsearch.formats.onnx.float_network import QuantizingWriter
from hwsearch.formats.writing.check import check
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Node

DOMAIN = "qonnx.custom_op.general"


class QuantWriter(QuantizingWriter):
    """A Quant node behind everything that computes, and on every weight."""

    def weights(self, node: Node) -> list[str]:
        layer = self.qgraph.layers[node.name]
        weight, bias = super().weights(node)
        if isinstance(layer, LayerIntegers):
            scale = self.const(layer.scale.reshape(-1, 1, 1, 1), name=f"{node.name}.weight_scale")
            within = int(layer.weight.min(initial=0)) >= -Int(layer.bits).narrow_limit
            weight = self._quant(weight, scale, 0, layer.bits, signed=1, narrow=int(within))
        return [weight, bias]

    def quantizer(self, x: str, fmt: TensorFormat) -> str:
        return self._quant(x, self.const(fmt.scale), fmt.zero_point, fmt.bits, signed=0, narrow=0)

    def _quant(self, x: str, scale: str, zero_point: int, bits: int, *, signed: int, narrow: int) -> str:
        inputs = [x, scale, self.const(zero_point), self.const(bits)]
        return self.op("Quant", inputs, domain=DOMAIN, signed=signed, narrow=narrow, rounding_mode="ROUND")


def to_model(qgraph: QuantizedGraph, metadata: Mapping[str, Any] | None = None) -> onnx.ModelProto:
    """The network as a QONNX model in memory.

    Raises:
        FileError: values that make no correct file (see ``check``).
    """
    check(qgraph)
    writer = QuantWriter(qgraph)
    writer.write_all()
    return writer.model(qgraph.graph, metadata, {DOMAIN: 1})


def export(qgraph: QuantizedGraph, path: str | Path, *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write ``to_model``, whole or not at all.

    Raises:
        FileError: see ``to_model``, or ``path`` cannot be written.
    """
    return write_bytes(Path(path), to_model(qgraph, metadata).SerializeToString())
