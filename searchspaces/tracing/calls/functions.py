"""Handlers (see ``aten``) of functions of one value."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, fx

from searchspaces.ops.maps import activation as act
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Div, Mul, Sub
from searchspaces.ops.maps.jumps import Round, Sign
from searchspaces.ops.moves.move import Reshape, Slice
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import Max, Sum
from searchspaces.tracing.aten import Value, Walk, arguments, axes_of, handles, loose_name, packet, shape, tensor_name
from searchspaces.tracing.calls.arithmetic import affine, as_operand
from searchspaces.tracing.spellings import STRAIGHT


def _unary(walk: Walk, call: fx.Node, op: act.Activation, weights: Mapping[str, Tensor] | None = None) -> Value:
    return walk.emit(call, op, (loose_name(walk, call.args[0]),), weights)


FUNCTIONS: Mapping[str, act.Activation] = {
    "relu": act.Relu(), "relu6": act.Relu6(), "sigmoid": act.Sigmoid(), "tanh": act.Tanh(), "hardswish": act.HardSwish(),
    "hardsigmoid": act.HardSigmoid(), "erf": act.Erf(), "exp": act.Exp(), "log": act.Log(), "sqrt": act.Sqrt(),
    "rsqrt": act.Rsqrt(), "abs": act.Abs(), "sin": act.Sin(), "cos": act.Cos(), "square": act.Pow(2.0),
    "mish": act.Mish(), "reciprocal": act.Reciprocal(), "atan": act.Atan(), "sign": Sign(), "sgn": Sign(),
    "floor": Round("floor"), "ceil": Round("ceil"), "round": Round("even"),
}  # fmt: skip


def _function(walk: Walk, call: fx.Node) -> Value:
    return _unary(walk, call, FUNCTIONS[packet(call)])


for _name, _op in FUNCTIONS.items():
    handles(f"{_name}.default", becomes=(type(_op),))(_function)


@handles("gelu.default", becomes=(act.Gelu,))
def _gelu(walk: Walk, call: fx.Node) -> Value:
    return _unary(walk, call, act.Gelu(arguments(call)["approximate"]))


@handles("elu.default", becomes=(act.Elu, Affine))
def _elu(walk: Walk, call: fx.Node) -> Value:
    """SELU and CELU, too: ``scale x``, or ``scale alpha (exp(s x) - 1)`` below zero, by way of ``s x``."""
    a = arguments(call)
    alpha, scale, inner = (float(a[name]) for name in ("alpha", "scale", "input_scale"))
    return _within(walk, call, act.Elu(alpha * inner), inner, scale / inner)


@handles("softplus.default", becomes=(act.Softplus, Affine))
def _softplus(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    beta = float(a["beta"])
    if float(a["threshold"]) < STRAIGHT:
        raise NotRead(f"straight above {float(a['threshold']):g}")
    return _within(walk, call, act.Softplus(), beta, 1 / beta)


def _within(walk: Walk, call: fx.Node, op: act.Activation, before: float, after: float) -> str:
    """``after f(before x)``."""
    name = loose_name(walk, call.args[0])
    if before != 1:
        name = str(affine(walk, call, call.args[0], before, 0.0, suffix="scaled"))
    name = walk.emit(call, op, (name,), suffix="" if after == 1 else "function")
    return name if after == 1 else _scaled(walk, call, name, after)


def _scaled(walk: Walk, call: fx.Node, name: str, factor: float, shift: float = 0.0) -> str:
    """``factor x + shift``; of a picture an operator that layers can take up."""
    if walk.axis(name) == 1:
        ones = torch.ones(walk.shape(name)[1])
        return walk.emit(call, Affine(1), (name,), {"scale": factor * ones, "shift": shift * ones})
    name = walk.emit(call, Mul(), (name,), {"other": torch.tensor([factor])})
    return walk.emit(call, Add(), (name,), {"other": torch.tensor([shift])}) if shift else name


@handles("expm1.default", becomes=(act.Exp, Add))
def _expm1(walk: Walk, call: fx.Node) -> Value:
    power = walk.emit(call, act.Exp(), (tensor_name(walk, call.args[0]),), suffix="exp")
    return walk.emit(call, Add(), (power,), {"other": torch.tensor([-1.0])})


@handles("log1p.default", becomes=(act.Log, Add))
def _log1p(walk: Walk, call: fx.Node) -> Value:
    grown = walk.emit(call, Add(), (tensor_name(walk, call.args[0]),), {"other": torch.ones(1)}, suffix="grown")
    return walk.emit(call, act.Log(), (grown,))


@handles("log2.default", "log10.default", becomes=(act.Log, Affine, Mul))
def _log_to(walk: Walk, call: fx.Node) -> Value:
    natural = walk.emit(call, act.Log(), (tensor_name(walk, call.args[0]),), suffix="log")
    return _scaled(walk, call, natural, 1 / math.log(2 if packet(call) == "log2" else 10))


@handles("exp2.default", "pow.Scalar", becomes=(act.Exp, Affine))
def _power_of(walk: Walk, call: fx.Node) -> Value:
    """A constant to the power of each value."""
    base = 2.0 if packet(call) == "exp2" else float(arguments(call)["self"])
    if not base > 0:
        raise NotRead(f"powers of {base:g}, which are no real numbers")
    source = call.args[-1]
    scaled = affine(walk, call, source, math.log(base), 0.0, suffix="exponent")
    return walk.emit(call, act.Exp(), (str(scaled),))


@handles("erfc.default", becomes=(act.Erf, Affine, Add))
def _erfc(walk: Walk, call: fx.Node) -> Value:
    inner = walk.emit(call, act.Erf(), (tensor_name(walk, call.args[0]),), suffix="erf")
    return _scaled(walk, call, inner, -1.0, 1.0)


@handles("sinh.default", "cosh.default", becomes=(act.Exp, Affine, Mul, Sub, Add))
def _hyperbolic(walk: Walk, call: fx.Node) -> Value:
    """Half the difference, or half the sum, of two exponentials."""
    up = walk.emit(call, act.Exp(), (tensor_name(walk, call.args[0]),), suffix="up")
    negated = str(affine(walk, call, call.args[0], -1.0, 0.0, suffix="negated"))
    down = walk.emit(call, act.Exp(), (negated,), suffix="down")
    both = walk.emit(call, Sub() if packet(call) == "sinh" else Add(), (up, down), suffix="both")
    return _scaled(walk, call, both, 0.5)


@handles("tan.default", becomes=(act.Sin, act.Cos, Div))
def _tan(walk: Walk, call: fx.Node) -> Value:
    name = tensor_name(walk, call.args[0])
    sine, cosine = (walk.emit(call, op, (name,), suffix=op.kind) for op in (act.Sin(), act.Cos()))
    return walk.emit(call, Div(), (sine, cosine))


@handles("hypot.default", becomes=(act.Pow, Add, act.Sqrt))
def _hypot(walk: Walk, call: fx.Node) -> Value:
    sides = [walk.emit(call, act.Pow(2.0), (tensor_name(walk, side),), suffix=f"square{i}") for i, side in enumerate(call.args)]
    return walk.emit(call, act.Sqrt(), (walk.emit(call, Add(), tuple(sides), suffix="sum"),))


@handles("trunc.default", "fix.default", becomes=(Sign, act.Abs, Round, Mul))
def _trunc(walk: Walk, call: fx.Node) -> Value:
    return _towards_zero(walk, call, tensor_name(walk, call.args[0]))


def _towards_zero(walk: Walk, call: fx.Node, name: str, suffix: str = "") -> str:
    size = walk.emit(call, act.Abs(), (name,), suffix="size")
    whole = walk.emit(call, Round("floor"), (size,), suffix="whole")
    return walk.emit(call, Mul(), (whole, walk.emit(call, Sign(), (name,), suffix="sign")), suffix=suffix)


@handles("remainder.Scalar", "fmod.Scalar", becomes=(Affine, Sign, act.Abs, Round, Add, Mul))
def _remainder(walk: Walk, call: fx.Node) -> Value:
    """``x - c floor(x / c)``; in ``fmod`` the quotient is rounded towards zero."""
    a = arguments(call)
    divisor, name = float(a["other"]), tensor_name(walk, a["self"])
    if not divisor:
        raise NotRead("by zero")
    parts = str(affine(walk, call, a["self"], 1 / divisor, 0.0, suffix="parts"))
    if packet(call) == "fmod":
        whole = _towards_zero(walk, call, parts, suffix="quotient")
    else:
        whole = walk.emit(call, Round("floor"), (parts,), suffix="whole")
    return walk.emit(call, Add(), (name, _scaled(walk, call, whole, -divisor)))


@handles("logsumexp.default", becomes=(Max, Sub, act.Exp, Sum, act.Log, Add))
def _log_sum_exp(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    name = tensor_name(walk, a["self"])
    axes = axes_of(a["dim"], len(walk.shape(name)))
    largest, total = _largest_and_log(walk, call, name, axes)
    found = walk.emit(call, Add(), (largest, total))
    return found if a["keepdim"] or walk.shape(found) == shape(call) else walk.emit(call, Reshape(shape(call)), (found,))


@handles("log_softmax.int", "_log_softmax.default", becomes=(Max, Sub, act.Exp, Sum, act.Log))
def _log_softmax(walk: Walk, call: fx.Node) -> Value:
    """Not the logarithm of softmax, which has no number for what is far below the largest value."""
    a = arguments(call)
    name = tensor_name(walk, a["self"])
    largest, total = _largest_and_log(walk, call, name, axes_of(a["dim"], len(walk.shape(name))))
    below = walk.emit(call, Sub(), (name, largest), suffix="below")
    return walk.emit(call, Sub(), (below, total))


def _largest_and_log(walk: Walk, call: fx.Node, name: str, axes: tuple[int, ...]) -> tuple[str, str]:
    """The largest values along axes, and the logarithm of the sum of exponentials of what lies below them."""
    largest = walk.emit(call, Max(axes, True), (name,), suffix="largest")
    powers = walk.emit(call, act.Exp(), (walk.emit(call, Sub(), (name, largest), suffix="difference"),), suffix="exp")
    return largest, walk.emit(call, act.Log(), (walk.emit(call, Sum(axes, True), (powers,), suffix="sum"),), suffix="log")


@handles("rrelu.default", becomes=(act.LeakyRelu,))
def _rrelu(walk: Walk, call: fx.Node) -> Value:
    """Outside training the slope is the middle of those that are drawn."""
    a = arguments(call)
    if a["training"]:
        raise NotRead("draws its slopes; the network is not in evaluation mode")
    return _unary(walk, call, act.LeakyRelu((float(a["lower"]) + float(a["upper"])) / 2))


@handles("pow.Tensor_Scalar", becomes=(act.Pow, act.Sqrt, act.Rsqrt, act.Reciprocal))
def _pow(walk: Walk, call: fx.Node) -> Value:
    return _power(walk, call, float(arguments(call)["exponent"]))


def _power(walk: Walk, call: fx.Node, exponent: float) -> Value:
    named: Mapping[float, act.Activation] = {0.5: act.Sqrt(), -0.5: act.Rsqrt(), -1.0: act.Reciprocal()}
    return _unary(walk, call, named.get(exponent, act.Pow(exponent)))


NOTHING = 1e-6
"""A power that is taken for zero."""


def _floor(exponent: Tensor | None) -> float:
    """What is taken for zero in front of a logarithm, so that no tensor holds infinity: its smallest power is ``NOTHING``."""
    smallest = 0.5 if exponent is None or not bool((exponent > 0).all()) else float(exponent.min())
    return float(max(NOTHING ** (1 / smallest), torch.finfo(torch.float32).tiny))


@handles("pow.Tensor_Tensor", becomes=(act.Clip, act.Log, Mul, act.Exp, act.Pow, act.Sqrt, act.Rsqrt, act.Reciprocal))
def _pow_of_tensors(walk: Walk, call: fx.Node) -> Value:
    """``exp(y log x)``, which is a power of what is above zero; one exponent for all is that power."""
    a = arguments(call)
    base, exponent = walk.value(a["self"]), walk.value(a["exponent"])
    if isinstance(exponent, Tensor) and bool((exponent == exponent.flatten()[0]).all()) and shape(call) == shape(a["self"]):
        return _power(walk, call, float(exponent.flatten()[0]))
    if isinstance(base, Tensor):
        if not bool((base > 0).all()):
            raise NotRead("powers of what is not above zero")
        inner = walk.emit(call, Mul(), (tensor_name(walk, a["exponent"]),), {"other": as_operand(base.log())}, suffix="exponent")
        return walk.emit(call, act.Exp(), (inner,))
    floor = _floor(exponent if isinstance(exponent, Tensor) else None)
    above = walk.emit(call, act.Clip(floor, math.inf), (tensor_name(walk, a["self"]),), suffix="above")
    logarithm = walk.emit(call, act.Log(), (above,), suffix="log")
    if isinstance(exponent, Tensor):
        inner = walk.emit(call, Mul(), (logarithm,), {"other": as_operand(exponent)}, suffix="exponent")
    else:
        inner = walk.emit(call, Mul(), (logarithm, tensor_name(walk, a["exponent"])), suffix="exponent")
    return walk.emit(call, act.Exp(), (inner,))


MOST_FACTORS = 128
"""A product of more values along an axis is not taken apart."""


@handles("prod.dim_int", becomes=(Slice, Mul, Reshape))
def _prod(walk: Walk, call: fx.Node) -> Value:
    """Halves times each other until one place is left."""
    a = arguments(call)
    name = tensor_name(walk, a["self"])
    axis, odd = int(a["dim"]) % len(shape(a["self"])), list[str]()
    if walk.shape(name)[axis] > MOST_FACTORS:
        raise NotRead(f"of more than {MOST_FACTORS} values")
    while (count := walk.shape(name)[axis]) > 1:
        half = count // 2
        if count % 2:
            odd.append(walk.emit(call, Slice(count - 1, count, axis), (name,), suffix="last"))
        parts = [walk.emit(call, Slice(at, at + half, axis), (name,), suffix="half") for at in (0, half)]
        name = walk.emit(call, Mul(), (parts[0], parts[1]))
    for one in odd:
        name = walk.emit(call, Mul(), (name, one))
    return name if a["keepdim"] else walk.emit(call, Reshape(shape(call)), (name,), suffix="view")


@handles("silu.default", becomes=(act.Sigmoid, Mul))
def _silu(walk: Walk, call: fx.Node) -> Value:
    source = loose_name(walk, call.args[0])
    gate = walk.emit(call, act.Sigmoid(), (source,), suffix="gate")
    return walk.emit(call, Mul(), (source, gate))


@handles("leaky_relu.default", becomes=(act.LeakyRelu,))
def _leaky_relu(walk: Walk, call: fx.Node) -> Value:
    return _unary(walk, call, act.LeakyRelu(float(arguments(call)["negative_slope"])))


@handles("prelu.default", becomes=(act.PRelu, act.LeakyRelu))
def _prelu(walk: Walk, call: fx.Node) -> Value:
    slope = walk.value(arguments(call)["weight"])
    if not isinstance(slope, Tensor):
        raise NotRead("slopes are computed from the picture")
    rank = len(shape(call))
    if slope.numel() == 1 and rank != 4:
        return _unary(walk, call, act.LeakyRelu(float(slope)))
    if rank != 4:
        raise NotRead("slopes for each channel of what is no picture")
    return _unary(walk, call, act.PRelu(), {"slope": slope.flatten().expand(shape(call)[1]).clone()})


@handles("clamp.default", "clamp_min.default", "clamp_max.default", "hardtanh.default", becomes=(act.Clip, act.Relu, act.Relu6))
def _clamp(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    low = a.get("min", a.get("min_val"))
    high = a.get("max", a.get("max_val"))
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        raise NotRead("limits are tensors")
    if low == 0 and high is None:
        return _unary(walk, call, act.Relu())
    if low == 0 and high == 6:
        return _unary(walk, call, act.Relu6())
    bounds = float("-inf") if low is None else float(low), float("inf") if high is None else float(high)
    return _unary(walk, call, act.Clip(*bounds))
