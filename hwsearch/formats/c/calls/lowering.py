"""A quantized network as calls of C kernels, one operation after another, with their constants.

What the kernels need to know beyond the quantized network: sizes (the exported function has one fixed input size), where the axes
of tensors lie (``orders``), multipliers in fixed point. Each operator enters itself in ``LOWERS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hwmodels.errors import FileError, UsageError
from hwsearch.formats.c.calls.orders import orders
from hwsearch.formats.c.calls.places import LAST, Copies, Order, copies
from hwsearch.quant.engine.fixed_point import quantize_multiplier
from hwsearch.quant.engine.steps import same_grid
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, QuantizedGraph
from searchspaces.ir.graph import Node
from searchspaces.ir.shapes import shapes
from searchspaces.ops.base import Op, Shape
from searchspaces.ops.input import Unknown
from searchspaces.ops.table import OpTable

MAX_AXES = 10
"""``HWS_MAX_AXES`` of the kernels: axes along which codes are copied."""
ALIGNED = 8
"""Parts of a step's scratch memory begin at multiples of this."""


@dataclass(frozen=True)
class Constant:
    """An array in flash: ``values`` 1-D of the C type ``kind``."""

    name: str
    kind: str
    values: np.ndarray


@dataclass(frozen=True)
class Record:
    """A constant of the struct ``kind``, by its members."""

    name: str
    kind: str
    members: dict[str, Any]


@dataclass
class LoweredNode:
    """One node of the graph as C.

    ``calls`` have ``{out}``, ``{scratch}`` and ``{in0}``, ``{in1}``, ... where addresses go. Names of constants and records stand
    for ``identifier_name``. ``pool``: type and bytes of each constant of this and earlier steps -> its address.
    """

    node: Node
    identifier: str
    pool: dict[tuple[str, bytes], str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    scratch_bytes: int = 0
    records: list[Record] = field(default_factory=list)
    constants: list[Constant] = field(default_factory=list)

    def record(self, name: str, kind: str, **members: Any) -> str:
        """Add a record; gives its address."""
        self.records.append(Record(name, kind, members))
        return f"&{self.identifier}_{name}"

    def array(self, name: str, kind: str, values: np.ndarray, *, pooled: bool = True) -> str:
        """Add a constant, unless an earlier one (``pooled``) is equal to it: the mask of many blocks stands once.

        Returns: its address.
        """
        address = f"{self.identifier}_{name}"
        if pooled:
            # Equal numbers of one C type are equal there, whatever holds them here.
            key = (kind, values.astype(np.float32 if kind == "float" else np.int64).tobytes())
            if (earlier := self.pool.setdefault(key, address)) != address:
                return earlier
        self.constants.append(Constant(name, kind, values))
        return address

    def scratch(self, size: int) -> str:
        """Take ``size`` further bytes of scratch memory; gives their address."""
        at = -(-self.scratch_bytes // ALIGNED) * ALIGNED
        self.scratch_bytes = at + size
        return f"{{scratch}} + {at}" if at else "{scratch}"


def container_bytes(fmt: TensorFormat) -> int:
    return fmt.number.container_bits // 8


@dataclass(frozen=True)
class Lower:
    """How an operator becomes C: ``calls`` fills a step; ``lacks`` says what of a node the kernels do not have, in words."""

    calls: Callable[[Lowering, Node, LoweredNode], None]
    lacks: Callable[[Node, list[TensorFormat], TensorFormat], str | None] | None = None


LOWERS: OpTable[Lower] = OpTable("the exported C")
LOWERS.lacks("there is no C kernel for it", Op)
LOWERS.lacks("nobody knows what it computes", Unknown)


def unsupported(qgraph: QuantizedGraph) -> list[str]:
    """What of a network the C kernels cannot execute, one sentence each."""
    said = []
    for node in qgraph.graph.nodes:
        *sources, target = (qgraph.formats[name] for name in (*node.inputs, node.name))
        lower = LOWERS.get(node.op)
        if any(fmt.is_float for fmt in (*sources, target)) or isinstance(qgraph.layers.get(node.name), LayerFloats):
            said.append(f"{node.name!r} is in half precision")
        elif lower is None:
            said.append(f"{node.name!r}: operation {node.op.describe()!r}: {LOWERS.reason(node.op)}")
        elif lower.lacks is not None and (lacking := lower.lacks(node, sources, target)):
            said.append(f"{node.name!r}: {lacking}")
        elif node.op.moves and not all(same_grid(fmt, target) for fmt in sources):
            said.append(f"{node.name!r}: {node.op.word} that changes the scale")
    return said


def check(qgraph: QuantizedGraph) -> None:
    """Raise ``UsageError`` with everything that cannot be executed in C."""
    said = unsupported(qgraph)
    if said:
        raise UsageError(
            "this plan cannot be exported to C:\n" + "\n".join(f"  - {text}" for text in said), "Export to onnx instead."
        )


class Lowering:
    """A quantized network for one input size as a list of calls.

    Attributes:
        shapes: name of each tensor -> its shape, the batch included.
        orders: name -> the order of its axes in memory.
    """

    def __init__(self, qgraph: QuantizedGraph, height: int, width: int) -> None:
        self.qgraph = replace(qgraph, graph=qgraph.graph.at(height, width))
        self.shapes: dict[str, Shape] = shapes(qgraph.graph, height, width)
        self.orders: dict[str, Order] = orders(self.qgraph.graph, self.shapes)
        self._identifiers: dict[str, str] = {}

    def steps(self) -> Iterator[LoweredNode]:
        """Every operation, in execution order; what comes in is none."""
        pool: dict[tuple[str, bytes], str] = {}
        for index, node in enumerate(self.qgraph.graph.computed):
            step = LoweredNode(node, f"step_{index}", pool)
            lower = LOWERS.get(node.op)
            assert lower is not None, "check comes first"
            lower.calls(self, node, step)
            if node.name == self.qgraph.graph.output.name:
                self._as_picture(step)
            yield step

    def _as_picture(self, step: LoweredNode) -> None:
        """The picture that comes out has its channels last, whatever the operator writes."""
        name, shape = step.node.name, self.shapes[step.node.name]
        if len(shape) != len(LAST) or self._alike(name, LAST):
            return
        before = step.scratch(self.tensor_bytes(name))
        step.calls = [call.replace("{out}", before) for call in step.calls]
        moved = copies(lambda x: x, shape, self.orders[name], LAST)
        self.copy(step, moved, before, "{out}", self.qgraph.formats[name], "out")

    def each_picture(self, node: Node, step: LoweredNode, source: str, call: Callable[[str, str], str]) -> None:
        """Add ``call(source, target)`` for every picture of a batch, one behind the other."""
        count = self.shapes[node.name][0]
        if count == 1:
            step.calls.append(call(source, "{out}"))
            return
        read, written = (self.tensor_bytes(name) // count for name in (node.inputs[0], node.name))
        body = call(f"{source} + n * {read}", f"{{out}} + n * {written}")
        step.calls.append(f"for (int32_t n = 0; n < {count}; n++) {{{{ {body} }}}}")

    def picture(self, name: str) -> tuple[int, int, int]:
        """Channels, height and width of a tensor, or of one picture of a batch; values that are no picture count as channels of
        a single pixel."""
        shape = self.shapes[name]
        return (shape[1], shape[2], shape[3]) if len(shape) == 4 else (math.prod(shape), 1, 1)

    def elements(self, name: str) -> int:
        return math.prod(self.shapes[name])

    def tensor_bytes(self, name: str) -> int:
        return self.elements(name) * container_bytes(self.qgraph.formats[name])

    def sides(self, node: Node) -> tuple[list[TensorFormat], TensorFormat]:
        return [self.qgraph.formats[name] for name in node.inputs], self.qgraph.formats[node.name]

    def weights_of(self, owner: str, identifier: str) -> str:
        """Address of packed weights, which the first step that has them defines."""
        return f"{self._identifiers.setdefault(owner, identifier)}_weights"

    def input_as(self, node: Node, step: LoweredNode, index: int, order: Order) -> str:
        """Address of an input whose axes lie in ``order``: where it is, or where the step brings it first."""
        name = node.inputs[index]
        if self._alike(name, order):
            return f"{{in{index}}}"
        return self.input_repeated(node, step, index, self.shapes[name], order)

    def input_repeated(self, node: Node, step: LoweredNode, index: int, shape: Shape, order: Order) -> str:
        """Address to which the step brings an input first, repeated to ``shape``, with its axes in ``order``."""
        name = node.inputs[index]
        fmt = self.qgraph.formats[name]
        there = step.scratch(math.prod(shape) * container_bytes(fmt))
        moved = copies(lambda x: x.expand(shape), self.shapes[name], self.orders[name], order)
        self.copy(step, moved, f"{{in{index}}}", there, fmt, f"in{index}")
        return there

    def rows(self, node: Node, step: LoweredNode, order: Order) -> tuple[str, int, int]:
        """Address of the input in ``order``, how many rows it has, and how long they are."""
        length = self.shapes[node.inputs[0]][order[-1]]
        return self.input_as(node, step, 0, order), self.elements(node.inputs[0]) // length, length

    def around(self, name: str, axis: int) -> tuple[int, int]:
        """How many blocks along ``axis`` a tensor has in memory, and how many codes lie together at each place of that axis."""
        shape, order = self.shapes[name], self.orders[name]
        place = order.index(axis % len(shape))
        before, behind = (math.prod(shape[other] for other in axes) for axes in (order[:place], order[place + 1 :]))
        return before, behind

    def _alike(self, name: str, order: Order) -> bool:
        """Whether ``order`` leaves a tensor as it lies, axes of length 1 aside."""
        longer = [[axis for axis in axes if self.shapes[name][axis] > 1] for axes in (self.orders[name], order)]
        return longer[0] == longer[1]

    def copy(self, step: LoweredNode, moved: Copies, source: str, target: str, fmt: TensorFormat, name: str) -> None:
        """Add the call that copies codes of a format from ``source`` to ``target``."""
        size = container_bytes(fmt)
        if len(moved.tables) > MAX_AXES:
            raise UsageError(f"{step.node.name!r}: a move along {len(moved.tables)} axes")
        layer = step.record(
            name,
            "hws_move_layer",
            axes=len(moved.tables),
            sizes=step.array(f"{name}_sizes", "int32_t", np.array([len(table) for table in moved.tables])),
            offsets=step.array(f"{name}_offsets", "int32_t", np.concatenate(moved.tables)),
            base=moved.base,
            run=moved.run,
            fill=fmt.zero_point,
            bytes=size,
        )
        step.calls.append(f"hws_move({layer}, {source}, {target});")

    def clamp(self, node: Node, step: LoweredNode) -> None:
        """Add the call that keeps the bounds of the output, where they are tighter than those of what was moved to it."""
        sources, target = self.sides(node)
        if any(target.qmin > s.qmin or target.qmax < s.qmax for s in sources):
            size = container_bytes(target)
            step.calls.append(f"hws_clamp({{out}}, {self.elements(node.name)}, {target.qmin}, {target.qmax}, {size});")


def scale_members(real: float, target: TensorFormat) -> dict[str, int]:
    """Members of a record that tell how a sum becomes a code: times ``real``, in the zero point and bounds of ``target``."""
    multiplier, shift = quantize_multiplier(real)
    return {"multiplier": multiplier, "shift": shift, **_ends(target)}


def real(value: float) -> str:
    """A number of single precision as C writes it, exact.

    Raises:
        FileError: it is none: infinite, or not a number.
    """
    if not np.isfinite(np.float32(value)):
        raise FileError(f"a constant of {value} is no number that C can write", "The network's weights are out of range.")
    return f"{float(np.float32(value))!r}f"


def rounded(target: TensorFormat) -> dict[str, str | int]:
    """Members of a record that tell how a real value becomes a code."""
    return {"out_scale": real(target.scale), **_ends(target)}


def _ends(target: TensorFormat) -> dict[str, int]:
    return {"out_zero": target.zero_point, "out_min": target.qmin, "out_max": target.qmax}
