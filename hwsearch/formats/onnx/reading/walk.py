"""From the nodes of an ONNX file to the canonical graph, at one size of the picture.

Every value of the file is a constant (shapes and what is computed from them included: at one size they are numbers) or depends on
the picture. What only changes the notation of a tensor (quantizing, dequantizing, casts) leaves no node; the width at which
the file stores it is written down. The saturation of a quantizer whose lowest code stands for zero is a ReLU, and is read as one:
tools leave the ReLU of the network out where it is.

Some files, ours among them, spell requantization out in ten nodes of integer arithmetic. Then all arithmetic with constants is
notation (``notation``): the structure and the widths are right, the function is not, and the graph is priced but not executed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto

from hwsearch.formats.onnx.reading.constants import Constant, Found, computed
from hwsearch.formats.onnx.reading.folding import Folder
from hwsearch.formats.onnx.reading.table import READS, Branch, Call, Parsed, Value
from hwsearch.formats.onnx.reading.widths import CODES, follow_codes
from hwsearch.formats.reading.builder import CONTRADICTIONS, TO_CHANNELS_FIRST, TO_CHANNELS_LAST, Builder, Map
from hwsearch.formats.reading.readers import usual_range
from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op
from searchspaces.ops.maps.activation import Relu
from searchspaces.ops.reading import NotRead
from searchspaces.tracing.formulas import TraceSize

SPELLED_OUT = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
"""Operators of files that spell integers out."""
ROUNDS = ("Round", "Floor")
"""Operators of such files that others have, too."""
RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
DEEPEST = 8
"""Branches inside branches."""


def spells_out(graph: GraphProto) -> bool:
    """Whether a file spells integer arithmetic out: by operators of integers, or by rounding to codes."""
    kinds = {node.op_type for node in graph.node}
    stored = any(tensor.data_type in CODES for tensor in graph.initializer)
    casts = any(a.name == "to" and a.i in CODES for node in graph.node if node.op_type == "Cast" for a in node.attribute)
    return bool(kinds & {*SPELLED_OUT}) or (bool(kinds & {*ROUNDS}) and (stored or casts))


class Walk(Builder):
    """One pass.

    Attributes:
        values: every value by its name in the file.
        layers: layer's name -> what the file says of its weights.
        widths: node -> bits of its tensor, where the file stores it as codes or half precision.
        sequences: list of tensors -> its items, of a value that stands for the whole.
        spelled: integer arithmetic was met that is spelled out; what was built is not what the file computes.
        unary_of: activation -> the node that it reads.
        taken: which output of the file is read.
        codes, bounds, zeros, scales: names in the file of what is codes; their bounds; zero point and lowest code; scale.
    """

    def __init__(self, channels: int, sample: TraceSize, opset: int, folder: Folder, *, notation: bool) -> None:
        super().__init__(channels, sample)
        self.opset, self.folder, self.notation, self.spelled = opset, folder, notation, notation
        self.values: dict[str, Value] = {}
        self.layers: dict[str, Found] = {}
        self.widths: dict[str, int] = {}
        self.unary_of: dict[str, str] = {}
        self.sequences: dict[str, list[Map]] = {}
        self.taken = 0
        self.codes: set[str] = set()
        self.bounds: dict[str, tuple[float, float]] = {}
        self.zeros: dict[str, tuple[float, float]] = {}
        self.scales: dict[str, float] = {}
        self._known: dict[tuple[Any, ...], Map] = {}
        self._depth = 0

    def door(self, *, last: bool) -> Map:
        """The picture as the file has it, channels last or first."""
        return self.turned(self.picture, TO_CHANNELS_LAST) if last else self.picture

    def once(self, key: tuple[Any, ...], make: Callable[[], Map]) -> Map:
        """The value for ``key``, made when it is first asked for."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def read(self, graph: Branch) -> None:
        """Read the nodes of a graph in their order.

        Raises:
            ValueError: the constants of a node cannot be evaluated, or it draws random numbers.
            KeyError: a node reads a value that nothing writes.
        """
        self.values.update(graph.constants)
        for node in graph.nodes:
            self._node(node)

    def _node(self, parsed: Parsed) -> None:
        node = parsed.proto
        for name in node.input:
            if name and name not in self.values:
                raise KeyError(f"{node.op_type} reads {name!r}, which nothing writes")
        if node.op_type in RANDOM:
            raise ValueError(f"{node.op_type} {node.name}: a network that draws random numbers is another one every time")
        inputs = tuple(self.values[name] if name else None for name in node.input)
        call = Call(parsed, inputs, self.opset)
        maps = [value for value in inputs if isinstance(value, Map)]
        if node.op_type == "If":
            found: Value | Sequence[Value] = self._branch(call)
        elif not maps:
            try:
                found = self.folder.fold(node, tuple(v if isinstance(v, Constant) else None for v in inputs))
            except NotRead as reason:
                behind = f" (behind what is not read: {self.uncounted[0]})" if self.uncounted else ""
                raise ValueError(f"{call.label}: {reason}{behind}") from None
        else:
            found = self._read_one(call, maps)
        values = [found] if isinstance(found, Value) else list(found)
        for output, value in zip(node.output, values, strict=False):
            self.values[output] = value
        if maps:
            follow_codes(self, call)

    def _read_one(self, call: Call, maps: list[Map]) -> Value | Sequence[Value]:
        reader = READS.get(call.kind)
        before = len(self.nodes)
        try:
            if reader is None:
                raise NotRead("")
            found: Value | Sequence[Value] = reader.read(self, call)
            return found
        except (NotRead, *CONTRADICTIONS) as reason:
            if not isinstance(reason, NotRead) and not self.uncounted:
                raise
            for name in list(self.nodes)[before:]:
                del self.nodes[name]
            sources = [value.name for value in maps]
            made = self.unknown(call.name, call.kind, call.label, sources, str(reason))
            return [self.whole(made)] * len(call.outputs)

    def _branch(self, call: Call) -> list[Value]:
        """The branch of an ``If`` that is taken at this size."""
        condition = call.inputs[0]
        if not isinstance(condition, Constant) or self._depth == DEEPEST:
            raise ValueError(f"{call.label}: it decides by values of the picture, so it is no fixed network")
        branch = call.parsed.branches["then_branch" if bool(np.all(condition.real)) else "else_branch"]
        self._depth += 1
        self.read(branch)
        self._depth -= 1
        return [self.values[name] for name in branch.outputs]

    # Small vocabulary of the readers

    def number(self, array: Any, name: str = "") -> Constant:
        """A constant that a reader computed."""
        return computed(name, np.asarray(array))

    def saturated(self, value: Map, name: str, zero: float, lowest: float) -> Map:
        """What a quantizer's saturation does to real values: a ReLU where the lowest code stands for zero."""
        if self.notation or zero != lowest or self.never_negative(value.name):
            return value
        return self.unary(name, Relu(), value)

    def unary(self, name: str, op: Op, value: Map) -> Map:
        """An activation."""
        made = self.pointwise(name, op, [value])
        self.unary_of[made.name] = value.name
        return made

    def contradiction(self, text: str) -> Exception:
        """What to raise where shapes do not fit: behind an operator that is not read nobody knows the shape."""
        return NotRead(text) if self.uncounted or self.misfits else ValueError(text)

    def input_range(self) -> str:
        """The values that the picture's codes stand for, where they are one of the usual ranges and not 0..1."""
        for name, value in self.values.items():
            if isinstance(value, Map) and value.name == "input" and name in self.scales and name in self.zeros:
                zero, lowest = self.zeros[name]
                steps = 2.0 ** self.widths.get("input", 8) - 1
                low = (lowest - zero) * self.scales[name]
                return usual_range(low, low + steps * self.scales[name])
        return ""

    def result(self, value: Value, *, last: bool) -> list[Node]:
        """The nodes up to the output; one with its channels last, of a file that has them last (``last``), is turned.

        Raises:
            ValueError: the output does not depend on the picture.
        """
        if not isinstance(value, Map):
            raise ValueError("its output does not depend on a picture")
        if last and len(value.axes) == 4:
            shape, channels = self.shape(value), self.shapes["input"][1]
            if value.axes == TO_CHANNELS_LAST or (value.plain and shape[3] == channels != shape[1]):
                value = self.turned(value, TO_CHANNELS_FIRST)
        return self.up_to(self.lying(value))
