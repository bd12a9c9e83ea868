"""What operators are written with: tensors of codes, constants, orders of channels, and bounds of codes.

Tensors are channels-last. A tensor of at most 8 bits is int8 with ``code - 128``; one of 16 bits is int16 with ``code - 32768``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hwmodels.errors import FileError
from hwmodels.numbers import INT16
from hwsearch.formats.carried import Place
from hwsearch.formats.tflite.writing.copies import Copy, transposed
from hwsearch.formats.tflite.writing.file import FlatModel, Options
from hwsearch.formats.tflite.writing.form import NONE, RELU, container, fused_activation
from hwsearch.formats.tflite.writing.order import block_orders, channel_orders, demanded
from hwsearch.quant.engine.steps import cut, same_grid
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Node
from searchspaces.ir.shapes import shapes
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import Exp, Gelu, LeakyRelu, PRelu, Relu, Relu6, Rsqrt, Sigmoid, Silu, Tanh
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.move import Concat, Flip, Gather, Permute, PixelShuffle, PixelUnshuffle, Repeat, Reshape, Roll, Slice
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.reductions.norm import LayerNorm
from searchspaces.ops.reductions.reduce import MaxPool, Mean
from searchspaces.ops.state import Remember, State
from searchspaces.ops.table import OpTable


class Plain(tuple[int, ...]):
    """A shape of the file as it stands there: that of tokens, of any rank."""


Shape = tuple[int, int, int] | Plain
"""Channels, height and width of a picture, or the shape of tokens."""
PICTURE = (0, 2, 3, 1)
"""Axes of a picture in the network's order as they stand in the file."""
Write = Callable[[int, int], int]
"""Appends an operator that writes a tensor with a fused activation; returns the tensor."""


def places(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width of what is or might be a picture; of tokens, the last axis for channels."""
    if len(shape) == 4 and shape[0] == 1:
        return shape[1], shape[2], shape[3]
    return shape[-1], int(np.prod(shape[:-1])), 1


def over_channels(op: LayerNorm, shape: tuple[int, ...]) -> bool:
    """Whether a normalization of a tensor of this shape is one of the channels of a picture."""
    return len(shape) == len(PICTURE) and shape[0] == 1 and op.axes in ((1,), (-3,))


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


def extreme(fmt: TensorFormat) -> tuple[Options, int]:
    """Options and version of MAXIMUM and MINIMUM between tensors of a format."""
    return Options("MaximumMinimumOptions"), 4 if fmt.is_wide else 2


class Writer:
    """Appends operators to a ``FlatModel``. ``codes[name]`` is the tensor that holds the codes of a graph node; ``places``: where
    the file has the integers of layers, by their key in ``storage``.

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
        self.places: dict[str, Place] = {}

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
            return self._turned(name, PICTURE, "picture", self.shapes[name])
        order = demanded(reader, name, self.channels, self.orders)
        return self.codes[name] if order is None else self._ordered(name, order, reader.name)

    def _ordered(self, name: str, order: np.ndarray, reader: str) -> int:
        """The codes of the picture ``name`` with its channels in an order."""
        have = self.orders[name]
        if np.array_equal(order, have):
            return self.codes[name]
        self.check_micro(name, "GATHER")
        places = np.argsort(have)[order].astype(np.int32)
        y = self.tensor(f"{reader}/order/{name}", self.qgraph.formats[name], self.shapes[name])
        indices = self.constant(f"{reader}/places/{name}", places)
        return self.file.op("GATHER", [self.codes[name], indices], y, Options("GatherOptions", {"Axis": 3}), 2)

    def check_micro(self, name: str, operator: str) -> None:
        """Raises FileError where TensorFlow Lite Micro has an operator for 8 bits alone, and tensor ``name`` has more."""
        if self.qgraph.rule == "gemmlowp" and self.qgraph.formats[name].is_wide:
            raise FileError(f"{name!r}: TensorFlow Lite Micro has no {operator} of 16-bit tensors", "Give it 8 bits (--pin).")

    def result(self, name: str) -> int:
        """The codes of the output ``name``: a picture as one, whatever wrote it."""
        if name in self.pictures:
            return self._ordered(name, np.arange(self.channels[name]), "output")
        picture = len(self.full[name]) == len(PICTURE)
        return self._turned(name, PICTURE, "picture", self.shapes[name]) if picture else self.codes[name]

    def plain(self, name: str) -> int:
        """The codes of tensor ``name`` with its axes in the order of the network."""
        if name not in self.pictures:
            return self.codes[name]
        x = self._ordered(name, np.arange(self.channels[name]), "tokens")
        return self._turned(name, (0, 3, 1, 2), "tokens", Plain(self.full[name]), x)

    def _turned(self, name: str, axes: tuple[int, ...], what: str, shape: Shape, x: int | None = None) -> int:
        """The codes of tensor ``name``, or ``x`` which are they in another order, with other axes."""
        key = f"{name}/{what}"
        if key not in self.codes:
            y = self.tensor(key, self.qgraph.formats[name], shape)
            turned = transposed(self.file, f"{key}/axes", self.codes[name] if x is None else x, axes)
            self.codes[key] = turned(y)
        return self.codes[key]

    def alias(self, name: str, x: int, fmt: TensorFormat, channels: int, count: int) -> None:
        """Vectors taken for the pixels of a picture of ``count`` x 1."""
        self.qgraph = replace(self.qgraph, formats={**self.qgraph.formats, name: fmt})
        self.codes[name], self.shapes[name], self.channels[name] = x, (channels, count, 1), channels
        self.orders[name] = np.arange(channels)
        self.pictures.add(name)

    def joined(self, name: str, node: Node, fmt: TensorFormat) -> None:
        """A tensor ``name`` of a format of its own on the way to what ``node`` writes."""
        self.qgraph = replace(self.qgraph, formats={**self.qgraph.formats, name: fmt})
        self.shapes[name], self.full[name], self.orders[name] = (
            self.shapes[node.name],
            self.full[node.name],
            self.orders[node.name],
        )

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
            x = self.file.op(operator, [x, self.code(f"{name}/{operator.lower()}_code", fmt, code)], y, *extreme(fmt))
        return x

    def check_moved(self, node: Node) -> None:
        """Raise FileError where a node that moves codes reads them on another grid than it writes."""
        formats = self.qgraph.formats
        if not all(same_grid(formats[name], formats[node.name]) for name in node.inputs):
            raise FileError(f"{node.name!r} moves codes between tensors of different scales, which TFLite does not")

    def moved(self, node: Node, shape: Shape, write: Copy) -> int:
        """The tensor of a node that moves codes, by the operator that ``write(tensor)`` appends; cut where bounds are tighter."""
        formats, target = self.qgraph.formats, self.qgraph.formats[node.name]
        if any(cut(formats[name], target) for name in node.inputs):
            return self.bounded(node.name, target, shape, lambda y, _: write(y), fusible=False)
        return write(self.tensor(node.name, target, shape))

    def narrowed(self, name: str, fmt: TensorFormat, shape: Shape, write: Write) -> int:
        """An int8 tensor from an operator that writes int16: the step to int8 cuts at its ends, the rest is cut behind it."""
        wide = write(self.tensor(f"{name}/int16", widened(fmt), shape), NONE)
        options = Options("QuantizeOptions")
        return self.bounded(name, fmt, shape, lambda y, _: self.file.op("QUANTIZE", [wide], y, options, 2), fusible=False)

    def code(self, name: str, fmt: TensorFormat, code: int) -> int:
        """A constant: one code of a format."""
        value, zero = np.array([code - offset(fmt)]), fmt.zero_point - offset(fmt)
        return self.file.tensor(name, (1,), kind(fmt), scale=fmt.scale, zero_point=zero, data=value)

    def write(self, node: Node, table: OpTable[Callable[[Writer, Node], int]]) -> None:
        """Append the operators of one canonical operation, as ``table`` has them.

        Raises:
            FileError: no TFLite operator computes it as the plan does.
        """
        write = table.get(node.op)
        if write is None:
            reason = table.reason(node.op) or "nobody has written it"
            raise FileError(
                f"{node.name!r}: no operator of {table.name} computes {node.op.describe()} as the plan does: {reason}",
                "Export this plan as ONNX.",
            )
        self.codes[node.name] = write(self, node)
        if self._writes_picture(node):
            self.pictures.add(node.name)

    def _writes_picture(self, node: Node) -> bool:
        """Whether the result is stored as a picture: always for some operators, for others if all that they read are pictures."""
        op = node.op
        over_channels_of_picture = isinstance(op, LayerNorm) and over_channels(op, self.full[node.name])
        if over_channels_of_picture or isinstance(op, _ALWAYS):
            return True
        mean_of_picture = isinstance(op, Mean) and op.over_picture
        product_of_tensors = isinstance(op, Mul) and len(node.inputs) > 1
        keeps = isinstance(op, _PICTURES) or mean_of_picture or product_of_tensors
        return keeps and all(name in self.pictures for name in node.inputs)


_TOKENS = (Linear, MatMul, Reshape, Permute)
_PICTURES = (
    *(Input, State, Remember, Conv, Add, Concat, Slice, Repeat, PixelShuffle, PixelUnshuffle, Resize, Pad, Roll, Flip, Gather),
    *(Relu, Relu6, Gelu, Exp, Rsqrt, Sigmoid, Silu, Tanh, LeakyRelu, PRelu, MaxPool),
)
"""Operators that write pictures where they read them."""
_ALWAYS = (State, Remember, Conv, PixelShuffle, PixelUnshuffle, Repeat, Resize, MaxPool)
"""Those that turn whatever they read into a picture first, and so always write one."""
