"""One canonical operation to TFLite operators whose arithmetic is that of the integer engine under the file's rule.

Tensors are channels-last. A tensor of at most 8 bits is int8 with ``code - 128``; one of 16 bits is int16 with ``code - 32768``.
How each operation is written:

* A convolution is CONV_2D or DEPTHWISE_CONV_2D. TFLite has kernels for int8 to int8 and for int16 to int16 only; where a plan
  mixes them, the 8-bit side is an int16 tensor of the same scale, and QUANTIZE with multiplier 1 moves between the two, which
  loses nothing: int16 holds every shifted code, and the step back to int8 saturates at the same ends.
* PReLU and LeakyReLU are two convolutions, one with the weights and one with the weights times the slope, and MAXIMUM of both
  (MINIMUM for slopes above 1). TFLite's PRELU reads an 8-bit tensor, so it would round twice and need a range for what
  stands before it. Where no slope is negative the two share one copy of the weights.
* DEPTH_TO_SPACE takes channels block by block, PyTorch's pixel shuffle channel by channel. The layers before it give their
  output channels in the order that is needed (``write_order``); GATHER does where they cannot.
* Padding that SAME does not express is a PAD operator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hwmodels.errors import FileError
from hwmodels.numbers import INT16
from hwsearch.formats.tflite.file import FlatModel, Options
from hwsearch.formats.tflite.form import NONE, RELU, RELU6, container, fused_activation, fused_bounds
from hwsearch.formats.tflite.write_order import block_orders, channel_orders, demanded
from hwsearch.quant.engine import requant
from hwsearch.quant.engine.steps import same_grid
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Node, conv_of
from searchspaces.ir.shapes import shapes
from searchspaces.ops.base import Op
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.maps.activation import Activation, Relu, Relu6
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.move import Concat, Permute, PixelShuffle, Repeat, Reshape, Slice
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.reductions.reduce import Mean, Std
from searchspaces.ops.table import OpTable

SAME, VALID = 0, 1


class Plain(tuple[int, ...]):
    """A shape of the file as it stands there: that of tokens, of any rank."""


Shape = tuple[int, int, int] | Plain
"""Channels, height and width of a picture, or the shape of tokens."""
Write = Callable[[int, int], int]
"""Appends an operator that writes a tensor with a fused activation; returns the tensor."""


def places(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width of what is or might be a picture; of tokens, the last axis for channels."""
    if len(shape) == 4 and shape[0] == 1:
        return shape[1], shape[2], shape[3]
    return shape[-1], int(np.prod(shape[:-1])), 1


def kind(fmt: TensorFormat) -> str:
    """The integer type that stores a format."""
    return "int16" if fmt.is_wide else "int8"


def offset(fmt: TensorFormat) -> int:
    """What TFLite's integers lie below our unsigned codes."""
    return fmt.grid.middle


def widened(fmt: TensorFormat) -> TensorFormat:
    """The int16 format that holds the shifted codes of a narrow format, at the same scale."""
    move = INT16.middle - fmt.zero_point
    return TensorFormat(INT16, fmt.scale, INT16.middle, fmt.qmin + move, fmt.qmax + move)


class Writer:
    """Appends operators to a ``FlatModel``. ``codes[name]`` is the tensor that holds the codes of a graph node.

    Args:
        qgraph: a network in TFLite's form (``form.form``).
        packed: store weights of at most 4 bits as int4 where the kernels take it; ``promoted`` collects the layers where they
            do not.
    """

    def __init__(self, qgraph: QuantizedGraph, height: int, width: int, *, packed: bool) -> None:
        self.qgraph, self.packed = replace(qgraph, graph=qgraph.graph.at(height, width)), packed
        self.file = FlatModel()
        self.codes: dict[str, int] = {}
        self.promoted: dict[str, str] = {}
        self.full = dict(shapes(qgraph.graph, height, width))
        self.shapes: dict[str, tuple[int, int, int]] = {name: places(shape) for name, shape in self.full.items()}
        self.channels = {name: shape[0] for name, shape in self.shapes.items()}
        tokens = any(isinstance(node.op, _TOKENS) for node in qgraph.graph.nodes)
        orders = block_orders if tokens else channel_orders
        self.orders = orders(qgraph.graph, self.channels)
        self.pictures: set[str] = set()

    # Small vocabulary

    def tensor(self, name: str, fmt: TensorFormat, shape: Shape) -> int:
        """A tensor of codes."""
        zero = fmt.zero_point - offset(fmt)
        if isinstance(shape, Plain):
            return self.file.tensor(name, shape, kind(fmt), scale=fmt.scale, zero_point=zero)
        channels, height, width = shape
        return self.file.tensor(name, (1, height, width, channels), kind(fmt), scale=fmt.scale, zero_point=zero)

    def constant(self, name: str, values: np.ndarray, dtype: str = "int32") -> int:
        return self.file.tensor(name, values.shape, dtype, data=values)

    def quantize(self, x: int, name: str, fmt: TensorFormat, shape: Shape) -> int:
        """The same numbers in another container or at another scale."""
        return self.file.op("QUANTIZE", [x], self.tensor(name, fmt, shape), Options("QuantizeOptions"), 2)

    def read(self, name: str, reader: Node) -> int:
        """The codes of tensor ``name`` with its channels in the order that ``reader`` takes."""
        if name not in self.pictures:
            return self._turned(name, (0, 2, 3, 1), "picture", self.shapes[name])
        order, have = demanded(reader, name, self.channels, self.orders), self.orders[name]
        if order is None or np.array_equal(order, have):
            return self.codes[name]
        places = np.argsort(have)[order].astype(np.int32)
        y = self.tensor(f"{reader.name}/order/{name}", self.qgraph.formats[name], self.shapes[name])
        indices = self.constant(f"{reader.name}/places/{name}", places)
        return self.file.op("GATHER", [self.codes[name], indices], y, Options("GatherOptions", {"Axis": 3}), 2)

    def plain(self, name: str) -> int:
        """The codes of tensor ``name`` with its axes in the order of the network."""
        if name not in self.pictures:
            return self.codes[name]
        return self._turned(name, (0, 3, 1, 2), "tokens", Plain(self.full[name]))

    def _turned(self, name: str, axes: tuple[int, ...], what: str, shape: Shape) -> int:
        key = f"{name}/{what}"
        if key not in self.codes:
            y = self.tensor(key, self.qgraph.formats[name], shape)
            order = self.constant(f"{key}/axes", np.array(axes, np.int32))
            self.codes[key] = self.file.op("TRANSPOSE", [self.codes[name], order], y, Options("TransposeOptions"), 5)
        return self.codes[key]

    def alias(self, name: str, x: int, fmt: TensorFormat, channels: int, count: int) -> None:
        """Vectors taken for the pixels of a picture of ``count`` x 1."""
        self.qgraph = replace(self.qgraph, formats={**self.qgraph.formats, name: fmt})
        self.codes[name], self.shapes[name], self.channels[name] = x, (channels, count, 1), channels
        self.orders[name] = np.arange(channels)
        self.pictures.add(name)

    def bounded(self, name: str, fmt: TensorFormat, shape: Shape, write: Write, *, fusible: bool = True) -> int:
        """A tensor whose codes keep within the format: by a fused activation, or by MAXIMUM and MINIMUM behind it.

        ``write(tensor, activation)`` appends the operator that computes it; one that is not ``fusible`` takes no activation.
        """
        bottom, top = container(fmt)
        activation = fused_activation(fmt)
        if activation is not None and (fusible or activation == NONE):
            return write(self.tensor(name, fmt, shape), activation)
        relu = fusible and fmt.qmin == fmt.zero_point
        cuts = [("MAXIMUM", fmt.qmin)] if fmt.qmin > bottom and not relu else []
        cuts += [("MINIMUM", fmt.qmax)] if fmt.qmax < top else []
        x = write(self.tensor(f"{name}/unbounded", fmt, shape), RELU if relu else NONE)
        for index, (operator, code) in enumerate(cuts):
            last = index == len(cuts) - 1
            y = self.tensor(name if last else f"{name}/{operator.lower()}", fmt, shape)
            x = self.file.op(operator, [x, self._code(f"{name}/{operator.lower()}_code", fmt, code)], y, *self._extreme(fmt))
        return x

    def narrowed(self, name: str, fmt: TensorFormat, shape: Shape, write: Write) -> int:
        """An int8 tensor from an operator that writes int16: the step to int8 cuts at its ends, the rest is cut behind it."""
        wide = write(self.tensor(f"{name}/int16", widened(fmt), shape), NONE)
        options = Options("QuantizeOptions")
        return self.bounded(name, fmt, shape, lambda y, _: self.file.op("QUANTIZE", [wide], y, options, 2), fusible=False)

    def _code(self, name: str, fmt: TensorFormat, code: int) -> int:
        value, zero = np.array([code - offset(fmt)]), fmt.zero_point - offset(fmt)
        return self.file.tensor(name, (1,), kind(fmt), scale=fmt.scale, zero_point=zero, data=value)

    @staticmethod
    def _extreme(fmt: TensorFormat) -> tuple[Options, int]:
        return Options("MaximumMinimumOptions"), 4 if fmt.is_wide else 2

    # Convolutions

    def conv(self, node: Node) -> int:
        layer, formats = self.qgraph.layers[node.name], self.qgraph.formats
        if isinstance(layer, LayerFloats):
            raise FileError(
                f"layer {node.name!r} runs in half precision, TFLite holds integers",
                "Choose a target whose 16 bits are int16, or a plan without 16-bit layers.",
            )
        source, target = formats[node.inputs[0]], formats[node.name]
        slope = requant.slopes(node, len(layer.weight))
        if slope is None:
            return self._conv(node, node.name, layer, source, target)
        first = self._conv(node, f"{node.name}/positive", layer, source, target)
        steep = requant.sloped(layer, slope)
        second = self._conv(node, f"{node.name}/negative", steep, source, target)
        order = self.orders[node.name]
        above = slope[order] > 1
        shape, extreme = self.shapes[node.name], self._extreme(target)

        def pick(operator: str, name: str) -> int:
            return self.file.op(operator, [first, second], self.tensor(name, target, shape), *extreme)

        if not above.any():
            return pick("MAXIMUM", node.name)
        if above.all():
            return pick("MINIMUM", node.name)
        larger, smaller = pick("MAXIMUM", f"{node.name}/maximum"), pick("MINIMUM", f"{node.name}/minimum")
        mask = self.file.tensor(f"{node.name}/steep", (1, 1, 1, above.size), "bool", data=above)
        return self.file.op(
            "SELECT_V2", [mask, smaller, larger], self.tensor(node.name, target, shape), Options("SelectV2Options")
        )

    def _conv(self, node: Node, name: str, layer: LayerIntegers, source: TensorFormat, target: TensorFormat) -> int:
        """One convolution operator with its bounds."""
        x, wide = self.read(node.inputs[0], node), source.is_wide or target.is_wide
        shape = self.shapes[node.name]
        if wide and not source.is_wide:
            source = widened(source)
            x = self.quantize(x, f"{name}/input", source, self.shapes[node.inputs[0]])
        x, padding = self._pad(node, name, x, source)
        depthwise = conv_of(node).groups == self.channels[node.inputs[0]] > 1
        weight, bias, version = self._weights(node, name, layer, source, wide, depthwise)
        rows, columns = conv_of(node).strides
        dilated_rows, dilated_columns = conv_of(node).dilations
        fields = {
            "Padding": padding,
            "StrideH": rows,
            "StrideW": columns,
            "DilationHFactor": dilated_rows,
            "DilationWFactor": dilated_columns,
        }
        table = "Conv2DOptions"
        if depthwise:
            table, fields["DepthMultiplier"] = "DepthwiseConv2DOptions", len(layer.weight) // conv_of(node).groups
        operator = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"

        def write(y: int, activation: int) -> int:
            options = Options(table, {**fields, "FusedActivationFunction": activation})
            return self.file.op(operator, [x, weight, bias], y, options, version)

        if wide and not target.is_wide:
            return self.narrowed(name, target, shape, write)
        return self.bounded(name, target, shape, write)

    def _pad(self, node: Node, name: str, x: int, source: TensorFormat) -> tuple[int, int]:
        """The input with explicit padding, if need be, and the padding scheme of the operator."""
        op = conv_of(node)
        left, right, top, bottom = op.padding
        if left == right == top == bottom == 0:
            return x, VALID
        kernel = self.qgraph.layers[node.name].weight.shape[2:]
        spans = [d * (k - 1) for d, k in zip(op.dilations, kernel, strict=True)]
        sides = ((top, bottom), (left, right))
        halves = all(side == (span // 2, span - span // 2) for side, span in zip(sides, spans, strict=True))
        if halves and op.strides == (1, 1):
            return x, SAME
        channels, height, width = self.shapes[node.inputs[0]]
        padded = self.tensor(f"{name}/padded", source, (channels, height + top + bottom, width + left + right))
        amounts = self.constant(f"{name}/padding", np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
        return self.file.op("PAD", [x, amounts], padded, Options("PadOptions"), 2), VALID

    def _weights(
        self, node: Node, name: str, layer: LayerIntegers, source: TensorFormat, wide: bool, depthwise: bool
    ) -> tuple[int, int, int]:
        """Weight and bias tensors, and the operator version that their types need."""
        order, before = self.orders[node.name], self.orders[node.inputs[0]]
        weight = layer.weight[order]
        if conv_of(node).groups == 1:
            weight = weight[:, before]
        array = weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)
        axis = 3 if depthwise else 0
        stored = "int8"
        if self.packed and layer.bits <= 4:
            reason = "int4 weights need 8-bit tensors on both sides" if wide else ""
            reason = reason or ("int4 weights of a depthwise layer are not exact in every runtime" if depthwise else "")
            if reason:
                self.promoted[node.name] = reason
            else:
                stored = "int4"
        w = self.file.tensor(f"{name}.weight", array.shape, stored, scale=layer.scale[order], axis=axis, data=array)
        # TFLite takes the bias in units of s_x * s_w; this scale says so.
        scale = np.float32(source.scale) * layer.scale[order].astype(np.float32)
        b = self.file.tensor(f"{name}.bias", order.shape, "int64" if wide else "int32", scale=scale, data=layer.bias[order])
        versions = {"int8": (3, 3), "int4": (7, 6), "wide": (4, 5)}
        return w, b, versions["wide" if wide else stored][int(depthwise)]

    # Everything else

    def add(self, node: Node) -> int:
        formats = self.qgraph.formats
        target, inputs = formats[node.name], [formats[name] for name in node.inputs]
        if node.activation is not None:
            raise FileError(f"{node.name!r}: TFLite's addition has no fused {node.activation.kind}")
        if len(node.inputs) != 2 or self.shapes[node.inputs[0]] != self.shapes[node.inputs[1]]:
            raise FileError(f"{node.name!r}: only tensors of one shape are added")
        wide = any(fmt.is_wide for fmt in (target, *inputs))
        terms = []
        for name, fmt in zip(node.inputs, inputs, strict=True):
            x = self.read(name, node)
            if wide and not fmt.is_wide:
                x = self.quantize(x, f"{node.name}/wide/{name}", widened(fmt), self.shapes[name])
            terms.append(x)

        def write(y: int, activation: int) -> int:
            fields = {"FusedActivationFunction": activation, "PotScaleInt16": False}
            return self.file.op("ADD", terms, y, Options("AddOptions", fields), 3 if wide else 2)

        if wide and not target.is_wide:
            return self.narrowed(node.name, target, self.shapes[node.name], write)
        return self.bounded(node.name, target, self.shapes[node.name], write)

    def relu(self, node: Node) -> int:
        """A ReLU or ReLU6 that stands alone, between 8-bit tensors of perhaps different scales."""
        source, target = self.qgraph.formats[node.inputs[0]], self.qgraph.formats[node.name]
        operator, activation = ("RELU6", RELU6) if isinstance(node.op, Relu6) else ("RELU", RELU)
        exact = requant.bounds(node, target) == fused_bounds(activation, target)
        if not exact or source.is_wide or target.is_wide:
            raise FileError(f"{node.name!r}: TFLite's {operator} cannot bound codes as the plan does")
        return self.file.op(operator, [self.read(node.inputs[0], node)], self.tensor(node.name, target, self.shapes[node.name]))

    def move(self, node: Node) -> int:
        """Slices, repeats, concatenations, pixel shuffles and nearest-neighbour resizing of codes."""
        target, shape = self.qgraph.formats[node.name], self.shapes[node.name]
        sources = [self.qgraph.formats[name] for name in node.inputs]
        if not all(same_grid(source, target) for source in sources):
            raise FileError(f"{node.name!r} moves codes between tensors of different scales, which TFLite does not")
        x = [self.read(name, node) for name in node.inputs]
        if any(source.qmin < target.qmin or source.qmax > target.qmax for source in sources):
            return self.bounded(node.name, target, shape, lambda y, _: self._moved(node, x, y), fusible=False)
        return self._moved(node, x, self.tensor(node.name, target, shape))

    def _moved(self, node: Node, x: list[int], y: int) -> int:
        wide, shape = self.qgraph.formats[node.name].is_wide, self.shapes[node.name]
        match node.op:
            case Concat(axis=1) | Repeat(axis=1) as op:
                parts = x * op.times if isinstance(op, Repeat) else x
                return self.file.op("CONCATENATION", parts, y, Options("ConcatenationOptions", {"Axis": 3}), 3 if wide else 2)
            case Slice(start=start, axis=1, step=1):
                begin = self.constant(f"{node.name}/begin", np.array([0, 0, 0, start], np.int32))
                size = self.constant(f"{node.name}/size", np.array([-1, -1, -1, shape[0]], np.int32))
                return self.file.op("SLICE", [x[0], begin, size], y, Options("SliceOptions"), 4 if wide else 2)
            case PixelShuffle(factor=factor) if wide:
                return self._shuffle16(node, factor, x[0], y)
            case PixelShuffle(factor=factor):
                return self.file.op("DEPTH_TO_SPACE", x, y, Options("DepthToSpaceOptions", {"BlockSize": factor}))
            case Resize():
                size = self.constant(f"{node.name}/size", np.array(shape[1:], np.int32))
                return self.file.op("RESIZE_NEAREST_NEIGHBOR", [x[0], size], y, Options("ResizeNearestNeighborOptions"), 2)
        raise FileError(f"{node.name!r}: this exporter has {node.op.describe()} along the channels only", "Export it as ONNX.")

    def _shuffle16(self, node: Node, factor: int, x: int, y: int) -> int:
        """A pixel shuffle of int16, which DEPTH_TO_SPACE has no kernel for: RESHAPE, TRANSPOSE, RESHAPE."""
        fmt = self.qgraph.formats[node.name]
        channels, height, width = self.shapes[node.name]
        rows, columns = height // factor, width // factor
        apart = (rows, columns, factor, factor * channels)

        def step(operator: str, source: int, argument: tuple[int, ...], name: str, shape: tuple[int, ...], table: str) -> int:
            result = y if not name else self.file.tensor(f"{node.name}/{name}", shape, "int16", scale=fmt.scale)
            values = self.constant(f"{node.name}/{name or 'joined'}/argument", np.array(argument, np.int32))
            return self.file.op(operator, [source, values], result, Options(table))

        split = step("RESHAPE", x, apart, "split", apart, "ReshapeOptions")
        turned = (rows, factor, columns, factor * channels)
        order = step("TRANSPOSE", split, (0, 2, 1, 3), "turned", turned, "TransposeOptions")
        return step("RESHAPE", order, (1, height, width, channels), "", (), "ReshapeOptions")

    def input(self, node: Node) -> int:
        return self.tensor(node.name, self.qgraph.formats[node.name], self.shapes[node.name])

    def write(self, node: Node, table: OpTable[Callable[[Writer, Node], int]] | None = None) -> None:
        """Append the operators of one canonical operation, as ``table`` has them; by default ``WRITES``.

        Raises:
            FileError: no TFLite operator computes it as the plan does.
        """
        table = WRITES if table is None else table
        write = table.get(node.op)
        if write is None:
            reason = table.reason(node.op) or "nobody has written it"
            raise FileError(
                f"{node.name!r}: no TFLite operator computes {node.op.describe()} as the plan does: {reason}",
                "Export this plan as ONNX.",
            )
        self.codes[node.name] = write(self, node)
        if isinstance(node.op, _PICTURES) and all(
            name in self.pictures or isinstance(node.op, Conv | PixelShuffle) for name in node.inputs
        ):
            self.pictures.add(node.name)


_TOKENS = (Linear, MatMul, Reshape, Permute)
_PICTURES = (Input, Conv, Add, Concat, Slice, Repeat, PixelShuffle, Resize, Relu, Relu6)
"""Operators that write pictures where they read them; a convolution and a pixel shuffle always do."""


WRITES: OpTable[Callable[[Writer, Node], int]] = OpTable("TFLite")
WRITES.lacks("this exporter writes layers, additions, clamps, moves and what attention is made of", Op)
WRITES.lacks("nobody knows what it computes", Unknown)
WRITES.lacks("TFLite has it for floating point, or by tables that round in another way", Activation)
WRITES.lacks("its kernels round in another way than the engine", Mean, Std)
WRITES.put(Writer.input, Input)
WRITES.put(Writer.conv, Conv)
WRITES.put(Writer.move, Concat, Repeat, PixelShuffle)
WRITES.put(Writer.relu, Relu, Relu6)


@WRITES.register(Resize)
def _resize(writer: Writer, node: Node) -> int:
    if not isinstance(node.op, Resize) or node.op.mode != "nearest" or node.op.whole_factor is None:
        raise FileError(
            f"{node.name!r}: no TFLite operator computes {node.op.describe()} as the plan does", "Export this plan as ONNX."
        )
    return writer.move(node)
