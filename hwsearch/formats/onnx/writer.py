"""What all ONNX files of ours share: nodes and constants as they are collected, sizes that depend on the picture, and the frame
of the model: dynamic height and width (fixed ones of a network for one size), a float32 picture in 0..1 in and out."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from hwmodels.errors import FileError
from hwsearch.documents.versions import __version__
from hwsearch.formats.onnx import state
from hwsearch.formats.onnx.operators import WRITES
from searchspaces.ir.graph import Graph, Node
from searchspaces.ir.shapes import shapes
from searchspaces.ops.base import Shape
from searchspaces.ops.extent import BadExtent, Extent
from searchspaces.ops.maps.activation import Activation

PROBES = ((48, 48), (64, 80))
"""Two sizes of a picture: an axis that differs between them depends on the size."""
OPSET, IR_VERSION = 21, 10
"""The oldest with 4-bit integers. The version of the file format is set because the newest is not read by every runtime."""


def _probes(graph: Graph) -> tuple[tuple[int, int], ...]:
    """``PROBES``, or sizes near them that the graph takes: twice its one size, or multiples."""
    if graph.size is not None:
        return (graph.size, graph.size)
    return tuple(
        (-(-height // graph.multiple) * graph.multiple, -(-width // graph.multiple) * graph.multiple) for height, width in PROBES
    )


def digest(nodes: Iterable[NodeProto]) -> str:
    """A hash of the operators of a file."""
    seen = hashlib.sha256()
    for node in nodes:
        seen.update(node.SerializeToString(deterministic=True))
    return seen.hexdigest()


class Writer:
    """Collects nodes and constants; nodes must be written in execution order. ``states``: what the caller hands on from frame to
    frame, by name of input (see ``state``)."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.shapes, self._others = (shapes(graph, *size) for size in _probes(graph))
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.more_inputs: list[ValueInfoProto] = []
        self.more_outputs: list[ValueInfoProto] = []
        self.states: dict[str, dict[str, Any]] = {}
        self._count = 0

    def op(self, kind: str, inputs: Sequence[str], name: str = "", **attrs: Any) -> str:
        """Append a node, return the name of its output."""
        self._count += 1
        output = name or f"{kind.lower()}_{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{kind}:{output}", **attrs))
        return output

    def const(self, value: Any, dtype: Any = np.float32, name: str = "") -> str:
        """A constant; equal unnamed constants are stored once."""
        array = np.asarray(value, dtype=dtype)
        content = f"{array.dtype}{array.shape}".encode() + array.tobytes()
        key = name or f"constant_{hashlib.sha256(content).hexdigest()[:16]}"
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(array, key)
        return key

    def weight(self, node: Node, values: Any, dtype: Any = np.float32) -> str:
        """The constant of a layer's weights; layers that use the same weights have one, where it has the same numbers."""
        array = np.asarray(values, dtype)
        return self.of_all(node, numpy_helper.from_array(array))

    def of_all(self, node: Node, tensor: TensorProto) -> str:
        """The constant ``tensor`` of a layer's weights, under the name of the first layer that has it."""
        for user in self.graph.weight_groups[node.name]:
            key = f"{user}.weight"
            tensor.name = key
            if user == node.name or self.constants.get(key) == tensor:
                self.constants[key] = tensor
                return key
        raise KeyError(node.name)

    def cast(self, x: str, to: int) -> str:
        return self.op("Cast", [x], to=int(to))

    def activate(self, real: str, node: Node, activation: Activation | None, name: str = "") -> str:
        """An activation on real values, whose weights stand on ``node``."""
        if activation is None:
            return real
        return self.written(Node(node.name, activation, (node.name,), node.weights), [real], name)

    def written(self, node: Node, xs: list[str], name: str = "") -> str:
        """The operator of a node on real values, without its fused activation.

        Raises:
            FileError: there is no way to write it.
        """
        write = WRITES.get(node.op)
        if write is None:
            raise FileError(f"{node.name!r}: {WRITES.missing([node.op])[0]}")
        return write(self, node, xs, name)

    def weights(self, node: Node) -> list[str]:
        """Weight and bias of a layer, as real numbers."""
        raise NotImplementedError

    def fixed_side(self, tensor: str, axis: int) -> int:
        """Size of an axis that does not depend on the picture's.

        Raises:
            FileError: it does.
        """
        if self.shapes[tensor][axis] != self._others[tensor][axis]:
            raise FileError(f"{tensor!r}: its axis {axis} depends on the picture's size, which this operator needs as a number")
        return self.shapes[tensor][axis]

    def both_shapes(self, tensor: str) -> tuple[Shape, Shape]:
        """Its shapes for two sizes of the picture: what differs depends on it."""
        return self.shapes[tensor], self._others[tensor]

    def _sides(self, tensor: str) -> list[int | str]:
        """The shape of the output; names where it depends on the picture's size."""
        names = ["output_0", "output_1", "output_height", "output_width"]
        sides = zip(self.shapes[tensor], self._others[tensor], strict=True)
        return [a if a == b else names[axis] if axis < len(names) else f"output_{axis}" for axis, (a, b) in enumerate(sides)]

    def extents(self, sizes: Sequence[Extent]) -> str:
        """Sizes as a list of integers: a constant, or computed from the picture's height and width."""
        if all(isinstance(size, int) for size in sizes):
            return self.const(list(sizes), np.int64)
        return self.op("Concat", [self._extent(size) for size in sizes], axis=0)

    def _extent(self, size: Extent) -> str:
        """One size, ``int64[1]``."""
        if isinstance(size, int):
            return self.const([size], np.int64)
        return self._formula(ast.parse(size, mode="eval").body)

    def _formula(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=int(number)):
                return self.const([number], np.int64)
            case ast.Name(id=name):
                axis = 2 if name == "h" else 3
                return self.op("Shape", ["input"], start=axis, end=axis + 1)
            case ast.UnaryOp(operand=operand):
                return self.op("Neg", [self._formula(operand)])
            case ast.BinOp(left=left, op=operator, right=right):
                kinds = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul", ast.FloorDiv: "Div"}
                return self.op(kinds[type(operator)], [self._formula(left), self._formula(right)])
        raise BadExtent(ast.unparse(node))

    def model(
        self,
        graph: Graph,
        facts: Mapping[str, Any] | None = None,
        domains: Mapping[str, int] | None = None,
        versions: tuple[int, int] = (OPSET, IR_VERSION),
    ) -> onnx.ModelProto:
        """The model from tensor "input" to tensor "output", and from states to states, checked by ``onnx.checker``.

        Args:
            facts: what the file's metadata say beside our version.
            domains: operator sets beside ONNX's own, with their versions.
            versions: of ONNX's operators and of the file format.
        """
        ends = [
            helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, graph.channels, *(graph.size or ("height", "width"))]),
            helper.make_tensor_value_info("output", TensorProto.FLOAT, self._sides(graph.output.name)),
        ]
        sets = [helper.make_opsetid(domain, version) for domain, version in {"": versions[0], **(domains or {})}.items()]
        model = helper.make_model(
            helper.make_graph(
                self.nodes,
                graph.name or "network",
                [ends[0], *self.more_inputs],
                [ends[1], *self.more_outputs],
                list(self.constants.values()),
            ),
            opset_imports=sets,
            ir_version=versions[1],
            producer_name="hwsearch",
            producer_version=__version__,
        )
        written = {"hwsearch_version": __version__, **(facts or {})}
        if self.states:
            written[state.FACT] = json.dumps(self.states)
        helper.set_model_props(model, {key: str(value) for key, value in written.items()})
        onnx.checker.check_model(model, full_check=True)
        return model
