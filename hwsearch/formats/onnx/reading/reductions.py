"""Readers of sums and means over axes, softmax and normalizations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from hwsearch.formats.onnx.reading.quantized import saturated
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map, tensor
from searchspaces.ops.maps.activation import Abs, Exp, Log, Pow, Sqrt
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Div, Sub
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.norm import GroupNorm, InstanceNorm, LayerNorm, RmsNorm
from searchspaces.ops.reductions.reduce import Max, Mean, Min, Reduction, Sum
from searchspaces.ops.reductions.softmax import Softmax

REDUCTIONS: Mapping[str, type[Reduction]] = {"ReduceMean": Mean, "ReduceSum": Sum, "ReduceMax": Max, "ReduceMin": Min}


def reduced(walk: Walk, name: str, op: type[Reduction], value: Map, axes: Sequence[int], keeps: bool) -> Map:
    """A statistic over axes of a value, which stay with one place or go."""
    rank = len(value.axes)
    over = sorted({axis % rank for axis in axes})
    lying = tuple(sorted(value.axes[axis] for axis in over))
    made = (
        Map(walk.emit(name, op(lying, True), [value.name]), value.axes) if not value.plain or keeps or lying == (2, 3) else None
    )
    if made is None:
        return walk.put(name, op(tuple(over), False), [value])
    if keeps:
        return made
    return walk.reshaped(f"{name}.squeezed", made, [side for axis, side in enumerate(walk.shape(value)) if axis not in over])


def axes_of(call: Call, rank: int) -> list[int] | None:
    """Axes as an attribute or an input; None where there is nothing to do."""
    axes = call.integers("axes", 1, [])
    if not axes:
        return None if call.attrs.get("noop_with_empty_axes", 0) else list(range(rank))
    found: list[int] = axes
    return found


@READS.register(*REDUCTIONS, becomes=(Mean, Sum, Max, Min))
def _reduce(walk: Walk, call: Call) -> Value:
    value = call.map()
    axes, keeps = axes_of(call, len(value.axes)), bool(call.attrs.get("keepdims", 1))
    if axes is None:
        return value
    if walk.notation and call.kind in ("ReduceMean", "ReduceSum"):
        if isinstance(walk.nodes[value.name].op, Reduction):
            raise NotRead("a statistic of a statistic")
        return walk.once(("pool", value), lambda: reduced(walk, call.name, Mean, value, axes, keeps))
    return reduced(walk, call.name, REDUCTIONS[call.kind], value, axes, keeps)


@READS.register("ReduceL1", "ReduceL2", "ReduceSumSquare", becomes=(Abs, Pow, Sum, Sqrt))
def _length(walk: Walk, call: Call) -> Value:
    value = call.map()
    axes, keeps = axes_of(call, len(value.axes)), bool(call.attrs.get("keepdims", 1))
    if axes is None:
        raise NotRead("over no axis")
    sizes = walk.unary(f"{call.name}.size", Abs() if call.kind == "ReduceL1" else Pow(2.0), value)
    total = reduced(walk, f"{call.name}.sum" if call.kind == "ReduceL2" else call.name, Sum, sizes, axes, keeps)
    return walk.unary(call.name, Sqrt(), total) if call.kind == "ReduceL2" else total


@READS.register("ReduceLogSumExp", becomes=(Max, Sub, Exp, Sum, Log, Add))
def _log_sum_exp(walk: Walk, call: Call) -> Value:
    """The largest value, and the logarithm of the sum of exponentials of what lies below it."""
    value = call.map()
    axes, keeps = axes_of(call, len(value.axes)), bool(call.attrs.get("keepdims", 1))
    if axes is None:
        raise NotRead("over no axis")
    largest = reduced(walk, f"{call.name}.largest", Max, value, axes, True)
    powers = walk.unary(f"{call.name}.exp", Exp(), walk.pointwise(f"{call.name}.difference", Sub(), [value, largest]))
    total = walk.unary(f"{call.name}.log", Log(), reduced(walk, f"{call.name}.sum", Sum, powers, axes, True))
    made = walk.pointwise(call.name, Add(), [largest, total])
    over = {axis % len(value.axes) for axis in axes}
    left = [side for axis, side in enumerate(walk.shape(made)) if axis not in over]
    return made if keeps else walk.reshaped(f"{call.name}.squeezed", made, left)


@READS.register("LpNormalization", becomes=(Pow, Sum, Sqrt, Div))
def _lp(walk: Walk, call: Call) -> Value:
    value = call.map()
    if int(call.attrs.get("p", 2)) != 2:
        raise NotRead("of another length than the Euclidean")
    squares = walk.unary(f"{call.name}.square", Pow(2.0), value)
    total = reduced(walk, f"{call.name}.sum", Sum, squares, [call.axis(len(value.axes), -1)], True)
    return walk.pointwise(call.name, Div(), [value, walk.unary(f"{call.name}.length", Sqrt(), total)])


@READS.register("Softmax", "LogSoftmax", "QLinearSoftmax", becomes=(Softmax, Log))
def _softmax(walk: Walk, call: Call) -> Value:
    value = call.map()
    rank = len(value.axes)
    axis = call.axis(rank, -1 if call.opset >= 13 else 1)
    shape = walk.shape(value)
    if call.opset < 13 and axis != rank - 1:  # of all that follows the axis at once
        flat = walk.reshaped(f"{call.name}.flat", value, (int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))))
        made = walk.reshaped(f"{call.name}.shaped", walk.put(call.name, Softmax(-1), [flat]), shape)
    else:
        lying = value.axes[axis]
        made = Map(walk.emit(call.name, Softmax(-1 if lying == rank - 1 else lying), [value.name]), value.axes)
    if call.kind == "LogSoftmax":
        return walk.unary(f"{call.name}.log", Log(), made)
    return saturated(walk, call, made) if call.kind.startswith("Q") else made


def _roles(**given: np.ndarray | None) -> dict[str, torch.Tensor]:
    return {role: tensor(array) for role, array in given.items() if array is not None}


def _parameters(call: Call, *places: int) -> list[np.ndarray | None]:
    return [call.numbers(place) if call.has(place) else None for place in places]


@READS.register("LayerNormalization", becomes=(LayerNorm,))
def _layer_norm(walk: Walk, call: Call) -> list[Map]:
    value = call.map()
    rank = len(value.axes)
    axes = tuple(range(call.axis(rank, -1) - rank, 0))
    weight, bias = _parameters(call, 1, 2)
    shape = walk.shape(value)[axes[0] :]
    whole = [None if array is None else np.broadcast_to(array, shape) for array in (weight, bias)]
    op = LayerNorm(axes, float(call.attrs.get("epsilon", 1e-5)))
    return [walk.put(call.name, op, [value], _roles(weight=whole[0], bias=whole[1]))]


@READS.register("RMSNormalization", "SimplifiedLayerNormalization", becomes=(RmsNorm,))
def _rms_norm(walk: Walk, call: Call) -> Value:
    """The second is what ONNX Runtime calls it."""
    value = call.map()
    rank = len(value.axes)
    axes = tuple(range(call.axis(rank, -1) - rank, 0))
    (weight,) = _parameters(call, 1)
    whole = None if weight is None else np.broadcast_to(weight, walk.shape(value)[axes[0] :])
    return walk.put(call.name, RmsNorm(axes, float(call.attrs.get("epsilon", 1e-5))), [value], _roles(weight=whole))


@READS.register("InstanceNormalization", becomes=(InstanceNorm,))
def _instance_norm(walk: Walk, call: Call) -> Value:
    weight, bias = _parameters(call, 1, 2)
    op = InstanceNorm(float(call.attrs.get("epsilon", 1e-5)))
    return walk.put(call.name, op, [call.map()], _roles(weight=weight, bias=bias))


@READS.register("GroupNormalization", becomes=(GroupNorm,))
def _group_norm(walk: Walk, call: Call) -> Value:
    """Before operator set 21 a scale for each group, since then one for each channel."""
    value, groups = call.map(), int(call.attrs["num_groups"])
    channels = walk.shape(value)[1]
    weight, bias = (
        np.repeat(array, channels // groups) if array is not None and array.size == groups != channels else array
        for array in _parameters(call, 1, 2)
    )
    op = GroupNorm(groups, float(call.attrs.get("epsilon", 1e-5)))
    return walk.put(call.name, op, [value], _roles(weight=weight, bias=bias))


@READS.register("BatchNormalization", becomes=(Affine,))
def _batch_norm(walk: Walk, call: Call) -> Map | list[Map]:
    """By statistics that were taken while training: a scale and a shift of each channel."""
    if walk.notation:
        return call.map()
    if call.attrs.get("training_mode", 0):
        raise NotRead("batch statistics; the network was not exported for evaluation")
    weight, bias, mean, variance = (call.numbers(place).astype(np.float64) for place in (1, 2, 3, 4))
    scale = weight / np.sqrt(variance + float(call.attrs.get("epsilon", 1e-5)))
    sides = (-1, *(1,) * (len(call.map().axes) - 2))
    made = walk.scaled(call.name, call.map(), scale.reshape(sides), (bias - mean * scale).reshape(sides))
    return [made] * len(call.outputs)
