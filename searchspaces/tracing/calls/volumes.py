"""Handlers (see ``aten``) of operators over depth, height and width: those that are operators of pictures, one after another."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.moves.move import Permute, Reshape
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import AvgPool
from searchspaces.tracing.aten import Value, Walk, arguments, handles, shape, tensor_name


def _three(values: Any) -> tuple[int, int, int]:
    items = [int(value) for value in values] if isinstance(values, list | tuple) else [int(values)]
    first, *more = items if len(items) == 3 else items * 3
    return (first, more[0], more[1])


@handles("conv3d.default", becomes=(Conv, Permute, Reshape))
def _conv3d(walk: Walk, call: fx.Node) -> Value:
    """Kernels of one picture (1, k, k), which see one picture after another, and those through pictures (k, 1, 1)."""
    a = arguments(call)
    weight, bias = walk.value(a["weight"]), walk.value(a["bias"])
    if not isinstance(weight, Tensor) or isinstance(bias, str):
        raise NotRead("weights are computed from the picture")
    if len(shape(a["input"])) != 5:
        raise NotRead("of what is no batch of clips")
    stride, pads, dilation = (_three(a[role]) for role in ("stride", "padding", "dilation"))
    count, channels, depth, height, width = shape(a["input"])
    _, outputs, new_depth, new_height, new_width = shape(call)
    depth_alone, picture_alone = tuple(weight.shape[3:]) == (1, 1), weight.shape[2] == 1
    weights = {"weight": weight[:, :, 0] if picture_alone else weight[..., 0]} | ({} if bias is None else {"bias": bias})
    name, groups = tensor_name(walk, a["input"]), int(a["groups"])
    if picture_alone and (stride[0], pads[0]) == (1, 0):
        name = walk.emit(call, Permute((0, 2, 1, 3, 4)), (name,), suffix="order")
        name = walk.emit(call, Reshape((count * depth, channels, height, width)), (name,), suffix="pictures")
        (_, top, left) = pads
        op = Conv(_one_or_both(stride[1:]), (left, left, top, top), _one_or_both(dilation[1:]), groups)
        name = walk.emit(call, op, (name,), weights)
        name = walk.emit(call, Reshape((count, depth, outputs, new_height, new_width)), (name,), suffix="clip")
        return walk.emit(call, Permute((0, 2, 1, 3, 4)), (name,), suffix="back")
    if depth_alone and (*stride[1:], *pads[1:]) == (1, 1, 0, 0):
        name = walk.emit(call, Reshape((count, channels, depth, height * width)), (name,), suffix="lines")
        op = Conv(_one_or_both((stride[0], 1)), (0, 0, pads[0], pads[0]), _one_or_both((dilation[0], 1)), groups)
        name = walk.emit(call, op, (name,), weights)
        return walk.emit(call, Reshape((count, outputs, new_depth, height, width)), (name,), suffix="clip")
    raise NotRead("over three axes at once; (1, k, k) and (k, 1, 1), one after the other, are read")


def _one_or_both(values: tuple[int, ...]) -> int | tuple[int, int]:
    return values[0] if values[0] == values[1] else (values[0], values[1])


@handles("avg_pool3d.default", becomes=(AvgPool, Reshape))
def _avg_pool3d(walk: Walk, call: fx.Node) -> Value:
    """Means through pictures, then within each."""
    a = arguments(call)
    kernel, pads = _three(a["kernel_size"]), _three(a["padding"])
    stride = _three(a["stride"]) if a["stride"] else kernel
    if a["ceil_mode"] or a["divisor_override"] is not None or (any(pads) and not a["count_include_pad"]):
        raise NotRead("windows that are counted otherwise at the border")
    if len(shape(call)) != 5:
        raise NotRead("of what is no batch of clips")
    (count, channels, depth, height, width), (*_, new_depth, new_height, new_width) = shape(a["self"]), shape(call)
    name = tensor_name(walk, a["self"])
    if (kernel[0], stride[0]) != (1, 1):
        name = walk.emit(call, Reshape((count, channels, depth, height * width)), (name,), suffix="lines")
        op = AvgPool((kernel[0], 1), (stride[0], 1), (pads[0], 0))
        name = walk.emit(call, op, (name,), suffix="depth")
    if (kernel[1:], stride[1:]) != ((1, 1), (1, 1)):
        name = walk.emit(call, Reshape((count, channels * new_depth, height, width)), (name,), suffix="pictures")
        name = walk.emit(call, AvgPool(kernel[1:], stride[1:], pads[1:]), (name,))
    return walk.emit(call, Reshape((count, channels, new_depth, new_height, new_width)), (name,), suffix="clip")
