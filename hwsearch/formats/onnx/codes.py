"""One canonical operation to ONNX nodes whose arithmetic is that of the integer engine, code for code.

Tensors are stored in the file as codes: uint8 for widths up to 8 bits, uint16 for 16, float16 for half precision. Three ways
lead from one to the next:

* A convolution with inputs and output of at most 8 bits is written as DequantizeLinear, Conv, QuantizeLinear, which ONNX Runtime
  fuses into its integer QLinearConv; an addition likewise (QLinearAdd). Narrower formats and ReLU are a Clip on the uint8 codes:
  a Relu node would make ONNX Runtime run the convolution in floating point.
* A convolution that the fusion cannot hold (PReLU, 16 bits, half precision behind it) is a ConvInteger with its requantization
  spelled out; a 16-bit input is convolved byte by byte and put together in double precision.
* Everything else decodes, computes and encodes in single-precision nodes that are never fused.

Weights: 2 bits are packed as INT2, 3 and 4 as INT4, behind a Cast that ONNX Runtime folds away at load time; wider ones are
int8, unless int8 is unsafe. It is unsafe on x86 CPUs without VNNI, whose u8*s8 instruction adds two products in 16 saturating
bits: there, a layer whose ``2 * 255 * max|w|`` exceeds 32767 is wrong in most codes. Such layers carry uint8 weights with zero
point 128, for which every kernel is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper

from hwmodels.errors import FileError
from hwmodels.numbers import INT2, INT4, INT8, Int
from hwsearch.formats.onnx import attention, state
from hwsearch.formats.onnx.operators.contractions import window
from hwsearch.formats.onnx.operators.moves import padded
from hwsearch.formats.onnx.writer import IR_VERSION, OPSET, Writer
from hwsearch.quant.engine import requant
from hwsearch.quant.engine.kernels.int8_kernel import saturates
from hwsearch.quant.engine.steps import adds_in_integers, as_conv, looked_up, same_grid, unary_table
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.maps.activation import Activation, Relu, Relu6
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.move import Concat, Gather, Permute, Repeat, Reshape, Slice, View
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.reductions.reduce import Mean, Reduction, Std, Sum
from searchspaces.ops.reductions.softmax import Softmax
from searchspaces.ops.state import Remember, State
from searchspaces.ops.table import OpTable

OPSET_INT2, IR_VERSION_INT2 = 25, 13
"""The first versions with 2-bit integers; files without them stay readable by older runtimes."""


def container(fmt: TensorFormat) -> int:
    """ONNX type in which a tensor of this format is stored."""
    if fmt.is_float:
        return int(TensorProto.FLOAT16)
    return int(TensorProto.UINT16 if fmt.is_wide else TensorProto.UINT8)


def weight_field(layer: LayerIntegers) -> Int:
    """The integers of ONNX in which a layer's weights are stored."""
    if layer.bits == INT2.bits:
        return INT2
    return INT4 if INT4.holds(Int(layer.bits)) else INT8


class CodeWriter(Writer):
    """``codes[name]`` is the ONNX tensor that holds the codes of a graph node; ``versions`` are those of operators and
    file, ``states`` what the caller hands on from frame to frame (see ``state``)."""

    def __init__(self, qgraph: QuantizedGraph) -> None:
        super().__init__(qgraph.graph)
        self.qgraph = qgraph
        self.codes: dict[str, str] = {}
        self.versions = OPSET, IR_VERSION
        self.states: dict[str, dict[str, Any]] = {}

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

    def store(self, real: str, fmt: TensorFormat, low: int | None = None, high: int | None = None) -> str:
        """Real values (float32) to the codes of a format."""
        if fmt.is_float:
            return self.cast(real, TensorProto.FLOAT16)
        q = self.op("Round", [self.op("Div", [real, self.const(fmt.scale)])])
        return self.finish(q, fmt, fmt.qmin if low is None else low, fmt.qmax if high is None else high, np.float32)

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

    # Convolutions

    def conv(self, node: Node) -> str:
        layer = self.qgraph.layers[node.name]
        source, target = self.qgraph.formats[node.inputs[0]], self.qgraph.formats[node.name]
        if isinstance(layer, LayerFloats):
            return self._float_conv(node, layer, target)
        narrow = not source.is_wide and not target.is_wide
        if narrow and (node.activation is None or isinstance(node.activation, Relu | Relu6)):
            return self._qdq_conv(node, layer, source, target)
        return self._integer_conv(node, layer, source, target)

    def _float_conv(self, node: Node, layer: LayerFloats, target: TensorFormat) -> str:
        weight = self.cast(self.weight(node, layer.weight, np.float16), TensorProto.FLOAT)
        bias = self.cast(self.const(layer.bias, np.float16, f"{node.name}.bias"), TensorProto.FLOAT)
        real = self.op("Conv", [self.load(node.inputs[0]), weight, bias], **window(node))
        return self.store(self.activate(real, node, node.activation), target)

    def _packed(self, node: Node, layer: LayerIntegers, signed: bool) -> str:
        """Weights of at most 4 bits, two or four a byte, behind the Cast that ONNX Runtime folds."""
        field = weight_field(layer)
        bits, per_byte, offset = field.bits, INT8.bits // field.bits, 0 if signed else field.own_middle
        fields = (layer.weight.astype(np.int16).reshape(-1) + offset) & field.levels
        rows = np.pad(fields, (0, -fields.size % per_byte)).reshape(-1, per_byte)
        packed = (rows << (bits * np.arange(per_byte))).sum(axis=1).astype(np.uint8)  # the first in the lowest bits
        kind = ("" if signed else "U") + str(field).upper()
        tensor = TensorProto(data_type=TensorProto.DataType.Value(kind), dims=layer.weight.shape)
        tensor.raw_data = packed.tobytes()
        if field == INT2:
            self.versions = OPSET_INT2, IR_VERSION_INT2
        return self.cast(self._of_all(node, tensor), TensorProto.INT8 if signed else TensorProto.UINT8)

    def _qdq_conv(self, node: Node, layer: LayerIntegers, source: TensorFormat, target: TensorFormat) -> str:
        outputs = layer.weight.shape[0]
        # Zero points belong to one layer each: ONNX Runtime's int8-to-uint8 rewriting stumbles over a shared one.
        zeros = f"{node.name}.zero"
        x = self.op("DequantizeLinear", [self.codes[node.inputs[0]], *self.grid(source)])
        if weight_field(layer) != INT8:
            weight, zero = self._packed(node, layer, signed=True), self.const(np.zeros(outputs), np.int8, zeros)
        elif saturates(layer, source):
            weight = self.weight(node, layer.weight.astype(np.int16) + INT8.middle, np.uint8)
            zero = self.const(np.full(outputs, INT8.middle), np.uint8, zeros)
        else:
            weight = self.weight(node, layer.weight, np.int8)
            zero = self.const(np.zeros(outputs), np.int8, zeros)
        scale = layer.scale.astype(np.float32)
        w = self.op("DequantizeLinear", [weight, self.const(scale), zero], axis=0)
        # ONNX Runtime takes the bias's integers as they are and requires this scale.
        bias_scale = self.const(np.float32(source.scale) * scale)
        bias = self.const(layer.bias, np.int32, f"{node.name}.bias")
        b = self.op("DequantizeLinear", [bias, bias_scale, self.const(np.zeros(outputs), np.int32)], axis=0)
        y = self.op("Conv", [x, w, b], **window(node))
        return self.clip_codes(self.op("QuantizeLinear", [y, *self.grid(target)]), *requant.bounds(node, target))

    def _integer_conv(self, node: Node, layer: LayerIntegers, source: TensorFormat, target: TensorFormat) -> str:
        field = weight_field(layer)
        if field != INT8:
            weight = self._packed(node, layer, signed=False)
        else:
            weight = self.weight(node, layer.weight.astype(np.int16) + INT8.middle, np.uint8)
        zero = self.const(field.own_middle, np.uint8)
        around, codes = window(node), self.codes[node.inputs[0]]
        m = requant.multipliers(layer, source, target)
        kind = int(TensorProto.FLOAT if m.dtype == np.float32 else TensorProto.DOUBLE)

        def sums(x: str, z: int) -> str:
            return self.op("ConvInteger", [x, weight, self.const(z, np.uint8), zero], **around)

        if not source.is_wide:
            bias = self.const(layer.bias.reshape(1, -1, 1, 1), np.int32, f"{node.name}.bias")
            acc = self.cast(self.op("Add", [sums(codes, source.zero_point), bias]), kind)
        else:
            q = self.cast(codes, TensorProto.FLOAT)
            high = self.op("Floor", [self.op("Mul", [q, self.const(1 / 256)])])
            low = self.op("Sub", [q, self.op("Mul", [high, self.const(256.0)])])
            zh, zl = divmod(source.zero_point, 256)
            upper = self.cast(sums(self.cast(high, TensorProto.UINT8), zh), TensorProto.DOUBLE)
            lower = self.cast(sums(self.cast(low, TensorProto.UINT8), zl), TensorProto.DOUBLE)
            acc = self.op("Add", [self.op("Mul", [upper, self.const(256, np.float64)]), lower])
            acc = self.op("Add", [acc, self.const(layer.bias.reshape(1, -1, 1, 1), np.float64, f"{node.name}.bias")])
        v = self.op("Mul", [acc, self.per_channel(m)])
        if target.is_float:
            real = v if m.dtype == np.float32 else self.cast(v, TensorProto.FLOAT)
            return self.store(self.activate(real, node, node.activation), target)
        slope = requant.slopes(node, layer.weight.shape[0])
        if slope is not None:
            # max(v, 0) + slope * min(v, 0): one term is always zero, so this equals the choice of a side; PRelu knows no doubles.
            nil = self.const(0.0, m.dtype)
            negative = self.op("Mul", [self.op("Min", [v, nil]), self.per_channel(slope.astype(m.dtype))])
            v = self.op("Add", [self.op("Max", [v, nil]), negative])
        return self.finish(self.op("Round", [v]), target, *requant.bounds(node, target), m.dtype)

    # Everything else

    def add(self, node: Node) -> str:
        formats = [self.qgraph.formats[name] for name in (*node.inputs, node.name)]
        if not adds_in_integers(node, formats):
            return self.in_floating_point(node)
        terms = [
            self.op("DequantizeLinear", [self.codes[n], *self.grid(f)]) for n, f in zip(node.inputs, formats[:2], strict=True)
        ]
        y = self.op("QuantizeLinear", [self.op("Add", terms), *self.grid(formats[2])])
        return self.clip_codes(y, *requant.bounds(node, formats[2]))

    def in_floating_point(self, node: Node) -> str:
        """Decode, compute in single precision, encode."""
        real = self.written(node, [self.load(name) for name in node.inputs])
        return self.store(self.activate(real, node, node.activation), self.qgraph.formats[node.name])

    def move(self, node: Node) -> str:
        """A move of codes. Runtimes move 16-bit codes by few operators, so they travel as floating point."""
        name = node.inputs[0]
        x, wide = self.codes[name], self.qgraph.formats[name].is_wide and not isinstance(node.op, _MOVES_ANY_TYPE)
        y = self.written(node, [self.cast(x, TensorProto.FLOAT) if wide else x])
        y = self.cast(y, container(self.qgraph.formats[name])) if wide else y
        return self.converted(name, y, self.qgraph.formats[node.name])

    def pool(self, node: Node) -> str:
        """Mean, sum or standard deviation: sums of codes are exact in double precision, whatever their order."""
        source, target, op = self.qgraph.formats[node.inputs[0]], self.qgraph.formats[node.name], node.op
        assert isinstance(op, Reduction)
        zero, scale = (0.0, 1.0) if source.is_float else (float(source.zero_point), float(source.scale))
        f64 = np.float64
        v = self.op("Sub", [self.cast(self.codes[node.inputs[0]], TensorProto.DOUBLE), self.const(zero, f64)])
        n = self.cast(self._count_of(node.inputs[0], op), TensorProto.DOUBLE)
        axes, keep = self.const(list(op.axes), np.int64), int(op.keepdims)
        total = self.op("ReduceSum", [v, axes], keepdims=keep)
        if isinstance(op, Sum):
            y = total
        elif isinstance(op, Mean):
            y = self.op("Div", [total, n])
        else:
            less = op.correction if isinstance(op, Std) else 0
            squares = self.op("ReduceSum", [self.op("Mul", [v, v]), axes], keepdims=keep)
            spread = self.op("Sub", [self.op("Mul", [squares, n]), self.op("Mul", [total, total])])
            below = self.op("Sub", [n, self.const(less, f64)]) if less else n
            variance = self.op("Max", [self.op("Div", [spread, self.op("Mul", [n, below])]), self.const(0.0, f64)])
            y = self.op("Sqrt", [variance])
        return self.store(self.cast(self.op("Mul", [y, self.const(scale, f64)]), TensorProto.FLOAT), target)

    def _count_of(self, source: str, op: Reduction) -> str:
        """How many values become one."""
        if op.over_picture:
            size = self.op("Shape", [self.codes[source]], start=2, end=4)
        else:
            whole = self.op("Shape", [self.codes[source]])
            rank = len(self.shapes[source])
            size = self.op("Gather", [whole, self.const([axis % rank for axis in op.axes], np.int64)])
        return self.op("ReduceProd", [size], keepdims=1)

    def unary(self, node: Node) -> str:
        source, target = self.qgraph.formats[node.inputs[0]], self.qgraph.formats[node.name]
        if looked_up(node.op) and not source.is_float:
            table = unary_table(node, source, target).numpy()
            kind = helper.tensor_dtype_to_np_dtype(container(target))
            entries = self.const(table if target.is_float else table + target.zero_point, kind)
            return self.op("Gather", [entries, self.cast(self.codes[node.inputs[0]], TensorProto.INT32)], axis=0)
        return self.in_floating_point(node)

    def input(self, node: Node) -> str:
        target = self.qgraph.formats[node.name]
        if target.is_wide:
            return self.store("input", target)
        return self.clip_codes(self.op("QuantizeLinear", ["input", *self.grid(target)]), target.qmin, target.qmax)

    def linear(self, node: Node) -> str:
        """The vectors as pixels of a 1x1 convolution, which ONNX Runtime fuses as any other."""
        source, before = node.inputs[0], self.codes[node.inputs[0]]
        inner, outer = self.shapes[source][-1], self.shapes[node.name][-1]
        rows = self.op("Reshape", [before, self.const([-1, inner, 1, 1], np.int64)])
        self.codes[source] = rows
        y = self.conv(as_conv(node))
        self.codes[source] = before
        lead = self.op("Shape", [before], start=0, end=len(self.shapes[source]) - 1)
        return self.op("Reshape", [y, self.op("Concat", [lead, self.const([outer], np.int64)], axis=0)])

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


_MOVES_ANY_TYPE = (Slice, Repeat, Gather, Reshape, Permute)
WriteCodes = Callable[[CodeWriter, Node], str]
CODES: OpTable[WriteCodes] = OpTable("ONNX")
"""How codes of a node are computed from codes. What has no integer form is computed in single precision between codes."""
CODES.put(CodeWriter.in_floating_point, Op)
CODES.put(CodeWriter.input, Input)
CODES.put(state.given, State)
CODES.put(state.kept, Remember)
CODES.put(CodeWriter.conv, Conv)
CODES.put(CodeWriter.linear, Linear)
CODES.put(CodeWriter.add, Add)
CODES.put(attention.matmul, MatMul)
CODES.put(attention.softmax, Softmax)
CODES.put(CodeWriter.pool, Mean, Sum, Std)
CODES.put(CodeWriter.unary, Activation)
CODES.lacks("nobody knows what it computes", Unknown)


@CODES.register(View)
def _view(writer: CodeWriter, node: Node) -> str:
    return writer.move(node) if node.op.moves else writer.in_floating_point(node)


@CODES.register(Pad)
def _pad(writer: CodeWriter, node: Node) -> str:
    """Zeros are the code of zero."""
    name, fmt = node.inputs[0], writer.qgraph.formats[node.inputs[0]]
    if not node.op.moves:
        return writer.in_floating_point(node)
    codes = writer.cast(writer.codes[name], TensorProto.FLOAT)
    moved = padded(writer, node, codes, writer.const(0.0 if fmt.is_float else float(fmt.zero_point)))
    return writer.converted(name, writer.cast(moved, container(fmt)), writer.qgraph.formats[node.name])


@CODES.register(Resize)
def _resize(writer: CodeWriter, node: Node) -> str:
    nearest = isinstance(node.op, Resize) and node.op.mode in ("nearest", "nearest-exact")
    return writer.move(node) if nearest else writer.in_floating_point(node)


@CODES.register(Concat)
def _concat(writer: CodeWriter, node: Node) -> str:
    target = writer.qgraph.formats[node.name]
    return writer.written(node, [writer.converted(name, writer.codes[name], target) for name in node.inputs])
