"""Readers of functions of one value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hwsearch.formats.onnx.reading.constants import Constant
from hwsearch.formats.onnx.reading.pointwise import bounded
from hwsearch.formats.onnx.reading.quantized import saturated
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map, tensor
from searchspaces.ops.maps import activation as act
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Div, Mul, Sub
from searchspaces.ops.maps.jumps import Round, Sign
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import Reduction


@READS.register("Pow", becomes=(act.Pow, act.Sqrt, act.Rsqrt, act.Reciprocal, act.Exp, Affine))
def _pow(walk: Walk, call: Call) -> Value:
    if isinstance(call.inputs[0], Constant) and isinstance(call.inputs[1], Map):
        base = call.numbers(0, "its base")
        if base.size != 1 or not float(base.reshape(-1)[0]) > 0:
            raise NotRead("powers of several numbers, or of what is not above zero")
        scaled = walk.scaled(f"{call.name}.exponent", call.inputs[1], math.log(float(base.reshape(-1)[0])), 0.0)
        return walk.unary(call.name, act.Exp(), scaled)
    exponent = call.numbers(1, "its exponent")
    if exponent.size != 1:
        raise NotRead("a power for each value")
    power = float(exponent.reshape(-1)[0])
    named: Mapping[float, act.Activation] = {0.5: act.Sqrt(), -0.5: act.Rsqrt(), -1.0: act.Reciprocal()}
    return call.map() if power == 1 else walk.unary(call.name, named.get(power, act.Pow(power)), call.map())


FUNCTIONS: Mapping[str, act.Activation] = {
    "Relu": act.Relu(), "Sigmoid": act.Sigmoid(), "Tanh": act.Tanh(), "HardSwish": act.HardSwish(), "Softplus": act.Softplus(),
    "Erf": act.Erf(), "Exp": act.Exp(), "Log": act.Log(), "Abs": act.Abs(), "Reciprocal": act.Reciprocal(), "Sin": act.Sin(),
    "Cos": act.Cos(), "Mish": act.Mish(), "Atan": act.Atan(), "Sign": Sign(), "Ceil": Round("ceil"),
}  # fmt: skip


def _function(walk: Walk, call: Call) -> Value:
    return walk.unary(call.name, FUNCTIONS[call.kind], call.map())


for _kind, _op in FUNCTIONS.items():
    READS.register(_kind, becomes=(type(_op),))(_function)


@READS.register("Round", "Floor", becomes=(Round,))
def _whole(walk: Walk, call: Call) -> Value:
    """What rounds codes is notation."""
    return call.map() if walk.notation else walk.unary(call.name, Round("floor" if call.kind == "Floor" else "even"), call.map())


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
    return walk.pointwise(name, Add(), [above, walk.scaled(f"{name}.slope", below, slope, 0.0)])


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


@READS.register("Celu", becomes=(act.Elu, Affine))
def _celu(walk: Walk, call: Call) -> Value:
    """``alpha`` times the function whose alpha is 1, of ``x / alpha``."""
    alpha = float(call.attrs.get("alpha", 1.0))
    scaled = walk.scaled(f"{call.name}.scaled", call.map(), 1 / alpha, 0.0)
    return walk.scaled(call.name, walk.unary(f"{call.name}.elu", act.Elu(), scaled), alpha, 0.0)


@READS.register("Sinh", "Cosh", becomes=(act.Exp, Affine, Sub, Add))
def _hyperbolic(walk: Walk, call: Call) -> Value:
    """Half the difference, or half the sum, of two exponentials."""
    up = walk.unary(f"{call.name}.up", act.Exp(), call.map())
    down = walk.unary(f"{call.name}.down", act.Exp(), walk.scaled(f"{call.name}.negated", call.map(), -1.0, 0.0))
    both = walk.pointwise(f"{call.name}.both", Sub() if call.kind == "Sinh" else Add(), [up, down])
    return walk.scaled(call.name, both, 0.5, 0.0)


@READS.register("Tan", becomes=(act.Sin, act.Cos, Div))
def _tan(walk: Walk, call: Call) -> Value:
    sine, cosine = (walk.unary(f"{call.name}.{op.kind}", op, call.map()) for op in (act.Sin(), act.Cos()))
    return walk.pointwise(call.name, Div(), [sine, cosine])


@READS.register("Softsign", becomes=(act.Abs, Affine, Div))
def _softsign(walk: Walk, call: Call) -> Value:
    size = walk.scaled(f"{call.name}.grown", walk.unary(f"{call.name}.size", act.Abs(), call.map()), 1.0, 1.0)
    return walk.pointwise(call.name, Div(), [call.map(), size])


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


@READS.register("Swish", "QuickGelu", becomes=(act.Sigmoid, Mul))
def _swish(walk: Walk, call: Call) -> Value:
    """``x sigmoid(alpha x)``; the second is ONNX Runtime's."""
    alpha = float(call.attrs.get("alpha", 1.702 if call.kind == "QuickGelu" else 1.0))
    inside = call.map() if alpha == 1 else walk.scaled(f"{call.name}.scaled", call.map(), alpha, 0.0)
    return walk.pointwise(call.name, Mul(), [call.map(), walk.unary(f"{call.name}.gate", act.Sigmoid(), inside)])
