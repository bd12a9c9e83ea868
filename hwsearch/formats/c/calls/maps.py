"""Element by element: sums, products, and what is computed on real values. Functions of one value are in ``curves``."""

from __future__ import annotations

import numpy as np
import torch

from hwsearch.formats.c.calls.lowering import LOWERS, Lower, LoweredNode, Lowering, container_bytes, real, rounded, scale_members
from hwsearch.formats.c.calls.places import Broadcast, broadcast
from hwsearch.quant.engine import fixed_point, requant
from hwsearch.quant.engine.steps import Site, codes
from hwsearch.quant.engine.steps.pointwise import multiplies
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.maps.activation import LeakyRelu, PRelu, Relu, Relu6
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Div, Elementwise, Maximum, Minimum, Mul, SquaredDifference, Sub, Where

RULE = "gemmlowp"
"""The rule of ``requant`` by which the kernels compute."""
REAL_BYTES, FLAG_BYTES = 4, 1
"""Of a number of single precision, and of a place of a mask."""


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
            found.append(self.numbers(numbers))
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

    def numbers(self, values: torch.Tensor, name: str = "other") -> tuple[str, Broadcast]:
        """A constant that stays real."""
        return self._constant(values.numpy().astype(np.float32), "float", name)

    def flags(self, values: torch.Tensor, name: str) -> tuple[str, Broadcast]:
        """A mask, a byte for each place."""
        return self._constant((values != 0).numpy().astype(np.uint8), "uint8_t", name)

    def _constant(self, found: np.ndarray, kind: str, name: str = "other") -> tuple[str, Broadcast]:
        shape = tuple(found.shape)
        order = tuple(a - (len(self._order) - len(shape)) for a in self._order if a >= len(self._order) - len(shape))
        own = broadcast(shape, order, self._whole, self._order)
        if own is None:
            found, order, own = np.broadcast_to(found, self._whole), self._order, Broadcast(1, self.elements)
        return self._step.array(name, kind, np.ascontiguousarray(found.transpose(order)).reshape(-1)), own


def _add(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    if isinstance(node.activation, LeakyRelu):
        _add_sloped(lowering, node, step)
        return
    if isinstance(node.activation, PRelu):
        _add_bent(lowering, node, step)
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
    operands = _Operands(lowering, node, step, numbers=node.weights.get("other"))
    _real(operands, step, "SUM", node.activation.slope)


def _add_bent(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """The same with a slope for each channel."""
    operands = _Operands(lowering, node, step, numbers=node.weights.get("other"))
    _of_three(operands, step, "SUM_BENT", operands.numbers(_by_channel(lowering, node), "slope"))


def _by_channel(lowering: Lowering, node: Node) -> torch.Tensor:
    """The slopes of channels, along axis 1 of what the node writes."""
    return node.weights["slope"].reshape([-1] + [1] * (len(lowering.shapes[node.name]) - 2))


def _of_real_values(function: str) -> Lower:
    """A function of two tensors, or of one and constant numbers, that the engine computes on real values and rounds once."""

    def lower(lowering: Lowering, node: Node, step: LoweredNode) -> None:
        assert isinstance(node.op, Elementwise)
        operands = _Operands(lowering, node, step, numbers=node.weights.get("other"), first=node.op.constant_first)
        _real(operands, step, function)

    return Lower(lower, _two)


def _bent(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """PReLU: the second operand are slopes, one for each channel."""
    _real(_Operands(lowering, node, step, numbers=_by_channel(lowering, node)), step, "BENT")


def _chosen(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """One of two, by a constant mask."""
    operands = _Operands(lowering, node, step, numbers=node.weights.get("other"))
    _of_three(operands, step, "CHOSEN", operands.flags(node.weights["mask"], "mask"), FLAG_BYTES)


def _affine(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """Times a number and plus a number of each channel."""
    assert isinstance(node.op, Affine)
    sides = [1] * len(lowering.shapes[node.name])
    sides[node.op.axis] = -1
    operands = _Operands(lowering, node, step, numbers=node.weights["scale"].view(sides))
    _of_three(operands, step, "AFFINE", operands.numbers(node.weights["shift"].view(sides), "shift"))


def _of_three(
    operands: _Operands, step: LoweredNode, function: str, third: tuple[str, Broadcast], third_bytes: int = REAL_BYTES
) -> None:
    record = _real_layer(operands, step, function, c_bytes=third_bytes)
    (a, b, c), sides = (*operands.addresses, third[0]), (*operands.broadcasts, third[1])
    by = [step.record(name, "hws_broadcast", inner=side.inner, count=side.count) for name, side in zip("abc", sides, strict=True)]
    step.calls.append(f"hws_real_of_three({record}, {a}, {by[0]}, {b}, {by[1]}, {c}, {by[2]}, {{out}}, {operands.elements});")


def _real(operands: _Operands, step: LoweredNode, function: str, slope: float = 1.0) -> None:
    _pairwise("hws_real", _real_layer(operands, step, function, slope), operands, step)


def _real_layer(operands: _Operands, step: LoweredNode, function: str, slope: float = 1.0, **members: str | int) -> str:
    for side, fmt in zip("ab", operands.formats, strict=True):
        if fmt is None:
            members |= {f"{side}_bytes": REAL_BYTES}
        else:
            members |= {f"{side}_zero": fmt.zero_point, f"{side}_bytes": container_bytes(fmt), f"{side}_scale": real(fmt.scale)}
    return step.record(
        "layer", "hws_real_layer", function=f"HWS_{function}", slope=real(slope), out_bytes=container_bytes(operands.target),
        **members, **rounded(operands.target),
    )  # fmt: skip


def _mul(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """In integers, or on real values where the steps of the product are too fine for them, as the engine does it."""
    if not multiplies(Site(node, *lowering.sides(node), None, RULE)):
        _real(_Operands(lowering, node, step, numbers=node.weights.get("other")), step, "PRODUCT")
        return
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


def _only_clamps(node: Node, sources: list[TensorFormat], target: TensorFormat) -> str | None:
    if not isinstance(node.activation, Relu | Relu6 | LeakyRelu | PRelu | None):
        return f"addition with {node.activation.kind}"
    return _two(node, sources, target)


def _two(node: Node, sources: list[TensorFormat], target: TensorFormat) -> str | None:
    """Two operands that are not constant, or one and a constant."""
    return None if len(sources) + ("other" in node.weights) == 2 else f"{node.op.word} of {len(sources)} tensors"


LOWERS.put(Lower(_add, _only_clamps), Add)
LOWERS.put(Lower(_mul, _two), Mul)
LOWERS.put(Lower(_bent), PRelu)
LOWERS.put(_of_real_values("DIFFERENCE"), Sub)
LOWERS.put(_of_real_values("SMALLER"), Minimum)
LOWERS.put(_of_real_values("LARGER"), Maximum)
LOWERS.put(_of_real_values("QUOTIENT"), Div)
LOWERS.put(_of_real_values("SQUARE"), SquaredDifference)
LOWERS.put(Lower(_chosen), Where)
LOWERS.put(Lower(_affine), Affine)
