"""What every operation needs to be written: the containers of codes, and the ways from codes to real values and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from onnx import TensorProto

from hwmodels.errors import FileError
from hwmodels.numbers import INT2, INT4, INT8
from hwsearch.formats.carried import Place
from hwsearch.formats.onnx.codes.table import CODES
from hwsearch.formats.onnx.writer import IR_VERSION, OPSET, Writer
from hwsearch.quant.engine.simulate import UNDEFINED
from hwsearch.quant.engine.steps import same_grid
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op
from searchspaces.ops.input import Input


def container(fmt: TensorFormat) -> int:
    """ONNX type in which a tensor of this format is stored."""
    if fmt.is_float:
        return int(TensorProto.FLOAT16)
    return int(TensorProto.UINT16 if fmt.is_wide else TensorProto.UINT8)


class CodeWriter(Writer):
    """``codes[name]`` is the ONNX tensor that holds the codes of a graph node; ``versions`` are those of operators and
    file."""

    def __init__(self, qgraph: QuantizedGraph) -> None:
        super().__init__(qgraph.graph)
        self.qgraph = qgraph
        self.codes: dict[str, str] = {}
        self.versions = OPSET, IR_VERSION
        self._weight_of: dict[str, str] = {}

    def of_all(self, node: Node, tensor: TensorProto) -> str:
        self._weight_of[node.name] = key = super().of_all(node, tensor)
        return key

    def places(self) -> dict[str, Place]:
        """Where the file has the integers of layers, by their key in ``storage``."""
        unsigned: dict[int, int] = {
            TensorProto.UINT8: INT8.middle,
            TensorProto.UINT4: INT4.own_middle,
            TensorProto.UINT2: INT2.own_middle,
        }
        found = {f"bias/{name}": Place(f"{name}.bias") for name in self.qgraph.layers if f"{name}.bias" in self.constants}
        for name, key in self._weight_of.items():
            found[f"weight/{name}"] = Place(key, unsigned.get(self.constants[key].data_type, 0))
        return found

    def container_of(self, name: str) -> int:
        """ONNX type in which the tensor of a graph node is stored."""
        return container(self.qgraph.formats[name])

    def grid(self, fmt: TensorFormat) -> tuple[str, str]:
        """Scale and zero point constants of an integer format."""
        return self.const(fmt.scale), self.const(fmt.zero_point, np.uint16 if fmt.is_wide else np.uint8)

    def per_channel(self, values: np.ndarray) -> str:
        return self.const(values.reshape(1, -1, 1, 1), values.dtype)

    def clip_codes(self, x: str, low: int, high: int) -> str:
        """Bounds of a uint8 tensor, where the container does not imply them."""
        if (low, high) == (0, INT8.last_code):
            return x
        return self.op("Clip", [x, self.const(low, np.uint8), self.const(high, np.uint8)])

    # Codes to real values and back

    def load(self, name: str) -> str:
        """Real values (float32) of a graph node's tensor, by nodes that no fusion recognises."""
        fmt, x = self.qgraph.formats[name], self.cast(self.codes[name], TensorProto.FLOAT)
        if fmt.is_float:
            return x
        return self.op("Mul", [self.op("Sub", [x, self.const(fmt.zero_point)]), self.const(fmt.scale)])

    def store(self, real: str, fmt: TensorFormat) -> str:
        """Real values (float32) to the codes of a format."""
        if fmt.is_float:
            return self.cast(real, TensorProto.FLOAT16)
        q = self.op("Round", [self.op("Div", [real, self.const(fmt.scale)])])
        return self.finish(q, fmt, fmt.qmin, fmt.qmax, np.float32)

    def finish(self, rounded: str, fmt: TensorFormat, low: int, high: int, dtype: Any) -> str:
        q = self.op("Add", [rounded, self.const(fmt.zero_point, dtype)])
        q = self.op("Clip", [q, self.const(low, dtype), self.const(high, dtype)])
        return self.cast(q, container(fmt))

    def converted(self, name: str, codes: str, target: TensorFormat) -> str:
        """Moved codes of graph node ``name`` in the format of their destination."""
        source = self.qgraph.formats[name]
        if source.is_float and target.is_float:
            return codes
        if not source.is_float and not target.is_float and same_grid(source, target):
            if target.qmin <= source.qmin and target.qmax >= source.qmax:
                return codes
            kind = np.uint16 if target.is_wide else np.uint8
            if kind == np.uint8:
                return self.clip_codes(codes, target.qmin, target.qmax)
            return self.op("Clip", [codes, self.const(target.qmin, kind), self.const(target.qmax, kind)])
        kept, self.codes[name] = self.codes[name], codes
        real = self.load(name)
        self.codes[name] = kept
        return self.store(real, target)

    def in_floating_point(self, node: Node) -> str:
        """Decode, compute in single precision, encode; what is undefined is nothing, as in the engine: of what is no number, a
        runtime may make any code."""
        real = self.written(node, [self.load(name) for name in node.inputs])
        real = self.activate(real, node, node.activation)
        if isinstance(node.op, UNDEFINED):
            real = self.op("Where", [self.op("IsNaN", [real]), self.const(0.0), real])
        return self.store(real, self.qgraph.formats[node.name])

    def write(self, node: Node) -> None:
        """Append the nodes of one canonical operation.

        Raises:
            FileError: ONNX has no way to write it.
        """
        write = CODES.get(node.op)
        if write is None:
            raise FileError(f"{node.name!r}: {CODES.missing([node.op])[0]}")
        codes, fmt = write(self, node), self.qgraph.formats[node.name]
        self.codes[node.name] = codes if fmt.levels is None or node.op.moves else self.projected(codes, fmt)

    def projected(self, codes: str, fmt: TensorFormat) -> str:
        """Codes of the container as the nearest that a decode table has: a table of all of them."""
        every = torch.arange(INT8.last_code + 1).clamp(fmt.qmin, fmt.qmax) - fmt.zero_point
        table = (fmt.projected(every) + fmt.zero_point).numpy()
        return self.op("Gather", [self.const(table, np.uint8), self.cast(codes, TensorProto.INT32)], axis=0)


CODES.put(CodeWriter.in_floating_point, Op)


@CODES.register(Input)
def _input(writer: CodeWriter, node: Node) -> str:
    target = writer.qgraph.formats[node.name]
    if target.is_wide:
        return writer.store("input", target)
    return writer.clip_codes(writer.op("QuantizeLinear", ["input", *writer.grid(target)]), target.qmin, target.qmax)
