"""Readers of arithmetic, element by element."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from hwsearch.formats.onnx.reading.constants import Constant
from hwsearch.formats.onnx.reading.quantized import saturated
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map, as_weight
from searchspaces.ops.maps import activation as act
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Div, Maximum, Minimum, Mul, Sub
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import Reduction


def _notation(walk: Walk, call: Call) -> Map | None:
    """Arithmetic of a map with constants, or with other notations of itself, where integers are spelled out."""
    maps = [(value, name) for value, name in zip(call.inputs, call.reads, strict=True) if isinstance(value, Map)]
    if len({value.name for value, _ in maps}) != 1 or not (walk.notation or maps[0][1] in walk.codes):
        return None
    walk.spelled = True
    return maps[0][0]


def added(walk: Walk, name: str, left: Value, right: Value) -> Map:
    """``left + right``, one of which may be a constant."""
    if isinstance(left, Map) and isinstance(right, Map):
        return walk.pointwise(name, Add(), [left, right])
    value, constant = (left, right) if isinstance(left, Map) else (right, left)
    assert isinstance(value, Map)
    assert isinstance(constant, Constant)
    return walk.scaled(name, value, 1.0, constant.real)


def multiplied(walk: Walk, name: str, left: Value, right: Value) -> Map:
    """``left right``, the larger first, one of which may be a constant."""
    if isinstance(left, Map) and isinstance(right, Map):
        larger = np.prod(walk.shape(right)) > np.prod(walk.shape(left))
        first, second = (right, left) if larger else (left, right)
        if isinstance(walk.nodes[first.name].op, Reduction):
            first, second = second, first
        return walk.pointwise(name, Mul(), [first, second])
    value, constant = (left, right) if isinstance(left, Map) else (right, left)
    assert isinstance(value, Map)
    assert isinstance(constant, Constant)
    return walk.scaled(name, value, constant.real, 0.0)


@READS.register("Add", "Sum", becomes=(Add, Affine))
def _add(walk: Walk, call: Call) -> Value:
    if (same := _notation(walk, call)) is not None:
        return same
    return _joined(walk, call, added)


def _joined(walk: Walk, call: Call, join: Callable[[Walk, str, Value, Value], Map]) -> Value:
    """Several operands one after the other, constants last."""
    values = [value for value in call.inputs if value is not None]
    values.sort(key=lambda value: isinstance(value, Constant))
    if not isinstance(values[0], Map):
        raise NotRead("of constants")
    found: Value = values[0]
    for value in values[1:]:
        found = join(walk, call.name, found, value)
    return found


@READS.register("Mul", becomes=(Mul, Affine))
def _mul(walk: Walk, call: Call) -> Value:
    if (same := _notation(walk, call)) is not None:
        return same
    return _joined(walk, call, multiplied)


@READS.register("Mean", becomes=(Add, Affine))
def _mean(walk: Walk, call: Call) -> Value:
    total = _joined(walk, call, added)
    assert isinstance(total, Map)
    return walk.scaled(f"{call.name}.mean", total, 1.0 / len(call.inputs), 0.0)


@READS.register("QLinearAdd", becomes=(Add,))
def _qlinear_add(walk: Walk, call: Call) -> Value:
    return saturated(walk, call, added(walk, call.name, _real(call, 0), _real(call, 3)))


@READS.register("QLinearMul", becomes=(Mul,))
def _qlinear_mul(walk: Walk, call: Call) -> Value:
    return saturated(walk, call, multiplied(walk, call.name, _real(call, 0), _real(call, 3)))


def _real(call: Call, place: int) -> Value:
    """An operand of codes with its scale and zero point behind it; a constant as what its codes stand for."""
    value = call.inputs[place]
    if isinstance(value, Constant):
        zero = call.numbers(place + 2).astype(np.float64) if call.has(place + 2) else 0.0
        return Constant(value.name, (value.real - zero) * call.numbers(place + 1), value.stored)
    return call.map(place)


@READS.register("Sub", becomes=(Sub, Affine))
def _sub(walk: Walk, call: Call) -> Value:
    if (same := _notation(walk, call)) is not None:
        return same
    left, right = call.inputs[:2]
    if isinstance(left, Map) and isinstance(right, Map):
        if walk.shape(left) != walk.shape(right) or walk.channels_on(right) is None:
            return walk.pointwise(call.name, Sub(), [left, right])
        negated = walk.scaled(f"{call.name}.negated", right, -1.0, 0.0)
        return walk.pointwise(call.name, Add(), [left, negated])
    if isinstance(left, Map) and isinstance(right, Constant):
        return walk.scaled(call.name, left, 1.0, -right.real)
    return walk.scaled(call.name, call.map(1), -1.0, call.numbers(0))


@READS.register("Div", becomes=(Div, Affine))
def _div(walk: Walk, call: Call) -> Value:
    if (same := _notation(walk, call)) is not None:
        return same
    left, right = call.inputs[:2]
    if isinstance(left, Map) and isinstance(right, Map):
        return walk.pointwise(call.name, Div(), [left, right])
    if isinstance(left, Map) and isinstance(right, Constant):
        return walk.scaled(call.name, left, 1.0 / right.real.astype(np.float64), 0.0)
    return walk.pointwise(call.name, Div(constant_first=True), [call.map(1)], {"other": as_weight(call.numbers(0))})


def bounded(walk: Walk, name: str, value: Map, low: float, high: float) -> Map:
    """``value`` within two bounds."""
    if (low, high) == (-np.inf, np.inf):
        return value
    known: Mapping[tuple[float, float], act.Activation] = {(0.0, np.inf): act.Relu(), (0.0, 6.0): act.Relu6()}
    return walk.unary(name, known.get((low, high), act.Clip(low, high)), value)


@READS.register("Min", "Max", becomes=(Minimum, Maximum, act.Clip, act.Relu))
def _extreme(walk: Walk, call: Call) -> Value:
    if (same := _notation(walk, call)) is not None:
        return same
    larger = call.kind == "Max"

    def join(walk: Walk, name: str, left: Value, right: Value) -> Map:
        op = Maximum() if larger else Minimum()
        if isinstance(left, Map) and isinstance(right, Map):
            return walk.pointwise(name, op, [left, right])
        assert isinstance(left, Map)
        assert isinstance(right, Constant)
        if right.real.size > 1:
            return walk.pointwise(name, op, [left], {"other": as_weight(right.real)})
        limit = float(right.real.reshape(-1)[0])
        return bounded(walk, name, left, limit, np.inf) if larger else bounded(walk, name, left, -np.inf, limit)

    return _joined(walk, call, join)
