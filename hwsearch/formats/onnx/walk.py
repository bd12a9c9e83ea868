"""From ONNX nodes to the canonical graph: one pass that follows pictures through the file.

Every value of the file is a constant, a number computed from shapes, or a feature map, known by the canonical node that produced
it. What only changes the notation of a feature map (quantize, dequantize, cast, rounding, arithmetic with constants or with other
notations of the same map) keeps its name; so a requantization spelled out in ten nodes is nothing, and two convolutions of
one map by the same weights (the two bytes of a 16-bit tensor) are one. Widths are written down where a map is stored as codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper

from hwsearch.formats.onnx.constants import INTEGER_BITS, Constant, Found, code_bits, constant, constant_node, folded
from hwsearch.formats.onnx.read_convolution import CONVOLUTIONS, convolution
from searchspaces.ir.graph import Node
from searchspaces.ops.activation import Activation, Clip, LeakyRelu, PRelu, Relu, Relu6, Sigmoid, Tanh
from searchspaces.ops.base import Op
from searchspaces.ops.conv import Conv
from searchspaces.ops.elementwise import Add, Mul
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.move import Concat, PixelShuffle, Repeat, Slice
from searchspaces.ops.pad import Pad
from searchspaces.ops.reduce import Mean, Reduction, Std
from searchspaces.ops.resize import Mode, Resize
from searchspaces.ops.table import OpTable

SHAPE = "shape"
"""Stands for a value that is computed from shapes alone."""
POINTWISE = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum")
ACTIVATIONS: dict[str, type[Activation]] = {
    "Relu": Relu, "LeakyRelu": LeakyRelu, "QLinearLeakyRelu": LeakyRelu, "PRelu": PRelu, "Sigmoid": Sigmoid,
    "QLinearSigmoid": Sigmoid, "Tanh": Tanh,
}  # fmt: skip
MOVES_NOTHING = (
    "Identity", "Cast", "Round", "Floor", "QuantizeLinear", "DequantizeLinear", "Quant", "BatchNormalization", "Dropout",
)  # fmt: skip

READS: OpTable[tuple[str, ...]] = OpTable("the ONNX reader")
"""The operators of a file that become each of ours."""
READS.lacks("a file that has it is read with this operator uncounted", Op)
READS.lacks("it stands for what a file has and no other operator expresses", Unknown)
READS.lacks("its square root and differences are read as the mean that they are made of", Std)
READS.put(("the file's input",), Input)
READS.put(CONVOLUTIONS, Conv)
READS.put(("Add", "QLinearAdd", "Sum"), Add)
READS.put(("Mul", "QLinearMul"), Mul)
READS.put(("Concat", "QLinearConcat"), Concat)
READS.put(("DepthToSpace",), PixelShuffle)
READS.put(("Split", "Slice"), Slice)
READS.put(("Gather",), Repeat)
READS.put(("Resize", "Upsample"), Resize)
READS.put(("GlobalAveragePool", "QLinearGlobalAveragePool", "ReduceMean", "ReduceSum"), Mean)
READS.put(("Pad",), Pad)
READS.put(("Clip",), Clip, Relu6)
for _cls in set(ACTIVATIONS.values()):
    READS.put(tuple(kind for kind, cls in ACTIVATIONS.items() if cls is _cls), _cls)


class Walker:
    """One pass over a graph.

    Attributes:
        layers: convolution's name -> what the file says of its weights.
        widths: canonical node -> bits of its tensor, where the file stores it as codes or half precision.
        unary_of: activation node -> the node that it reads.
        uncounted: operations that the canonical graph cannot express.
        input_size: (height, width) where the file fixes it.
    """

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.constants: dict[str, Constant] = {}
        self.maps: dict[str, str] = {}
        self.codes: set[str] = set()
        self.bounds: dict[str, tuple[float, float]] = {}
        self.nodes: dict[str, Node] = {}
        self.channels: dict[str, int] = {}
        self.layers: dict[str, Found] = {}
        self.widths: dict[str, int] = {}
        self.unary_of: dict[str, str] = {}
        self.uncounted: list[str] = []
        self.input_size: tuple[int, int] | None = None
        self._known: dict[tuple[Any, ...], str] = {}

    def run(self) -> list[Node]:
        """The canonical nodes that the first output depends on, in execution order, not yet simplified.

        Raises:
            ValueError: no network from one picture to another, or the constants are damaged.
            KeyError: a node reads a value that nothing writes.
        """
        for tensor in self.graph.initializer:
            self.constants[tensor.name] = constant(tensor)
        self._input()
        for node in self.graph.node:
            self._node(node)
        last = self.maps.get(self.graph.output[0].name) if self.graph.output else None
        if last is None or last == SHAPE:
            raise ValueError("its output does not depend on a picture")
        return self._up_to(last)

    def _input(self) -> None:
        pictures = [value for value in self.graph.input if value.name not in self.constants]
        if len(pictures) != 1:
            raise ValueError(f"it has {len(pictures)} inputs, not one picture")
        sides = [side.dim_value for side in pictures[0].type.tensor_type.shape.dim]
        if len(sides) != 4 or sides[1] < 1:
            raise ValueError("its input is not a picture [N, C, H, W] of known channels")
        if sides[2] > 0 and sides[3] > 0:
            self.input_size = (sides[2], sides[3])
        self.maps[pictures[0].name] = self.emit("input", Input(sides[1]), (), channels=sides[1])

    def _up_to(self, last: str) -> list[Node]:
        reached, stack = set[str](), [last]
        while stack:
            name = stack.pop()
            if name not in reached:
                reached.add(name)
                stack.extend(self.nodes[name].inputs)
        kept = [node for node in self.nodes.values() if node.name in reached and node.name != last]
        return [*kept, self.nodes[last]]

    def emit(
        self, name: str, op: Op, inputs: tuple[str, ...], weights: Mapping[str, torch.Tensor] | None = None, *, channels: int
    ) -> str:
        """A canonical node; its name is made unique."""
        unique, copies = name, 1
        while unique in self.nodes:
            copies += 1
            unique = f"{name}@{copies}"
        self.nodes[unique] = Node(unique, op, inputs, weights or {})
        self.channels[unique] = channels
        return unique

    def once(self, key: tuple[Any, ...], make: Callable[[], str]) -> str:
        """The node for ``key``, made when it is first asked for."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    # One ONNX node

    def _node(self, node: NodeProto) -> None:
        attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.type != AttributeProto.GRAPH}
        inputs = [name for name in node.input if name]
        for name in inputs:
            if name not in self.constants and name not in self.maps:
                raise KeyError(f"{node.op_type} reads {name!r}, which nothing writes")
        sources = list(dict.fromkeys(self.maps[n] for n in inputs if n in self.maps and self.maps[n] != SHAPE))
        if node.op_type == "Constant":
            self.constants[node.output[0]] = constant_node(node)
            return
        if node.op_type in ("Shape", "Size") or (not sources and any(n in self.maps for n in inputs)):
            self.maps.update(dict.fromkeys(node.output, SHAPE))
            return
        if not sources:
            self.constants[node.output[0]] = folded(node, attrs, self.constants)
            return
        handled = self._map(node, attrs, sources)
        if handled is None:
            self.uncounted.append(f"{node.op_type} {node.name or node.output[0]}")
            name = self.emit(node.output[0], Unknown(node.op_type), tuple(sources), channels=self.channels[sources[0]])
            handled = [name] * len(node.output)
        for output, name in zip(node.output, handled, strict=False):
            self.maps[output] = name
        self._follow_codes(node, attrs)

    def _numbers(self, name: str) -> np.ndarray:
        """A constant operand; KeyError if it is computed."""
        if name not in self.constants:
            raise KeyError(f"{name!r} should be a constant")
        return self.constants[name].real

    def _map(self, node: NodeProto, attrs: dict[str, Any], sources: list[str]) -> list[str] | None:
        """Canonical names of a node's outputs; None where the canonical graph has no word for it."""
        kind, first, name = node.op_type, sources[0], node.output[0]
        count = self.channels[first]
        match kind:
            case _ if kind in CONVOLUTIONS:
                return convolution(self, node, attrs)
            case _ if (
                kind in MOVES_NOTHING
                or (kind in POINTWISE and len(sources) == 1)
                or (kind == "Sqrt" and isinstance(self.nodes[first].op, Reduction))
            ):
                return [first] * len(node.output)
            case "Clip" if len(sources) == 1:
                return [self._clip(node, first)]
            case "Add" | "QLinearAdd" | "Sum" | "Mul" | "QLinearMul" if len(sources) == 2:
                op = Mul() if "Mul" in kind else Add()
                if isinstance(op, Mul) and isinstance(self.nodes[sources[0]].op, Reduction):
                    sources = sources[::-1]
                return [self.emit(name, op, tuple(sources), channels=count)]
            case _ if kind in ACTIVATIONS:
                return [self._activation(node, attrs, first)]
            case "Concat" | "QLinearConcat" if attrs["axis"] == 1:
                parts = tuple(self.maps[n] for n in node.input if n in self.maps)
                return [self.emit(name, Concat(), parts, channels=sum(self.channels[p] for p in parts))]
            case "DepthToSpace":
                factor = int(attrs["blocksize"])
                return [self.emit(name, PixelShuffle(factor), (first,), channels=count // factor**2)]
            case "Split" if attrs.get("axis", 0) == 1:
                return self._split(node, first)
            case "Slice":
                return self._slice(node, first)
            case "Gather":
                return self._gather(node, attrs, first)
            case "Resize" | "Upsample":
                return self._resize(node, attrs, first)
            case "GlobalAveragePool" | "QLinearGlobalAveragePool" | "ReduceMean" | "ReduceSum":
                return self._pool(node, attrs, first)
            case "Pad":
                pads = self._numbers(node.input[1]).astype(int).tolist()
                if attrs.get("mode", b"constant") != b"constant" or len(pads) != 8 or any(pads[i] for i in (0, 1, 4, 5)):
                    return None
                around = (pads[3], pads[7], pads[2], pads[6])
                return [self.emit(name, Pad(around), (first,), channels=count)]
        return None

    def _activation(self, node: NodeProto, attrs: dict[str, Any], source: str) -> str:
        cls = ACTIVATIONS[node.op_type]
        op = LeakyRelu(float(attrs.get("alpha", 0.01))) if cls is LeakyRelu else cls()
        weights = {}
        if cls is PRelu:
            slope = self._numbers(node.input[1]).astype(np.float32).reshape(-1)
            weights["slope"] = torch.from_numpy(np.broadcast_to(slope, (self.channels[source],)).copy())
        return self._unary(node.output[0], op, source, weights)

    def _unary(self, name: str, op: Activation, source: str, weights: Mapping[str, torch.Tensor] | None = None) -> str:
        made = self.emit(name, op, (source,), weights, channels=self.channels[source])
        self.unary_of[made] = source
        return made

    def _clip(self, node: NodeProto, source: str) -> str:
        """Codes keep their name; a clip of real values is an activation."""
        low, high = (float(self._numbers(n)) if n else bound for n, bound in self._limits(node))
        if node.input[0] in self.codes:
            self.bounds[node.output[0]] = (low, high)
            return source
        if low == 0 and high in (6.0, np.inf):
            return self._unary(node.output[0], Relu6() if high == 6 else Relu(), source)
        return self._unary(node.output[0], Clip(low, high), source)

    def _limits(self, node: NodeProto) -> list[tuple[str, float]]:
        names = [*node.input[1:3], "", ""][:2]
        return [(names[0], -np.inf), (names[1], np.inf)]

    def _split(self, node: NodeProto, source: str) -> list[str]:
        count = self.channels[source]
        sizes = [count // len(node.output)] * len(node.output)
        if len(node.input) > 1 and node.input[1]:
            sizes = self._numbers(node.input[1]).astype(int).tolist()
        stops = np.cumsum(sizes).tolist()
        return [
            self.emit(output, Slice(stop - size, stop), (source,), channels=size)
            for output, size, stop in zip(node.output, sizes, stops, strict=True)
        ]

    def _slice(self, node: NodeProto, source: str) -> list[str] | None:
        start, stop, axes = (self._numbers(n).astype(np.int64).reshape(-1) for n in node.input[1:4])
        steps = self._numbers(node.input[4]).reshape(-1) if len(node.input) > 4 else np.ones(1)
        if axes.tolist() != [1] or steps.tolist() != [1]:
            return None
        first, last, _ = slice(int(start[0]), int(stop[0])).indices(self.channels[source])
        return [self.emit(node.output[0], Slice(first, last), (source,), channels=last - first)]

    def _gather(self, node: NodeProto, attrs: dict[str, Any], source: str) -> list[str] | None:
        if node.input[0] in self.constants:  # a table, looked up by codes
            return [self._unary(node.output[0], Sigmoid(), source)]
        index = self._numbers(node.input[1]).astype(np.int64).reshape(-1)
        times, rest = divmod(len(index), self.channels[source])
        if attrs.get("axis", 0) != 1 or rest or not np.array_equal(index, np.repeat(np.arange(self.channels[source]), times)):
            return None
        return [self.emit(node.output[0], Repeat(times), (source,), channels=len(index))]

    def _resize(self, node: NodeProto, attrs: dict[str, Any], source: str) -> list[str] | None:
        scales = self._numbers(node.input[-1]).reshape(-1).tolist()
        modes: dict[bytes, Mode] = {b"nearest": "nearest", b"linear": "bilinear", b"cubic": "bicubic"}
        mode = modes.get(attrs.get("mode", b"nearest"))
        if len(scales) != 4 or scales[:2] != [1, 1] or scales[2] != scales[3] or scales[2] % 1 or mode is None:
            return None
        return [self.emit(node.output[0], Resize(mode, int(scales[2])), (source,), channels=self.channels[source])]

    def _pool(self, node: NodeProto, attrs: dict[str, Any], source: str) -> list[str] | None:
        if "Global" not in node.op_type:
            axes = attrs["axes"] if "axes" in attrs else self._numbers(node.input[1]).astype(int).tolist()
            if sorted(axis % 4 for axis in axes) != [2, 3] or isinstance(self.nodes[source].op, Reduction):
                return None
        key = ("pool", source)
        return [self.once(key, lambda: self.emit(node.output[0], Mean(), (source,), channels=self.channels[source]))]

    # Codes and their widths

    def _follow_codes(self, node: NodeProto, attrs: dict[str, Any]) -> None:
        """Whether a node's outputs are codes, and the width at which it stores its tensor."""
        kind, read, written = node.op_type, node.input[0], node.output[0]
        name = self.maps[written]
        if kind in ("Round", "Floor") or (kind in ("Cast", "Add", "Sub", "Clip", "Identity") and read in self.codes):
            self.codes.add(written)
        if read in self.bounds and kind in ("Cast", "Identity"):
            self.bounds[written] = self.bounds[read]
        if kind == "QuantizeLinear" or kind.startswith("QLinear"):
            self.codes.add(written)
            self.widths[name] = self._quantizer_bits(node, attrs)
        elif kind == "Quant":
            self.widths[name] = int(self._numbers(node.input[3]))
        elif kind == "Cast" and attrs["to"] in (TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16):
            # Codes that are parts of wider ones (its bytes) carry no bounds and say nothing.
            if read in self.bounds:
                self.widths[name] = code_bits(self.bounds[read], INTEGER_BITS[attrs["to"]])
        elif kind == "Cast" and attrs["to"] == TensorProto.FLOAT16:
            self.widths[name] = 16
        elif kind == "Clip" and written in self.bounds and name in self.widths:
            self.widths[name] = code_bits(self.bounds[written], self.widths[name])

    def _quantizer_bits(self, node: NodeProto, attrs: dict[str, Any]) -> int:
        position = {"QuantizeLinear": 2, "QLinearConv": 7, "QLinearAdd": 7, "QLinearMul": 7, "QLinearConcat": 1}.get(
            node.op_type, 4
        )
        zero = self.constants.get(node.input[position]) if len(node.input) > position else None
        return INTEGER_BITS.get(zero.stored if zero else attrs.get("output_dtype", TensorProto.UINT8), 8)
