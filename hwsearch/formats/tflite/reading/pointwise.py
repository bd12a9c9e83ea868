"""Readers of arithmetic, element by element, of functions of one value, and of what only changes how values are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from hwsearch.formats.reading.builder import Map, as_weight, tensor
from hwsearch.formats.reading.choices import Operand, chosen, compared, opposite
from hwsearch.formats.tflite.integers.convolution import FIRST_CODE, grid_of
from hwsearch.formats.tflite.reading.table import READS, Call, Value
from hwsearch.formats.tflite.reading.walk import Walk
from searchspaces.ops.maps import activation as act
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Div, Elementwise, Maximum, Minimum, Mul, SquaredDifference, Sub, Where
from searchspaces.ops.maps.jumps import Comparison, Relation, Round, Sign
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import Reduction

FOLDED: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": lambda a, b: a // b if a.dtype.kind == "i" else a / b,
    "MAXIMUM": np.maximum, "MINIMUM": np.minimum, "FLOOR_DIV": np.floor_divide, "FLOOR_MOD": np.mod, "POW": np.power,
}  # fmt: skip
"""What the file computes of constants: sizes of pictures."""


def _constants(call: Call) -> np.ndarray | None:
    """The value of an operator of constants."""
    if any(isinstance(value, Map) or value is None for value in call.inputs):
        return None
    with np.errstate(all="ignore"):
        return np.asarray(FOLDED[call.kind](call.constant(0), call.constant(1)))


@READS.register("ADD", "SUB", "MUL", "DIV", "FLOOR_DIV", "FLOOR_MOD", becomes=(Add, Sub, Mul, Div, Affine))
def _arithmetic(walk: Walk, call: Call) -> Value:
    if (folded := _constants(call)) is not None:
        return folded
    left, right = call.inputs[:2]
    if call.kind.startswith("FLOOR"):
        raise NotRead("rounds values")
    if isinstance(left, Map) and isinstance(right, Map):
        if call.kind == "MUL":
            larger = np.prod(walk.shape(right)) > np.prod(walk.shape(left)) or isinstance(walk.nodes[left.name].op, Reduction)
            left, right = (right, left) if larger else (left, right)
        if call.kind == "SUB" and walk.shape(left) == walk.shape(right) and walk.channels_on(right) is not None:
            return walk.pointwise(call.name, Add(), [left, walk.scaled(f"{call.name}.negated", right, -1.0, 0.0)])
        ops: Mapping[str, Elementwise] = {"ADD": Add(), "SUB": Sub(), "MUL": Mul(), "DIV": Div()}
        return walk.pointwise(call.name, ops[call.kind], [left, right])
    value, constant = (left, right) if isinstance(left, Map) else (right, left)
    assert isinstance(value, Map)
    assert isinstance(constant, np.ndarray)
    match call.kind:
        case "ADD":
            return walk.scaled(call.name, value, 1.0, constant)
        case "MUL":
            return walk.scaled(call.name, value, constant, 0.0)
        case "SUB" if value is left:
            return walk.scaled(call.name, value, 1.0, -constant)
        case "SUB":
            return walk.scaled(call.name, value, -1.0, constant)
        case _ if value is left:
            return walk.scaled(call.name, value, 1.0 / constant.astype(np.float64), 0.0)
    return walk.pointwise(call.name, Div(constant_first=True), [value], {"other": as_weight(constant)})


@READS.register("SQUARED_DIFFERENCE", becomes=(SquaredDifference,))
def _squared(walk: Walk, call: Call) -> Value:
    if isinstance(call.inputs[1], np.ndarray):
        return walk.pointwise(call.name, SquaredDifference(), [call.map()], {"other": as_weight(call.constant(1))})
    return walk.pointwise(call.name, SquaredDifference(), [call.map(0), call.map(1)])


@READS.register("MAXIMUM", "MINIMUM", becomes=(Maximum, Minimum, act.Clip, act.Relu))
def _extreme(walk: Walk, call: Call) -> Value:
    """With a constant on the grid of the codes it is a bound of the codes; inside their range, of the values too."""
    if (folded := _constants(call)) is not None:
        return folded
    left, right = call.inputs[:2]
    larger = call.kind == "MAXIMUM"
    if isinstance(left, Map) and isinstance(right, Map):
        return walk.pointwise(call.name, Maximum() if larger else Minimum(), [left, right])
    place = 0 if isinstance(left, Map) else 1
    value, constant, stored = call.map(place), call.constant(1 - place), call.stored[1 - place]
    if constant.size > 1:
        return walk.pointwise(call.name, Maximum() if larger else Minimum(), [value], {"other": as_weight(constant)})
    if stored is not None and stored.data is not None and grid_of(stored) is not None and value.name in walk.formats:
        code = int(stored.data.reshape(-1)[0]) + FIRST_CODE[stored.kind]
        fmt = walk.formats[value.name]
        bounded = walk.bounded(value, call.name, code if larger else fmt.qmin, fmt.qmax if larger else code)
        if not fmt.qmin < code < fmt.qmax or bounded is not value:
            return bounded
    limit = float(constant.reshape(-1)[0])
    if larger:
        return walk.unary(call.name, act.Relu() if limit == 0 else act.Clip(limit, np.inf), value)
    return walk.unary(call.name, act.Clip(-np.inf, limit), value)


RELATIONS: Mapping[str, Relation] = {
    "GREATER": ">", "GREATER_EQUAL": ">=", "LESS": "<", "LESS_EQUAL": "<=", "EQUAL": "==", "NOT_EQUAL": "!=",
}  # fmt: skip


def _operand(call: Call, place: int) -> Operand:
    value = call.inputs[place]
    return value if isinstance(value, Map) else call.constant(place)


@READS.register(*RELATIONS, becomes=(Comparison, Sub, Affine, Add))
def _compare(walk: Walk, call: Call) -> Value:
    return compared(walk, call.name, RELATIONS[call.kind], _operand(call, 0), _operand(call, 1))


@READS.register("LOGICAL_NOT", "LOGICAL_AND", "LOGICAL_OR", becomes=(Comparison, Affine, Mul, Maximum))
def _logic(walk: Walk, call: Call) -> Value:
    if call.kind == "LOGICAL_NOT":
        return opposite(walk, call.name, call.map())
    return walk.pointwise(call.name, Mul() if call.kind == "LOGICAL_AND" else Maximum(), [call.map(0), call.map(1)])


@READS.register("SELECT", "SELECT_V2", becomes=(Where, Comparison, Mul, Add, Affine))
def _select(walk: Walk, call: Call) -> Value:
    return chosen(walk, call.name, _operand(call, 0), _operand(call, 1), _operand(call, 2))


FUNCTIONS: Mapping[str, act.Activation] = {
    "RELU": act.Relu(), "RELU6": act.Relu6(), "RELU_N1_TO_1": act.Clip(-1.0, 1.0), "RELU_0_TO_1": act.Clip(0.0, 1.0),
    "LOGISTIC": act.Sigmoid(), "TANH": act.Tanh(), "HARD_SWISH": act.HardSwish(), "ELU": act.Elu(), "EXP": act.Exp(),
    "LOG": act.Log(), "SQRT": act.Sqrt(), "RSQRT": act.Rsqrt(), "ABS": act.Abs(), "SIN": act.Sin(), "COS": act.Cos(),
    "SQUARE": act.Pow(2.0), "SIGN": Sign(), "FLOOR": Round("floor"), "CEIL": Round("ceil"),
    "ROUND": Round("even"),
}  # fmt: skip


def _function(walk: Walk, call: Call) -> Value:
    return walk.unary(call.name, FUNCTIONS[call.kind], call.map())


for _kind, _op in FUNCTIONS.items():
    READS.register(_kind, becomes=(type(_op),))(_function)


@READS.register("LEAKY_RELU", becomes=(act.LeakyRelu,))
def _leaky(walk: Walk, call: Call) -> Value:
    return walk.unary(call.name, act.LeakyRelu(float(call.options["Alpha"])), call.map())


@READS.register("GELU", becomes=(act.Gelu,))
def _gelu(walk: Walk, call: Call) -> Value:
    return walk.unary(call.name, act.Gelu("tanh" if call.options.get("Approximate") else "none"), call.map())


@READS.register("NEG", becomes=(Affine,))
def _neg(walk: Walk, call: Call) -> Value:
    return walk.scaled(call.name, call.map(), -1.0, 0.0)


@READS.register("PRELU", becomes=(act.PRelu, act.LeakyRelu))
def _prelu(walk: Walk, call: Call) -> Value:
    value, slope = call.map(), call.constant(1, "its slopes")
    if slope.size == 1:
        return walk.unary(call.name, act.LeakyRelu(float(slope.reshape(-1)[0])), value)
    picture = walk.first(value)
    channels = walk.shape(picture)[1]
    if slope.size != channels or not picture.plain:
        raise NotRead("slopes that are not one a channel")
    made = walk.put(call.name, act.PRelu(), [picture], {"slope": tensor(slope.reshape(-1))})
    walk.unary_of[made.name] = picture.name
    return walk.last(made)


@READS.register("POW", becomes=(act.Pow, act.Sqrt, act.Rsqrt, act.Reciprocal))
def _pow(walk: Walk, call: Call) -> Value:
    exponent = call.constant(1, "its exponent")
    if exponent.size != 1:
        raise NotRead("a power for each value")
    power = float(exponent.reshape(-1)[0])
    named: Mapping[float, act.Activation] = {0.5: act.Sqrt(), -0.5: act.Rsqrt(), -1.0: act.Reciprocal()}
    return walk.unary(call.name, named.get(power, act.Pow(power)), call.map())


# How values are stored


@READS.register("QUANTIZE", "DEQUANTIZE", "CAST")
def _stored(walk: Walk, call: Call) -> Value:
    """Codes and what they stand for are one value; constants were read as what they stand for."""
    value = call.inputs[0]
    if isinstance(value, Map):
        mask = isinstance(walk.nodes[value.name].op, Comparison)  # ones and zeros are those in any notation
        if call.kind == "CAST" and call.written.kind not in ("float32", "float16") and not mask and grid_of(call.written) is None:
            raise NotRead("to whole numbers")
        return value
    return call.constant(0).astype(np.int64) if call.written.kind in ("int32", "int64") else call.constant(0)
