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
from searchspaces.ops.maps.activation import Activation, LeakyRelu, PRelu, Relu, Relu6
from searchspaces.ops.maps.elementwise import Add, Mul

RULE = "gemmlowp"
"""The rule of ``requant`` by which the kernels compute."""


class _Operands:
    """Addresses, formats and repetitions of the two operands of a node; the second may be a constant."""

    def __init__(self, lowering: Lowering, node: Node, step: LoweredNode) -> None:
        self._lowering, self._node, self._step = lowering, node, step
        sources, self.target = lowering.sides(node)
        self._whole, self._order = lowering.shapes[node.name], lowering.orders[node.name]
        self.elements = lowering.elements(node.name)
        found = [self._tensor(index) for index in range(len(sources))]
        self.formats = list(sources)
        if "other" in node.weights:
            fmt = codes.constant(node.weights["other"], sources[0], self.target)
            self.formats.append(fmt)
            found.append(self._constant(fmt))
        (self.addresses, self.broadcasts) = zip(*found, strict=True)

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

    def _constant(self, fmt: TensorFormat) -> tuple[str, Broadcast]:
        values = self._node.weights["other"]
        found = fmt.shifted(fmt.carried(fmt.stored(values))).numpy().astype(np.int64) + fmt.zero_point
        shape = tuple(found.shape)
        order = tuple(a - (len(self._order) - len(shape)) for a in self._order if a >= len(self._order) - len(shape))
        own = broadcast(shape, order, self._whole, self._order)
        if own is None:
            found, order, own = np.broadcast_to(found, self._whole), self._order, Broadcast(1, self.elements)
        kind = f"uint{8 * container_bytes(fmt)}_t"
        return self._step.array("other", kind, np.ascontiguousarray(found.transpose(order)).reshape(-1)), own


def _add(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    if isinstance(node.activation, LeakyRelu):
        _add_sloped(lowering, node, step)
        return
    operands = _Operands(lowering, node, step)
    (a, b), y = operands.formats, operands.target
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
    operands = _Operands(lowering, node, step)
    (a, b), y = operands.formats, operands.target
    assert isinstance(node.activation, LeakyRelu)
    record = step.record(
        "layer", "hws_add_sloped_layer", a_zero=a.zero_point, b_zero=b.zero_point, a_bytes=container_bytes(a),
        b_bytes=container_bytes(b), out_bytes=container_bytes(y), a_scale=real(a.scale), b_scale=real(b.scale),
        slope=real(node.activation.slope), **rounded(y),
    )  # fmt: skip
    _pairwise("hws_add_sloped", record, operands, step)


def _mul(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    operands = _Operands(lowering, node, step)
    (a, b), y = operands.formats, operands.target
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
    """The table is what the engine answers to every code; beside 16 bits what TFLite keeps of it."""
    (source,), target = lowering.sides(node)
    size, elements = container_bytes(target), lowering.elements(node.name)
    place = lowering.input_as(node, step, 0, lowering.orders[node.name])
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
    found = functions.kernel(node.op, wide=True)
    if found is None:
        return None
    grid = replace(functions.written_on(target, wide=True), low=None, high=None)
    try:
        entries = found(functions.read_on(source, wide=True), grid, "tflm").astype(np.int64)
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
    if sources[0].is_wide and _nodes(node, sources[0], target) is None:
        return f"{node.op.word} of its own on {sources[0].bits} bits"
    return None


LOWERS.put(Lower(_add, _only_clamps), Add)
LOWERS.put(Lower(_mul, _multiplies), Mul)
LOWERS.put(Lower(_unary, _only_bytes), Activation)
LOWERS.lacks("a slope for each channel is that of a layer before it", PRelu)
