"""One function per ATen operator: what a traced call becomes in the canonical graph.

A handler gets a ``Walk`` (emits nodes, knows values) and the traced call. It returns the call's value: the name of a tensor of
the canonical graph, a tuple of such names (split), or a constant tensor. Or it raises ``Unsupported``: the call is listed
by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, fx

from searchspaces.ir.simplify import transposed_to_shuffled
from searchspaces.ops.activation import Activation, Clip, LeakyRelu, PRelu, Relu, Relu6, Sigmoid, Tanh
from searchspaces.ops.affine import Affine
from searchspaces.ops.base import Op
from searchspaces.ops.conv import Conv
from searchspaces.ops.elementwise import Add, Mul
from searchspaces.ops.move import PixelShuffle
from searchspaces.ops.pad import Pad

Value = str | Tensor | tuple[str, ...]
HANDLERS: dict[str, Callable[[Any, fx.Node], Value]] = {}


class Unsupported(Exception):
    """This call cannot be expressed; the message says why."""


class Walk(Protocol):
    """What a handler may use of the tracer."""

    def value(self, argument: Any) -> Any:
        """The value of an argument: a tensor name, a constant, or a plain Python object."""

    def emit(
        self,
        call: fx.Node,
        op: Op,
        inputs: tuple[str, ...],
        weights: Mapping[str, Tensor] | None = None,
        suffix: str = "",
    ) -> str:
        """Append a node and return its name."""


def handles(*names: str) -> Callable[[Callable[[Any, fx.Node], Value]], Callable[[Any, fx.Node], Value]]:
    def register(function: Callable[[Any, fx.Node], Value]) -> Callable[[Any, fx.Node], Value]:
        HANDLERS.update(dict.fromkeys(names, function))
        return function

    return register


def arguments(call: fx.Node) -> dict[str, Any]:
    """Arguments by their names in the operator's schema, defaults included."""
    schema = call.target._schema  # type: ignore[union-attr]
    bound = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    bound.update(zip((a.name for a in schema.arguments), call.args, strict=False))
    return bound | call.kwargs


def shape(call: Any) -> tuple[int, ...]:
    """Shape of a traced tensor at the example size."""
    return tuple(int(side) for side in call.meta["val"].shape)


def channels(call: Any) -> int:
    return shape(call)[1]


def tensor_name(walk: Walk, argument: Any) -> str:
    found = walk.value(argument)
    if not isinstance(found, str):
        raise Unsupported("needs a feature map here, not a constant")
    return found


def _one(values: Any, what: str) -> int:
    """The common value of a list that must be the same for height and width."""
    items = set(values) if isinstance(values, list | tuple) else {values}
    if len(items) != 1:
        raise Unsupported(f"{what} differs between height and width")
    return int(items.pop())


def _both(values: Any) -> tuple[int, int]:
    items = list(values) if isinstance(values, list | tuple) else [values]
    return (int(items[0]), int(items[-1]))


@handles("conv2d.default", "conv2d.padding")
def _conv2d(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    weight, bias = walk.value(a["weight"]), walk.value(a["bias"])
    if not isinstance(weight, Tensor) or isinstance(bias, str):
        raise Unsupported("weights are computed from the picture")
    dilation = _one(a["dilation"], "dilation")
    if a["padding"] == "valid":
        pads = (0, 0, 0, 0)
    elif a["padding"] == "same":
        (top, bottom), (left, right) = ((e // 2, e - e // 2) for e in ((k - 1) * dilation for k in weight.shape[2:]))
        pads = (left, right, top, bottom)
    else:
        y, x = _both(a["padding"])
        pads = (x, x, y, y)
    op = Conv(_one(a["stride"], "stride"), pads, dilation, int(a["groups"]))
    return walk.emit(call, op, (tensor_name(walk, a["input"]),), _weights(weight, bias))


def _weights(weight: Tensor, bias: Tensor | None) -> dict[str, Tensor]:
    return {"weight": weight} if bias is None else {"weight": weight, "bias": bias}


@handles("conv_transpose2d.input")
def _conv_transpose2d(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    weight, bias = walk.value(a["weight"]), walk.value(a["bias"])
    if not isinstance(weight, Tensor) or isinstance(bias, str):
        raise Unsupported("weights are computed from the picture")
    if a["groups"] != 1:
        raise Unsupported("groups above 1")
    stride, dilation = _one(a["stride"], "stride"), _one(a["dilation"], "dilation")
    weight, bias, pads, cut = transposed_to_shuffled(
        weight, bias, stride, _both(a["padding"]), _both(a["output_padding"]), dilation
    )
    conv = walk.emit(call, Conv(padding=pads), (tensor_name(walk, a["input"]),), _weights(weight, bias))
    if stride == 1:
        return conv
    shuffled = walk.emit(call, PixelShuffle(stride), (conv,), suffix="shuffle")
    return walk.emit(call, Pad(cut), (shuffled,), suffix="cut") if any(cut) else shuffled


@handles("linear.default")
def _linear(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    weight, bias = walk.value(a["weight"]), walk.value(a["bias"])
    if len(shape(a["input"])) != 2 or not isinstance(weight, Tensor) or isinstance(bias, str):
        raise Unsupported("only on one vector per picture")
    return walk.emit(call, Conv(), (tensor_name(walk, a["input"]),), _weights(weight[:, :, None, None], bias))


@handles("batch_norm.default")
def _batch_norm(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if a["training"]:
        raise Unsupported("batch statistics; the network is not in evaluation mode")
    mean, variance = walk.value(a["running_mean"]), walk.value(a["running_var"])
    if not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        raise Unsupported("no running statistics")
    weight, bias = walk.value(a["weight"]), walk.value(a["bias"])
    scale = (variance.double() + a["eps"]).rsqrt() * (1.0 if weight is None else weight.double())
    shift = (0.0 if bias is None else bias.double()) - mean.double() * scale
    return _affine(walk, call, a["input"], scale, shift)


def _affine(walk: Walk, call: fx.Node, source: Any, scale: Any, shift: Any, suffix: str = "") -> Value:
    """``scale * x + shift`` with numbers, or constants that are one value per channel."""
    count = channels(source)
    weights = {}
    for key, given in (("scale", scale), ("shift", shift)):
        constant = torch.as_tensor(given, dtype=torch.float64)
        if constant.numel() == 1:
            constant = constant.reshape(1).expand(count)
        elif constant.numel() == count and (constant.ndim == 1 or _is_channel_shaped(constant, count)):
            constant = constant.reshape(count)
        else:
            raise Unsupported("a constant that is not one value per channel")
        weights[key] = constant.float().clone()
    return walk.emit(call, Affine(), (tensor_name(walk, source),), weights, suffix=suffix)


def _is_channel_shaped(constant: Tensor, count: int) -> bool:
    return constant.ndim in (3, 4) and constant.shape[-3:] == (count, 1, 1)


def _channel_constant(value: Any, other: Any) -> Any:
    """A constant operand of an elementwise operation; ``[C]`` alone would broadcast along the width, not the channels."""
    if isinstance(value, Tensor) and value.numel() > 1 and not _is_channel_shaped(value, channels(other)):
        raise Unsupported("a constant that is not one value per channel")
    return value


@handles("add.Tensor", "sub.Tensor", "rsub.Scalar", "add.Scalar", "sub.Scalar")
def _add(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    left, right = a["self"], a["other"]
    sign_left, sign_right = 1.0, float(a.get("alpha", 1))
    if call.target._overloadpacket.__name__.startswith("sub"):  # type: ignore[union-attr]
        sign_right = -sign_right
    elif call.target._overloadpacket.__name__.startswith("rsub"):  # type: ignore[union-attr]
        left, right, sign_left, sign_right = right, left, sign_right, -1.0
    x, y = walk.value(left), walk.value(right)
    if isinstance(x, str) and isinstance(y, str):
        if shape(left) != shape(right):
            raise Unsupported("operands of different shape")
        if sign_right != 1.0:
            negated = _affine(walk, call, right, sign_right, 0.0, suffix="scaled")
            return walk.emit(call, Add(), (x, str(negated)))
        return walk.emit(call, Add(), (x, y))
    if isinstance(x, str):
        return _affine(walk, call, left, 1.0, _channel_constant(y, left) * sign_right)
    return _affine(walk, call, right, sign_right, _channel_constant(x, right) * sign_left)


@handles("mul.Tensor", "mul.Scalar")
def _mul(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    left, right = a["self"], a["other"]
    x, y = walk.value(left), walk.value(right)
    if isinstance(x, str) and isinstance(y, str):
        if shape(left) == shape(right) or shape(right) == (*shape(left)[:2], 1, 1):
            return walk.emit(call, Mul(), (x, y))
        if shape(left) == (*shape(right)[:2], 1, 1):
            return walk.emit(call, Mul(), (y, x))
        raise Unsupported("a factor that is neither a map of the same shape nor one value per channel")
    if isinstance(x, str):
        return _affine(walk, call, left, _channel_constant(y, left), 0.0)
    return _affine(walk, call, right, _channel_constant(x, right), 0.0)


@handles("div.Tensor", "div.Scalar")
def _div(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    x, y = walk.value(a["self"]), walk.value(a["other"])
    if not isinstance(x, str) or isinstance(y, str):
        raise Unsupported("division by a feature map")
    return _affine(walk, call, a["self"], 1.0 / _channel_constant(y, a["self"]), 0.0)


@handles("neg.default")
def _neg(walk: Walk, call: fx.Node) -> Value:
    return _affine(walk, call, call.args[0], -1.0, 0.0)


def _unary(walk: Walk, call: fx.Node, op: Activation, weights: Mapping[str, Tensor] | None = None) -> Value:
    return walk.emit(call, op, (tensor_name(walk, call.args[0]),), weights)


@handles("relu.default")
def _relu(walk: Walk, call: fx.Node) -> Value:
    return _unary(walk, call, Relu())


@handles("relu6.default")
def _relu6(walk: Walk, call: fx.Node) -> Value:
    return _unary(walk, call, Relu6())


@handles("sigmoid.default")
def _sigmoid(walk: Walk, call: fx.Node) -> Value:
    return _unary(walk, call, Sigmoid())


@handles("tanh.default")
def _tanh(walk: Walk, call: fx.Node) -> Value:
    return _unary(walk, call, Tanh())


@handles("silu.default")
def _silu(walk: Walk, call: fx.Node) -> Value:
    gate = walk.emit(call, Sigmoid(), (tensor_name(walk, call.args[0]),), suffix="gate")
    return walk.emit(call, Mul(), (tensor_name(walk, call.args[0]), gate))


@handles("leaky_relu.default")
def _leaky_relu(walk: Walk, call: fx.Node) -> Value:
    return _unary(walk, call, LeakyRelu(float(arguments(call)["negative_slope"])))


@handles("prelu.default")
def _prelu(walk: Walk, call: fx.Node) -> Value:
    slope = walk.value(arguments(call)["weight"])
    if not isinstance(slope, Tensor):
        raise Unsupported("slopes are computed from the picture")
    return _unary(walk, call, PRelu(), {"slope": slope.flatten().expand(channels(call)).clone()})


@handles("clamp.default", "clamp_min.default", "clamp_max.default", "hardtanh.default")
def _clamp(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    low = a.get("min", a.get("min_val"))
    high = a.get("max", a.get("max_val"))
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        raise Unsupported("limits are tensors")
    if low == 0 and high is None:
        return _unary(walk, call, Relu())
    if low == 0 and high == 6:
        return _unary(walk, call, Relu6())
    bounds = float("-inf") if low is None else float(low), float("inf") if high is None else float(high)
    return _unary(walk, call, Clip(*bounds))
