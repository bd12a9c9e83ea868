"""Readers of arithmetic, element by element, and of functions of one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from hwsearch.formats.onnx.reading.constants import Constant
from hwsearch.formats.onnx.reading.quantized import saturated
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map, tensor
from searchspaces.ops.maps import activation as act
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Div, Elementwise, Maximum, Minimum, Mul, Sub, Where
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import Reduction

# Two operands and more


def _notation(walk: Walk, call: Call) -> Map | None:
    """Arithmetic of a map with constants, or with other notations of itself, where integers are spelled out."""
    maps = [(value, name) for value, name in zip(call.inputs, call.reads, strict=True) if isinstance(value, Map)]
    if len({value.name for value, _ in maps}) != 1 or not (walk.notation or maps[0][1] in walk.codes):
        return None
    walk.spelled = True
    return maps[0][0]


def _both(walk: Walk, name: str, op: Elementwise, left: Map, right: Map) -> Map:
    return walk.pointwise(name, op, [left, right])


def added(walk: Walk, name: str, left: Value, right: Value) -> Map:
    """``left + right``, one of which may be a constant."""
    if isinstance(left, Map) and isinstance(right, Map):
        return _both(walk, name, Add(), left, right)
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
        return _both(walk, name, Mul(), first, second)
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
            return _both(walk, call.name, Sub(), left, right)
        negated = walk.scaled(f"{call.name}.negated", right, -1.0, 0.0)
        return _both(walk, call.name, Add(), left, negated)
    if isinstance(left, Map) and isinstance(right, Constant):
        return walk.scaled(call.name, left, 1.0, -right.real)
    return walk.scaled(call.name, call.map(1), -1.0, call.numbers(0))


@READS.register("Div", becomes=(Div, Affine))
def _div(walk: Walk, call: Call) -> Value:
    if (same := _notation(walk, call)) is not None:
        return same
    left, right = call.inputs[:2]
    if isinstance(left, Map) and isinstance(right, Map):
        return _both(walk, call.name, Div(), left, right)
    if isinstance(left, Map) and isinstance(right, Constant):
        return walk.scaled(call.name, left, 1.0 / right.real.astype(np.float64), 0.0)
    return walk.pointwise(call.name, Div(constant_first=True), [call.map(1)], {"other": _weight(call.numbers(0))})


def _weight(array: np.ndarray) -> torch.Tensor:
    found = tensor(array)
    return found.reshape(1) if found.ndim == 0 else found


@READS.register("Min", "Max", becomes=(Minimum, Maximum, act.Clip, act.Relu))
def _extreme(walk: Walk, call: Call) -> Value:
    if (same := _notation(walk, call)) is not None:
        return same
    larger = call.kind == "Max"

    def join(walk: Walk, name: str, left: Value, right: Value) -> Map:
        op = Maximum() if larger else Minimum()
        if isinstance(left, Map) and isinstance(right, Map):
            return _both(walk, name, op, left, right)
        assert isinstance(left, Map)
        assert isinstance(right, Constant)
        if right.real.size > 1:
            return walk.pointwise(name, op, [left], {"other": _weight(right.real)})
        limit = float(right.real.reshape(-1)[0])
        return bounded(walk, name, left, limit, np.inf) if larger else bounded(walk, name, left, -np.inf, limit)

    return _joined(walk, call, join)


@READS.register("Where", becomes=(Where,))
def _where(walk: Walk, call: Call) -> Value:
    mask = call.constant(0, "what it chooses by").real
    yes, no = call.inputs[1:3]
    if isinstance(yes, Map) and isinstance(no, Map):
        return walk.pointwise(call.name, Where(), [yes, no], {"mask": _weight(mask)})
    source, constant, kept = (yes, no, mask) if isinstance(yes, Map) else (no, yes, ~mask.astype(bool))
    if not isinstance(source, Map) or not isinstance(constant, Constant):
        raise NotRead("of constants")
    if not np.isfinite(constant.real).all():
        raise NotRead("fills with infinity, which no format holds")
    return walk.pointwise(call.name, Where(), [source], {"mask": _weight(kept), "other": _weight(constant.real)})


@READS.register("Pow", becomes=(act.Pow, act.Sqrt, act.Rsqrt, act.Reciprocal))
def _pow(walk: Walk, call: Call) -> Value:
    exponent = call.numbers(1, "its exponent")
    if exponent.size != 1:
        raise NotRead("a power for each value")
    power = float(exponent.reshape(-1)[0])
    named: Mapping[float, act.Activation] = {0.5: act.Sqrt(), -0.5: act.Rsqrt(), -1.0: act.Reciprocal()}
    return call.map() if power == 1 else walk.unary(call.name, named.get(power, act.Pow(power)), call.map())


# One value


FUNCTIONS: Mapping[str, act.Activation] = {
    "Relu": act.Relu(), "Sigmoid": act.Sigmoid(), "Tanh": act.Tanh(), "HardSwish": act.HardSwish(), "Softplus": act.Softplus(),
    "Erf": act.Erf(), "Exp": act.Exp(), "Log": act.Log(), "Abs": act.Abs(), "Reciprocal": act.Reciprocal(), "Sin": act.Sin(),
    "Cos": act.Cos(), "Mish": act.Mish(),
}  # fmt: skip


def _function(walk: Walk, call: Call) -> Value:
    return walk.unary(call.name, FUNCTIONS[call.kind], call.map())


for _kind, _op in FUNCTIONS.items():
    READS.register(_kind, becomes=(type(_op),))(_function)


@READS.register("Sqrt", becomes=(act.Sqrt,))
def _sqrt(walk: Walk, call: Call) -> Value:
    if walk.notation and isinstance(walk.nodes[call.map().name].op, Reduction):
        return call.map()  # of the mean square that a deviation is made of
    return walk.unary(call.name, act.Sqrt(), call.map())


@READS.register("Neg", becomes=(Affine,))
def _neg(walk: Walk, call: Call) -> Value:
    return walk.scaled(call.name, call.map(), -1.0, 0.0)


@READS.register("QLinearSigmoid", becomes=(act.Sigmoid,))
def _qlinear_sigmoid(walk: Walk, call: Call) -> Value:
    return saturated(walk, call, walk.unary(call.name, act.Sigmoid(), call.map()))


@READS.register("LeakyRelu", "QLinearLeakyRelu", becomes=(act.LeakyRelu,))
def _leaky(walk: Walk, call: Call) -> Value:
    made = walk.unary(call.name, act.LeakyRelu(float(call.attrs.get("alpha", 0.01))), call.map())
    return saturated(walk, call, made) if call.kind.startswith("Q") else made


@READS.register("PRelu", becomes=(act.PRelu, act.LeakyRelu))
def _prelu(walk: Walk, call: Call) -> Value:
    value, slope = call.map(), call.numbers(1, "its slopes")
    rank, channels = len(value.axes), walk.shapes[value.name]
    if slope.size == 1 and rank != 4:
        return walk.unary(call.name, act.LeakyRelu(float(slope.reshape(-1)[0])), value)
    full = np.reshape(slope, (1,) * (rank - slope.ndim) + slope.shape)
    lying = full.transpose([value.axes.index(axis) for axis in range(rank)])
    if rank != 4 or lying.size not in (1, channels[1]) or lying.shape[1] != lying.size:
        return _spelled_prelu(walk, call.name, value, slope)
    weights = {"slope": tensor(np.broadcast_to(lying.reshape(-1), (channels[1],)))}
    made = Map(walk.emit(call.name, act.PRelu(), [value.name], weights), value.axes)
    walk.unary_of[made.name] = value.name
    return made


def _spelled_prelu(walk: Walk, name: str, value: Map, slope: np.ndarray) -> Map:
    """``max(x, 0) + slope min(x, 0)``, for slopes that are not one a channel."""
    above = walk.unary(f"{name}.above", act.Relu(), value)
    below = walk.unary(f"{name}.below", act.Clip(-np.inf, 0.0), value)
    return _both(walk, name, Add(), above, walk.scaled(f"{name}.slope", below, slope, 0.0))


def bounded(walk: Walk, name: str, value: Map, low: float, high: float) -> Map:
    """``value`` within two bounds."""
    if (low, high) == (-np.inf, np.inf):
        return value
    known: Mapping[tuple[float, float], act.Activation] = {(0.0, np.inf): act.Relu(), (0.0, 6.0): act.Relu6()}
    return walk.unary(name, known.get((low, high), act.Clip(low, high)), value)


@READS.register("Clip", becomes=(act.Clip, act.Relu, act.Relu6))
def _clip(walk: Walk, call: Call) -> Value:
    """Codes keep their name; a clip of real values is an activation."""
    ends: list[float] = []
    for place, attribute, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        given = call.numbers(place, "a bound").reshape(-1)[0] if call.has(place) else call.attrs.get(attribute, default)
        ends.append(float(given))
    low, high = ends
    read, value = call.reads[0], call.map()
    if read not in walk.codes:
        return bounded(walk, call.name, value, low, high)
    walk.bounds[call.name] = (low, high)
    zero, lowest = walk.zeros.get(read, (np.nan, np.nan))
    walk.zeros[call.name] = (zero, max(lowest, low))
    if read in walk.scales:
        walk.scales[call.name] = walk.scales[read]
    return walk.saturated(value, f"{call.name}.relu", zero, max(lowest, low))


@READS.register("Elu", becomes=(act.Elu,))
def _elu(walk: Walk, call: Call) -> Value:
    return walk.unary(call.name, act.Elu(float(call.attrs.get("alpha", 1.0))), call.map())


@READS.register("Selu", becomes=(act.Elu, Affine))
def _selu(walk: Walk, call: Call) -> Value:
    alpha, gamma = float(call.attrs.get("alpha", 1.67326319217681885)), float(call.attrs.get("gamma", 1.05070102214813232))
    return walk.scaled(call.name, walk.unary(f"{call.name}.elu", act.Elu(alpha), call.map()), gamma, 0.0)


@READS.register("Gelu", becomes=(act.Gelu,))
def _gelu(walk: Walk, call: Call) -> Value:
    how: Any = call.text("approximate", "none")
    return walk.unary(call.name, act.Gelu(how), call.map())


@READS.register("HardSigmoid", becomes=(act.HardSigmoid, Affine, act.Clip))
def _hard_sigmoid(walk: Walk, call: Call) -> Value:
    alpha, beta = float(call.attrs.get("alpha", 0.2)), float(call.attrs.get("beta", 0.5))
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return walk.unary(call.name, act.HardSigmoid(), call.map())
    return bounded(walk, call.name, walk.scaled(f"{call.name}.scaled", call.map(), alpha, beta), 0.0, 1.0)


@READS.register("Swish", becomes=(act.Sigmoid, Mul))
def _swish(walk: Walk, call: Call) -> Value:
    alpha = float(call.attrs.get("alpha", 1.0))
    inside = call.map() if alpha == 1 else walk.scaled(f"{call.name}.scaled", call.map(), alpha, 0.0)
    return _both(walk, call.name, Mul(), call.map(), walk.unary(f"{call.name}.gate", act.Sigmoid(), inside))
