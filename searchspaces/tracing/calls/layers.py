"""Handlers (see ``aten``) of layers: convolutions, matrices, attention, normalizations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from searchspaces.ir.transposed import transposed_to_shuffled
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.move import Permute, PixelShuffle, Reshape
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.windows import Windows
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.norm import GroupNorm, InstanceNorm, LayerNorm, RmsNorm
from searchspaces.ops.reductions.softmax import Softmax
from searchspaces.tracing.aten import Value, Walk, arguments, both, handles, loose_name, one, packet, shape, tensor_name
from searchspaces.tracing.calls.arithmetic import affine
from searchspaces.tracing.calls.constants import tensors
from searchspaces.tracing.calls.masks import hidden
from searchspaces.tracing.calls.products import by_products, product, turned

COMPUTED = "weights are computed from the picture"


def _constants(walk: Walk, a: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
    weight, bias = walk.value(a["weight"]), walk.value(a["bias"])
    if not isinstance(weight, Tensor) or isinstance(bias, str):
        raise NotRead(COMPUTED)
    return weight, bias


def _weights(weight: Tensor | None, bias: Tensor | None) -> dict[str, Tensor]:
    return {key: value for key, value in (("weight", weight), ("bias", bias)) if value is not None}


def _same_or_both(values: Any) -> int | tuple[int, int]:
    y, x = both(values)
    return y if y == x else (y, x)


@handles("conv2d.default", "conv2d.padding", becomes=(Conv, Pad, Windows, Permute, Reshape, MatMul, Add))
def _conv2d(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if isinstance(walk.value(a["weight"]), str) and not isinstance(a["padding"], str):
        return by_products(walk, call)
    weight, bias = _constants(walk, a)
    dilation = both(a["dilation"])
    if a["padding"] == "valid":
        pads = (0, 0, 0, 0)
    elif a["padding"] == "same":
        reaches = ((k - 1) * d for k, d in zip(weight.shape[2:], dilation, strict=True))
        (top, bottom), (left, right) = ((e // 2, e - e // 2) for e in reaches)
        pads = (left, right, top, bottom)
    else:
        y, x = both(a["padding"])
        pads = (x, x, y, y)
    op = Conv(_same_or_both(a["stride"]), pads, _same_or_both(dilation), int(a["groups"]))
    return walk.emit(call, op, (tensor_name(walk, a["input"]),), _weights(weight, bias))


@handles("conv1d.default", becomes=(Conv, Reshape))
def _conv1d(walk: Walk, call: fx.Node) -> Value:
    return _of_one_row(walk, call)


def _of_one_row(walk: Walk, call: fx.Node) -> Value:
    """A convolution of pictures of one row."""
    a = arguments(call)
    weight, bias = _constants(walk, a)
    count, channels, length = shape(a["input"])
    row = walk.emit(call, Reshape((count, channels, 1, length)), (tensor_name(walk, a["input"]),), suffix="row")
    (pad,), (stride,), (dilation,) = a["padding"], a["stride"], a["dilation"]
    op = Conv((1, stride) if stride != 1 else 1, (pad, pad, 0, 0), (1, dilation) if dilation != 1 else 1, int(a["groups"]))
    found = walk.emit(call, op, (row,), _weights(weight.unsqueeze(2), bias))
    return walk.emit(call, Reshape(shape(call)), (found,), suffix="line")


@handles("conv_transpose2d.input", becomes=(Conv, PixelShuffle, Pad))
def _conv_transpose2d(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    weight, bias = _constants(walk, a)
    stride, dilation = one(a["stride"], "stride"), one(a["dilation"], "dilation")
    how = (stride, both(a["padding"]), both(a["output_padding"]), dilation)
    return _transposed(walk, call, tensor_name(walk, a["input"]), weight, bias, int(a["groups"]), how)


@handles("convolution.default", "_convolution.default", becomes=(Conv, Reshape, PixelShuffle, Pad))
def _any_convolution(walk: Walk, call: fx.Node) -> Value:
    """What every convolution is to PyTorch itself, and in TorchScript that was traced."""
    a = arguments(call)
    weight, bias = _constants(walk, a)
    if weight.ndim == 3 and not a["transposed"]:
        return _of_one_row(walk, call)
    if weight.ndim != 4:
        raise NotRead("of what is no picture")
    stride, padding, dilation = (both(a[role]) for role in ("stride", "padding", "dilation"))
    if a["transposed"]:
        how = (one(a["stride"], "stride"), padding, both(a["output_padding"]), one(a["dilation"], "dilation"))
        return _transposed(walk, call, tensor_name(walk, a["input"]), weight, bias, int(a["groups"]), how)
    pads = (padding[1], padding[1], padding[0], padding[0])
    op = Conv(_same_or_both(stride), pads, _same_or_both(dilation), int(a["groups"]))
    return walk.emit(call, op, (tensor_name(walk, a["input"]),), _weights(weight, bias))


_How = tuple[int, tuple[int, int], tuple[int, int], int]
"""Stride, padding, output padding and dilation of a transposed convolution."""


def _transposed(walk: Walk, call: fx.Node, source: str, weight: Tensor, bias: Tensor | None, groups: int, how: _How) -> str:
    """Each group by itself; a pixel shuffle keeps the channels of a group together."""
    stride = how[0]
    spread = None if bias is None else bias.repeat_interleave(stride * stride)
    parts = [transposed_to_shuffled(part, None, *how) for part in weight.chunk(groups)]
    _, _, pads, cut = parts[0]
    conv = walk.emit(call, Conv(padding=pads, groups=groups), (source,), _weights(torch.cat([part[0] for part in parts]), spread))
    if stride == 1:
        return conv
    shuffled = walk.emit(call, PixelShuffle(stride), (conv,), suffix="shuffle")
    return walk.emit(call, Pad(cut), (shuffled,), suffix="cut") if any(cut) else shuffled


@handles("col2im.default", becomes=(Reshape, PixelShuffle, Conv, Pad))
def _fold(walk: Walk, call: fx.Node) -> Value:
    """``F.fold``: windows ``[N, C kh kw, L]`` that do not overlap are a pixel shuffle; those that do are added up where they do,
    as a transposed convolution does whose kernels are one 1 each."""
    a = arguments(call)
    kernel, padding, size = (both(a[role]) for role in ("kernel_size", "padding", "output_size"))
    stride, dilation = one(a["stride"], "stride"), one(a["dilation"], "dilation")
    reaches = [dilation * (k - 1) + 1 for k in kernel]
    rows, columns = ((side + 2 * pad - reach) // stride + 1 for side, pad, reach in zip(size, padding, reaches, strict=True))
    if len(shape(a["self"])) != 3:
        raise NotRead("of what is no batch")
    count, entries, _ = shape(a["self"])
    name = walk.emit(call, Reshape((count, entries, rows, columns)), (tensor_name(walk, a["self"]),), suffix="windows")
    if kernel == (stride, stride) and dilation == 1 and padding == (0, 0):
        name = walk.emit(call, PixelShuffle(stride), (name,))
        rest = (0, size[1] - columns * stride, 0, size[0] - rows * stride)  # no window reaches there
        return walk.emit(call, Pad(rest), (name,), suffix="rest") if any(rest) else name
    inside = kernel[0] * kernel[1]
    one_each = torch.eye(inside).reshape(inside, 1, *kernel).repeat(entries // inside, 1, 1, 1)
    lengths = zip(size, padding, reaches, (rows, columns), strict=True)
    high, wide = (side - ((n - 1) * stride - 2 * pad + reach) for side, pad, reach, n in lengths)
    return _transposed(walk, call, name, one_each, None, entries // inside, (stride, padding, (high, wide), dilation))


@handles("linear.default", becomes=(Linear, Conv))
def _linear(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    return _by_matrix(walk, call, a["input"], walk.value(a["weight"]), walk.value(a["bias"]))


def _by_matrix(walk: Walk, call: fx.Node, source: Any, weight: Any, bias: Any) -> Value:
    """``x`` times the transpose of ``weight [O, I]``. A vector that was pooled from pictures goes on as one: a convolution."""
    if not isinstance(weight, Tensor) or isinstance(bias, str) or weight.ndim != 2:
        raise NotRead(COMPUTED)
    name = loose_name(walk, source)
    if walk.shape(name) == (*shape(source), 1, 1) and walk.axis(name) == 1:
        return walk.emit(call, Conv(), (name,), _weights(weight[:, :, None, None], bias))
    return walk.emit(call, Linear(), (tensor_name(walk, source),), _weights(weight, bias))


@handles("bilinear.default", becomes=(Reshape, Mul, Linear))
def _bilinear(walk: Walk, call: fx.Node) -> Value:
    """``x W[k] y`` for every output ``k``: a matrix for all products of a value of ``x`` and one of ``y``."""
    a = arguments(call)
    weight, bias = _constants(walk, a)
    *outer, first = shape(a["input1"])
    second = shape(a["input2"])[-1]
    left = walk.emit(call, Reshape((*outer, first, 1)), (tensor_name(walk, a["input1"]),), suffix="left")
    right = walk.emit(call, Reshape((*outer, 1, second)), (tensor_name(walk, a["input2"]),), suffix="right")
    products = walk.emit(call, Mul(), (left, right), suffix="products")
    joined = walk.emit(call, Reshape((*outer, first * second)), (products,), suffix="joined")
    return walk.emit(call, Linear(), (joined,), _weights(weight.reshape(len(weight), -1), bias))


@handles("addmm.default", becomes=(Linear, Conv))
def _addmm(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    weight, bias = walk.value(a["mat2"]), walk.value(a["self"])
    if a["beta"] != 1 or a["alpha"] != 1 or not isinstance(weight, Tensor):
        raise NotRead("only of a constant matrix, not scaled")
    return _by_matrix(walk, call, a["mat1"], weight.T, bias)


@handles("matmul.default", "mm.default", "bmm.default", becomes=(MatMul, Linear, Conv, Permute))
def _matmul(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    left, right = a["self"], a.get("other", a.get("mat2"))
    x, y = walk.value(left), walk.value(right)
    if isinstance(y, Tensor):
        matrix = _one_matrix(y, shape(left), shape(call))
        if matrix.ndim == 2:
            return _by_matrix(walk, call, left, matrix.T, None)
    elif isinstance(x, Tensor):
        matrix = _one_matrix(x, shape(right), shape(call))
        if matrix.ndim == 2 and len(shape(right)) > 1:
            return _constant_first(walk, call, matrix, right)
    if min(len(shape(left)), len(shape(right))) < 2:
        raise NotRead("a product with a vector")
    return product(walk, call, *tensors(walk, call, left, right))


def _one_matrix(constant: Tensor, other: Sequence[int], result: Sequence[int]) -> Tensor:
    """A constant that is the same matrix for every matrix of what it is multiplied with (sizes ``other``), as one matrix; else as
    it is."""
    if constant.ndim < 3 or tuple(other[:-2]) != tuple(result[:-2]):
        return constant
    each = constant.flatten(0, -3)
    return each[0] if bool((each == each[:1]).all()) else constant


def _constant_first(walk: Walk, call: fx.Node, matrix: Tensor, source: Any) -> Value:
    """``matrix x = (x^T matrix^T)^T``."""
    order = turned(len(shape(source)))
    before = walk.emit(call, Permute(order), (tensor_name(walk, source),), suffix="turned")
    found = walk.emit(call, Linear(), (before,), {"weight": matrix})
    return walk.emit(call, Permute(order), (found,), suffix="back")


@handles("scaled_dot_product_attention.default", becomes=(MatMul, Softmax, Mul, Add, Permute))
def _attention(walk: Walk, call: fx.Node) -> Value:
    """``softmax(q k^T scale + mask) v``. The scale is taken to the queries, which are fewer numbers than the scores."""
    a = arguments(call)
    if a["dropout_p"] or a["enable_gqa"]:
        raise NotRead("dropout or shared heads")
    query, key, value = tensors(walk, call, *(a[role] for role in ("query", "key", "value")))
    scale = 1 / math.sqrt(shape(a["query"])[-1]) if a["scale"] is None else float(a["scale"])
    scaled = walk.emit(call, Mul(), (query,), {"other": torch.tensor([scale])}, suffix="scale")
    other = walk.emit(call, Permute(turned(len(walk.shape(key)))), (key,), suffix="turned")
    scores = product(walk, call, scaled, other, suffix="scores")
    mask = walk.value(a["attn_mask"])
    if a["is_causal"]:
        mask = torch.ones(shape(a["query"])[-2], shape(a["key"])[-2], dtype=torch.bool).tril()
    if isinstance(mask, Tensor):
        places = torch.isneginf(mask) if mask.is_floating_point() else ~mask
        added = mask.masked_fill(places, 0.0) if mask.is_floating_point() else torch.zeros(1)
        if bool(added.any()):
            scores = walk.emit(call, Add(), (scores,), {"other": added}, suffix="bias")
        scores = hidden(walk, call, scores, places) if bool(places.any()) else scores
    elif mask is not None:
        scores = walk.emit(call, Add(), (scores, tensor_name(walk, a["attn_mask"])), suffix="mask")
    weights = walk.emit(call, Softmax(-1), (scores,), suffix="softmax")
    return product(walk, call, weights, value)


@handles("softmax.int", "_softmax.default", "_safe_softmax.default", becomes=(Softmax,))
def _softmax(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    axis, rank = int(a["dim"]) % len(shape(call)), len(shape(call))
    return walk.emit(call, Softmax(-1 if axis == rank - 1 else axis), (tensor_name(walk, a["self"]),))


@handles("batch_norm.default", "_native_batch_norm_legit_no_training.default", becomes=(Affine, Mul, Add))
def _batch_norm(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if a.get("training"):
        raise NotRead("batch statistics; the network is not in evaluation mode, or keeps none (track_running_stats=False)")
    found = _running(walk, call, a)
    if packet(call) == "batch_norm" or not isinstance(found, str):
        return found
    return found, None, None  # statistics that training would need


@handles("_native_batch_norm_legit.no_stats", becomes=(InstanceNorm, Affine))
def _statistics_of_one(walk: Walk, call: fx.Node) -> Value:
    """What instance norm is composed of: by the statistics of all pictures together, which are one here."""
    a = arguments(call)
    if shape(a["input"])[0] != 1:
        raise NotRead("batch statistics; the network is not in evaluation mode, or keeps none (track_running_stats=False)")
    found = {key: walk.value(a[key]) for key in ("weight", "bias")}
    return walk.emit(call, InstanceNorm(float(a["eps"])), (tensor_name(walk, a["input"]),), _weights(**found)), None, None


def _running(walk: Walk, call: fx.Node, a: dict[str, Any]) -> Value:
    """Normalization by statistics that were taken while training: a scale and a shift."""
    mean, variance = walk.value(a["running_mean"]), walk.value(a["running_var"])
    if not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        raise NotRead("no running statistics")
    weight, bias = walk.value(a["weight"]), walk.value(a["bias"])
    scale = (variance.double() + a["eps"]).rsqrt() * (1.0 if weight is None else weight.double())
    shift = (0.0 if bias is None else bias.double()) - mean.double() * scale
    sides = (-1, *(1,) * (len(shape(a["input"])) - 2))
    return affine(walk, call, a["input"], scale.view(sides), shift.view(sides))


@handles("instance_norm.default", becomes=(InstanceNorm, Affine))
def _instance_norm(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if not a["use_input_stats"]:
        return _running(walk, call, a)
    found = {key: walk.value(a[key]) for key in ("weight", "bias")}
    return walk.emit(call, InstanceNorm(float(a["eps"])), (tensor_name(walk, a["input"]),), _weights(**found))


@handles("group_norm.default", "native_group_norm.default", becomes=(GroupNorm,))
def _group_norm(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    weights = {key: walk.value(a[key]) for key in ("weight", "bias")}
    op = GroupNorm(int(a["num_groups"] if "num_groups" in a else a["group"]), float(a["eps"]))
    found = walk.emit(call, op, (tensor_name(walk, a["input"]),), _weights(**weights))
    return (found, None, None) if packet(call).startswith("native") else found


@handles("layer_norm.default", "native_layer_norm.default", becomes=(LayerNorm,))
def _layer_norm(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    weights = {key: walk.value(a[key]) for key in ("weight", "bias")}
    op = LayerNorm(tuple(range(-len(a["normalized_shape"]), 0)), float(a["eps"]))
    found = walk.emit(call, op, (tensor_name(walk, a["input"]),), _weights(**weights))
    return (found, None, None) if packet(call).startswith("native") else found


@handles("rms_norm.default", becomes=(RmsNorm,))
def _rms_norm(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    eps = torch.finfo(torch.float32).eps if a["eps"] is None else float(a["eps"])
    op = RmsNorm(tuple(range(-len(a["normalized_shape"]), 0)), eps)
    return walk.emit(call, op, (tensor_name(walk, a["input"]),), _weights(walk.value(a["weight"]), None))
