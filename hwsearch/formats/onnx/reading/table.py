"""The table of ONNX operators, and what a reader of one sees of its call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, helper

from hwsearch.formats.onnx.reading.constants import Constant, constant
from hwsearch.formats.reading.builder import Map
from hwsearch.formats.reading.operands import Operands
from searchspaces.ops.reading import NotRead, OperatorReaders

READS = OperatorReaders("the ONNX reader")
"""ONNX operator -> the function that reads it. A function gets a ``Walk`` and a ``Call``; it returns the value of the call, or
one for each output."""

Value = Map | Constant


@dataclass(frozen=True, eq=False)
class Parsed:
    """One node of a file, taken apart once for all walks; ``branches``: the graphs in it."""

    proto: NodeProto
    attrs: Mapping[str, Any]
    branches: Mapping[str, Branch]


@dataclass(frozen=True, eq=False)
class Branch:
    """A graph: the file's own, or one inside a node."""

    constants: Mapping[str, Constant]
    nodes: tuple[Parsed, ...]
    outputs: tuple[str, ...]


def parsed(graph: GraphProto) -> Branch:
    """A graph, taken apart."""
    nodes = []
    for proto in graph.node:
        attrs = {a.name: helper.get_attribute_value(a) for a in proto.attribute if a.type != AttributeProto.GRAPH}
        inside = {a.name: parsed(a.g) for a in proto.attribute if a.type == AttributeProto.GRAPH}
        nodes.append(Parsed(proto, attrs, inside))
    constants = {tensor.name: constant(tensor) for tensor in graph.initializer}
    return Branch(constants, tuple(nodes), tuple(output.name for output in graph.output))


@dataclass(frozen=True)
class Call(Operands[Constant]):
    """One node as it is read: ``inputs`` are values, None where one is left out; ``opset`` is that of the file."""

    parsed: Parsed
    inputs: tuple[Value | None, ...]
    opset: int

    @property
    def kind(self) -> str:
        return str(self.parsed.proto.op_type)

    @property
    def label(self) -> str:
        """What messages call the node."""
        return str(self.parsed.proto.name or self.parsed.proto.output[0])

    @property
    def attrs(self) -> Mapping[str, Any]:
        return self.parsed.attrs

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(self.parsed.proto.input)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs; the first names the node that computes it."""
        return tuple(self.parsed.proto.output)

    @property
    def name(self) -> str:
        return self.outputs[0]

    def numbers(self, place: int, what: str = "") -> np.ndarray:
        return self.constant(place, what).real

    def integers(self, attribute: str, place: int | None = None, default: Any = None) -> Any:
        """Whole numbers that stand as an attribute in older operator sets and as an input in newer ones."""
        if attribute in self.attrs:
            found = self.attrs[attribute]
            return [int(number) for number in found] if isinstance(found, list | tuple) else int(found)
        if place is not None and self.has(place):
            return [int(number) for number in self.numbers(place, attribute).reshape(-1)]
        return default

    def text(self, attribute: str, default: str = "") -> str:
        found = self.attrs.get(attribute, default)
        return found.decode() if isinstance(found, bytes) else str(found)

    def axis(self, rank: int, default: int = 0) -> int:
        """The attribute ``axis``, not negative.

        Raises:
            NotRead: there is no such axis.
        """
        axis = int(self.attrs.get("axis", default))
        if not -rank <= axis < rank:
            raise NotRead(f"axis {axis} of {rank}")
        return axis % rank
