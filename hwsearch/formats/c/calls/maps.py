"""Element by element: sums, products, and functions as tables of codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hwsearch.formats.c.calls.lowering import LOWERS, Lower, LoweredNode, Lowering, container_bytes, real, rounded, scale_members
from hwsearch.formats.c.calls.places import Broadcast, broadcast
from hwsearch.quant.engine import fixed_point, requant
from hwsearch.quant.engine.operators import elementwise, lookup
from hwsearch.quant.engine.steps import Site, codes, functions, prepared
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.maps.activation import Activation, Clip, LeakyRelu, PRelu, Relu, Relu6, bounds
from searchspaces.ops.maps.elementwise import Add, Elementwise, Maximum, Minimum, Mul, Sub

RULE = "gemmlowp"
"""The rule of ``requant`` by which the kernels compute."""
REAL_BYTES = 4
"""Of a number of single precision."""
BENDS = (Relu, Relu6, Clip, LeakyRelu)
"""Functions of 16-bit codes that are a bound or a slope."""
FARTHEST = float(np.finfo(np.float32).max)


class _Operands:
    """Addresses, formats and repetitions of the two operands of a node; one of them may be constant.

    Attributes:
        formats: of the operands; None of ``numbers``, which stay real.
    """

    def __init__(
        self, lowering: Lowering, node: Node, step: LoweredNode, numbers: torch.Tensor | None = None, first: bool = False
    ) -> None:
        self._lowering, self._node, self._step = lowering, node, step
        sources, self.target = lowering.sides(node)
        self._whole, self._order = lowering.shapes[node.name], lowering.orders[node.name]
        self.elements = lowering.elements(node.name)
        found = [self._tensor(index) for index in range(len(sources))]
        self.formats: list[TensorFormat | None] = list(sources)
        if numbers is not None:
            found.append(self._constant(numbers.numpy().astype(np.float32), "float"))
            self.formats.append(None)
        elif "other" in node.weights:
            fmt = codes.constant(node.weights["other"], sources[0], self.target)
            values = fmt.shifted(fmt.carried(fmt.stored(node.weights["other"])))
            self.formats.append(fmt)
            found.append(self._constant(values.numpy().astype(np.int64) + fmt.zero_point, f"uint{8 * container_bytes(fmt)}_t"))
        if first:
            found.reverse()
            self.formats.reverse()
        (self.addresses, self.broadcasts) = zip(*found, strict=True)

    @property
    def codes(self) -> list[TensorFormat]:
        """Formats of operands that are codes, both of them."""
        return [fmt for fmt in self.formats if fmt is not None]

    @property
    def plain(self) -> bool:
        """Whether both are as large as the result and lie as it does."""
        return all(side == Broadcast(1, self.elements) for side in self.broadcasts)

    def _tensor(self, index: int) -> tuple[str, Broadcast]:
        name = self._node.inputs[index]
        shape, order = self._lowering.shapes[name], self._lowering.orders[name]
        found = broadcast(shape, order, self._whole, self._order)
        if found is not None:
            return f"{{in{index}}}", found
        there = self._lowering.input_repeated(self._node, self._step, index, self._whole, self._order)
        return there, Broadcast(1, self.elements)

    def _constant(self, found: np.ndarray, kind: str) -> tuple[str, Broadcast]:
        shape = tuple(found.shape)
        order = tuple(a - (len(self._order) - len(shape)) for a in self._order if a >= len(self._order) - len(shape))
        own = broadcast(shape, order, self._whole, self._order)
        if own is None:
            found, order, own = np.broadcast_to(found, self._whole), self._order, Broadcast(1, self.elements)
        return self._step.array("other", kind, np.ascontiguousarray(found.transpose(order)).reshape(-1)), own


def _add(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    if isinstance(node.activation, LeakyRelu):
        _add_sloped(lowering, node, step)
        return
    operands = _Operands(lowering, node, step)
    (a, b), y = operands.codes, operands.target
    left_shift = 15 if any(fmt.is_wide for fmt in (a, b, y)) else 20
    largest = 2.0 * max(a.scale, b.scale)
    low, high = requant.bounds(node, y)
    members = {
        "a_zero": a.zero_point, "b_zero": b.zero_point, "out_zero": y.zero_point, "out_min": low, "out_max": high,
        "a_bytes": container_bytes(a), "b_bytes": container_bytes(b), "out_bytes": container_bytes(y),
        "left_shift": left_shift,
    }  # fmt: skip
    factors = {"a": a.scale / largest, "b": b.scale / largest, "out": largest / ((1 << left_shift) * y.scale)}
    for side, factor in factors.items():
        members[f"{side}_multiplier"], members[f"{side}_shift"] = fixed_point.quantize_multiplier(factor)
    _pairwise("hws_add", step.record("layer", "hws_add_layer", **members), operands, step)


def _add_sloped(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """An addition whose function no integers have: on real values, rounded once."""
    assert isinstance(node.activation, LeakyRelu)
    _real(_Operands(lowering, node, step), step, "SUM", node.activation.slope)


def _of_real_values(function: str) -> Lower:
    """A function of two tensors, or of one and constant numbers, that the engine computes on real values and rounds once."""

    def lower(lowering: Lowering, node: Node, step: LoweredNode) -> None:
        assert isinstance(node.op, Elementwise)
        operands = _Operands(lowering, node, step, numbers=node.weights.get("other"), first=node.op.constant_first)
        _real(operands, step, function)

    return Lower(lower, _two)


def _bent(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """PReLU: the second operand are slopes, one for each channel."""
    rank = len(lowering.shapes[node.name])
    _real(_Operands(lowering, node, step, numbers=node.weights["slope"].reshape([-1] + [1] * (rank - 2))), step, "BENT")


def _real(operands: _Operands, step: LoweredNode, function: str, slope: float = 1.0) -> None:
    members: dict[str, str | int] = {}
    for side, fmt in zip("ab", operands.formats, strict=True):
        if fmt is None:
            members |= {f"{side}_bytes": REAL_BYTES}
        else:
            members |= {f"{side}_zero": fmt.zero_point, f"{side}_bytes": container_bytes(fmt), f"{side}_scale": real(fmt.scale)}
    record = step.record(
        "layer", "hws_real_layer", function=f"HWS_{function}", slope=real(slope), out_bytes=container_bytes(operands.target),
        **members, **rounded(operands.target),
    )  # fmt: skip
    _pairwise("hws_real", record, operands, step)


def _mul(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    operands = _Operands(lowering, node, step)
    (a, b), y = operands.codes, operands.target
    record = step.record(
        "layer",
        "hws_mul_layer",
        a_zero=a.zero_point,
        b_zero=b.zero_point,
        a_bytes=container_bytes(a),
        b_bytes=container_bytes(b),
        out_bytes=container_bytes(y),
        **scale_members(float(a.scale) * float(b.scale) / float(y.scale), y),
    )
    _pairwise("hws_mul", record, operands, step)


def _pairwise(function: str, record: str, operands: _Operands, step: LoweredNode) -> None:
    a, b = operands.addresses
    if operands.plain and function == "hws_add":
        step.calls.append(f"{function}({record}, {a}, {b}, {{out}}, {operands.elements});")
        return
    sides = [
        step.record(name, "hws_broadcast", inner=side.inner, count=side.count)
        for name, side in zip("ab", operands.broadcasts, strict=True)
    ]
    suffix = "_broadcast" if function == "hws_add" else ""
    step.calls.append(f"{function}{suffix}({record}, {a}, {sides[0]}, {b}, {sides[1]}, {{out}}, {operands.elements});")


def _unary(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """The table is what the engine answers to every code; beside 16 bits what TFLite keeps of it. Bounds and slopes of 16 bits
    are computed on real values."""
    (source,), target = lowering.sides(node)
    size, elements = container_bytes(target), lowering.elements(node.name)
    place = lowering.input_as(node, step, 0, lowering.orders[node.name])
    if source.is_wide and isinstance(node.op, BENDS):
        low, high = bounds(node.op)
        record = step.record(
            "layer", "hws_bend_layer", in_zero=source.zero_point, in_bytes=container_bytes(source), in_scale=real(source.scale),
            slope=real(node.op.slope if isinstance(node.op, LeakyRelu) else 1.0), low=real(max(low, -FARTHEST)),
            high=real(min(high, FARTHEST)), out_bytes=size, **rounded(target),
        )  # fmt: skip
        step.calls.append(f"hws_bend({record}, {place}, {{out}}, {elements});")
        return
    if source.is_wide:
        wide = _nodes(node, source, target)
        assert wide is not None
        nodes, members = wide
        table = step.array("table", "int16_t", nodes)
        record = step.record("layer", "hws_lookup_wide_layer", table=table, out_bytes=size, **members)
        step.calls.append(f"hws_lookup_wide({record}, {place}, {{out}}, {elements});")
        return
    every = torch.arange(source.grid.last_code + 1, dtype=torch.float32)
    run = prepared(Site(node, [source], target, None, RULE))
    found = target.shifted(run([source.carried(every - source.zero_point)])).long() + target.zero_point
    table = step.array("table", "uint8_t" if size == 1 else "uint16_t", found.numpy())
    step.calls.append(f"hws_lookup({place}, {table}, {{out}}, {elements}, {size});")


def _nodes(node: Node, source: TensorFormat, target: TensorFormat) -> tuple[np.ndarray, dict[str, int]] | None:
    """The 513 places that TFLite keeps of a function of 16-bit codes, and the members of a record that take what lies between
    them to codes of ``target``; None where the engine computes it otherwise."""
    assert isinstance(node.op, Activation)
    found = functions.kernel(node.op, RULE, wide=True)
    if found is None:
        return None
    grid = replace(functions.written_on(node.op, target, wide=True), low=None, high=None)
    try:
        entries = found(functions.read_on(node.op, source, RULE, wide=True), grid, "tflm").astype(np.int64)
    except ValueError:  # steps for which the kernel has no multiplier
        return None
    nodes = lookup.places_of(entries)
    # The codes of ``grid`` have no zero point: they are brought to the container of the output.
    return None if nodes is None else (nodes, scale_members(float(grid.step) / float(target.scale), target))


def _only_clamps(node: Node, sources: list[TensorFormat], target: TensorFormat) -> str | None:
    if not isinstance(node.activation, Relu | Relu6 | LeakyRelu | None):
        return f"addition with {node.activation.kind}"
    return _two(node, sources, target)


def _two(node: Node, sources: list[TensorFormat], target: TensorFormat) -> str | None:
    """Two operands that are not constant, or one and a constant."""
    return None if len(sources) + ("other" in node.weights) == 2 else f"{node.op.word} of {len(sources)} tensors"


def _multiplies(node: Node, sources: list[TensorFormat], target: TensorFormat) -> str | None:
    if lacking := _two(node, sources, target):
        return lacking
    both = [*sources, *(codes.constant(values, *sources, target) for key, values in node.weights.items() if key == "other")]
    form = codes.stored if codes.narrow(target, *sources) else codes.widened
    a, b, y = (form(fmt) for fmt in (*both, target))
    return None if elementwise.multiplies(a, b, y, "tflm") else "a product whose steps are too fine for the integers of C"


def _only_bytes(node: Node, sources: list[TensorFormat], target: TensorFormat) -> str | None:
    if sources[0].is_wide and not isinstance(node.op, BENDS) and _nodes(node, sources[0], target) is None:
        return f"{node.op.word} of its own on {sources[0].bits} bits"
    return None


LOWERS.put(Lower(_add, _only_clamps), Add)
LOWERS.put(Lower(_mul, _multiplies), Mul)
LOWERS.put(Lower(_unary, _only_bytes), Activation)
LOWERS.put(Lower(_bent), PRelu)
LOWERS.put(_of_real_values("DIFFERENCE"), Sub)
LOWERS.put(_of_real_values("SMALLER"), Minimum)
LOWERS.put(_of_real_values("LARGER"), Maximum)
