"""Handlers (see ``aten``) of the operators that only move values: shapes, orders, parts, copies.

Sizes are those of the example; ``formulas`` makes them depend on the picture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.move import Concat, Expand, Flip, Gather, Permute, Repeat, Reshape, Roll, Slice
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead
from searchspaces.tracing.aten import Value, Walk, arguments, axes_of, handles, loose_name, shape, slice_start, tensor_name
from searchspaces.tracing.calls.constants import as_tensor


@handles("cat.default", becomes=(Concat, Conv, Slice, Mul, Add))
def _cat(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    rank = len(shape(call))
    axis = int(a["dim"]) % rank
    parts = [part for part in a["tensors"] if torch.Size(shape(part)).numel()]
    constants = [walk.value(part) if isinstance(walk.value(part), Tensor) else None for part in parts]
    named = {i: tensor_name(walk, part) for i, part in enumerate(parts) if constants[i] is None}
    for i, constant in enumerate(constants):
        if constant is not None:
            named[i] = _constant_channels(walk, call, constant, next(iter(named.values())), axis)
    return walk.emit(call, Concat(axis), tuple(named[i] for i in range(len(parts))))


def _constant_channels(walk: Walk, call: fx.Node, values: Tensor, beside: str, axis: int) -> str:
    """Constants behind one another with a tensor. Channels ``values [N, C, H, W]`` that are the same number everywhere in a
    picture are a 1x1 convolution of that tensor with no weights but a bias, which is made for pictures of any size; any others
    (coordinates, tokens) are added to zero times a part of it, or of one number where the first axis is not that of pictures."""
    if axis == 1 and values.ndim == 4 and bool((values == values[:1, :, :1, :1]).all()):
        weight = values.new_zeros(values.shape[1], walk.shape(beside)[1], 1, 1)
        bias = values[0, :, 0, 0].contiguous()
        return walk.emit(call, Conv(), (beside,), {"weight": weight, "bias": bias}, suffix="constant")
    if axis == 0 or bool((values != values[:1]).any()):
        return as_tensor(walk, call, values, beside)
    first = walk.emit(call, Slice(0, 1, axis), (beside,), suffix="beside") if walk.shape(beside)[axis] > 1 else beside
    nothing = walk.emit(call, Mul(), (first,), {"other": values.new_zeros(1)}, suffix="nothing")
    return walk.emit(call, Add(), (nothing,), {"other": values[:1].contiguous()}, suffix="constant")


@handles("stack.default", becomes=(Reshape, Concat))
def _stack(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    axis = int(a["dim"]) % len(shape(call))
    sides = [1 if place == axis else side for place, side in enumerate(shape(call))]
    parts = [walk.emit(call, Reshape(tuple(sides)), (tensor_name(walk, part),), suffix="part") for part in a["tensors"]]
    return walk.emit(call, Concat(axis), tuple(parts))


def _part(walk: Walk, call: fx.Node, source: str, start: int, stop: int, axis: int, suffix: str, step: int = 1) -> str:
    return walk.emit(call, Slice(start, stop, axis, step), (source,), suffix=suffix)


@handles(
    "split.Tensor",
    "split_with_sizes.default",
    "chunk.default",
    "split.sizes",
    "tensor_split.sections",
    "unsafe_chunk.default",
    becomes=(Slice,),
)
def _split(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    source = a["self"]
    axis = int(a["dim"]) % len(shape(source))
    name, start = tensor_name(walk, source), 0
    parts: list[str] = []
    for part in call.meta["val"]:
        stop = start + int(part.shape[axis])
        parts.append(_part(walk, call, name, start, stop, axis, str(len(parts))))
        start = stop
    return tuple(parts)


@handles("unbind.int", becomes=(Slice, Reshape))
def _unbind(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    axis = int(a["dim"]) % len(shape(a["self"]))
    return tuple(_selected(walk, call, a["self"], axis, i, str(i)) for i in range(shape(a["self"])[axis]))


def _selected(walk: Walk, call: fx.Node, source: Any, axis: int, index: int, suffix: str = "") -> str:
    """One place along an axis, which goes."""
    sides = shape(source)
    part = _part(walk, call, tensor_name(walk, source), index, index + 1, axis, f"{suffix}.part" if suffix else "part")
    return walk.emit(call, Reshape((*sides[:axis], *sides[axis + 1 :])), (part,), suffix=suffix)


@handles("select.int", becomes=(Slice, Reshape))
def _select(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    axis = int(a["dim"]) % len(shape(a["self"]))
    return _selected(walk, call, a["self"], axis, int(a["index"]) % shape(a["self"])[axis])


@handles("slice.Tensor", "narrow.default", becomes=(Slice, Pad))
def _slice(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    source = a["self"]
    if shape(source) == shape(call):
        return loose_name(walk, source)
    axis, step = int(a["dim"]) % len(shape(source)), int(a.get("step", 1))
    count, kept = shape(source)[axis], shape(call)[axis]
    start = slice_start(a["start"], count)
    name = tensor_name(walk, source)
    if step == 1 and axis > 1 and len(shape(source)) == 4 and walk.axis(name) == 1:
        before, after = -start, start + kept - count
        return walk.emit(call, Pad((before, after, 0, 0) if axis == 3 else (0, 0, before, after)), (name,))
    return _part(walk, call, name, start, min(start + (kept - 1) * step + 1, count), axis, "", step)


@handles("index_select.default", becomes=(Gather, Reshape))
def _index_select(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    axis = int(a["dim"]) % len(shape(call))
    return _gathered(walk, call, a["self"], walk.value(a["index"]), axis)


@handles("index.Tensor", becomes=(Gather, Reshape))
def _index(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    given = [(axis, walk.value(index)) for axis, index in enumerate(a["indices"]) if index is not None]
    if len(given) != 1:
        raise NotRead("indices along several axes at once")
    axis, index = given[0]
    return _gathered(walk, call, a["self"], index, axis)


def _gathered(walk: Walk, call: fx.Node, source: Any, index: Any, axis: int) -> Value:
    """The places of a constant index along an axis."""
    if not isinstance(index, Tensor):
        raise NotRead("an index that depends on the picture")
    if index.dtype == torch.bool:
        index = index.nonzero().flatten()
    side = shape(source)[axis]
    places = tuple(int(i) % side for i in index.flatten())
    name = tensor_name(walk, source)
    if places != tuple(range(side)):
        name = walk.emit(call, Gather(places, axis), (name,))
    return name if index.ndim == 1 else walk.emit(call, Reshape(shape(call)), (name,), suffix="view")


@handles("repeat_interleave.self_int", becomes=(Repeat,))
def _repeat_interleave(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if a["dim"] is None:
        raise NotRead("of all values in a row")
    return walk.emit(call, Repeat(int(a["repeats"]), int(a["dim"]) % len(shape(call))), (tensor_name(walk, a["self"]),))


@handles("repeat.default", "tile.default", becomes=(Concat, Reshape))
def _repeat(walk: Walk, call: fx.Node) -> Value:
    """Copies one behind the other, along one axis after another."""
    a = arguments(call)
    source = a["self"]
    times = [int(t) for t in (a["repeats"] if "repeats" in a else a["dims"])]
    name, rank = tensor_name(walk, source), len(shape(call))
    if rank > len(shape(source)):
        name = walk.emit(call, Reshape((1,) * (rank - len(shape(source))) + shape(source)), (name,), suffix="view")
    for axis, count in enumerate((1,) * (rank - len(times)) + tuple(times)):
        if count > 1:
            name = walk.emit(call, Concat(axis), (name,) * count)
    return name


@handles("permute.default", becomes=(Permute,))
def _permute(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    rank = len(shape(call))
    return _ordered(walk, call, a["self"], tuple(int(d) % rank for d in a["dims"]))


@handles("transpose.int", "swapaxes.default", "swapdims.default", becomes=(Permute,))
def _transpose(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    rank = len(shape(call))
    one, two = (int(a[f"dim{i}"] if "dim0" in a else a[f"axis{i}"]) % rank for i in (0, 1))
    axes = list(range(rank))
    axes[one], axes[two] = axes[two], axes[one]
    return _ordered(walk, call, a["self"], tuple(axes))


@handles("t.default", "numpy_T.default", "mT.default", becomes=(Permute,))
def _t(walk: Walk, call: fx.Node) -> Value:
    rank = len(shape(call))
    if rank < 2:
        return loose_name(walk, call.args[0])
    axes = (*range(rank - 2), rank - 1, rank - 2)
    return _ordered(walk, call, call.args[0], tuple(reversed(range(rank))) if "numpy" in str(call.target) else axes)


def _ordered(walk: Walk, call: fx.Node, source: Any, axes: tuple[int, ...]) -> str:
    name = tensor_name(walk, source)
    if axes == tuple(range(len(axes))):
        return name
    node = walk.node(name)
    if isinstance(node.op, Permute):  # one order behind another is one order
        return walk.emit(call, Permute(tuple(node.op.axes[axis] for axis in axes)), node.inputs)
    return walk.emit(call, Permute(axes), (name,))


@handles("roll.default", becomes=(Roll, Reshape))
def _roll(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    rank, shifts = len(shape(call)), tuple(int(s) for s in a["shifts"])
    axes = tuple(int(d) % rank for d in a["dims"])
    name = tensor_name(walk, a["self"])
    if axes:
        return walk.emit(call, Roll(shifts, axes), (name,))
    flat = walk.emit(call, Reshape((-1,)), (name,), suffix="flat")
    rolled = walk.emit(call, Roll(shifts, (0,)), (flat,))
    return walk.emit(call, Reshape(shape(call)), (rolled,), suffix="view")


@handles("flip.default", becomes=(Flip,))
def _flip(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    return walk.emit(call, Flip(axes_of(list(a["dims"]), len(shape(call)))), (tensor_name(walk, a["self"]),))


@handles("expand.default", "expand_as.default", "broadcast_to.default", becomes=(Expand,))
def _expand(walk: Walk, call: fx.Node) -> Value:
    before, after = shape(call.args[0]), shape(call)
    if isinstance(constant := walk.value(call.args[0]), Tensor):  # to the sides of a tensor that is computed
        return constant.expand(after)
    if before == after:
        return loose_name(walk, call.args[0])
    source = (1,) * (len(after) - len(before)) + before
    added = len(after) - len(before)
    kept = (place >= added and old == new for place, (old, new) in enumerate(zip(source, after, strict=True)))
    sizes = tuple(-1 if keeps else new for keeps, new in zip(kept, after, strict=True))
    return walk.emit(call, Expand(sizes), (tensor_name(walk, call.args[0]),))


@handles(
    "view.default",
    "_unsafe_view.default",
    "reshape.default",
    "reshape_as.default",
    "view_as.default",
    "flatten.using_ints",
    "unflatten.int",
    "squeeze.dims",
    "squeeze.dim",
    "squeeze.default",
    "unsqueeze.default",
    becomes=(Reshape,),
)
def _view(walk: Walk, call: fx.Node) -> Value:
    """A vector that was pooled from pictures stays a picture of one pixel, however it is written."""
    name, after = loose_name(walk, call.args[0]), shape(call)
    held = walk.shape(name)
    pixel = len(held) == 4 and held[2:] == (1, 1) and walk.axis(name) == 1 and after[:2] == held[:2]
    if held == after or (pixel and len(after) in (2, 4) and all(side == 1 for side in after[2:])):
        return name
    node = walk.node(name)
    if isinstance(node.op, Reshape):  # only the last of several shapes counts
        name = node.inputs[0]
        if walk.shape(name) == after:
            return name
    return walk.emit(call, Reshape(after), (name,))


@handles(
    "dropout.default",
    "feature_dropout.default",
    "dropout2d.default",
    "contiguous.default",
    "clone.default",
    "alias.default",
    "detach.default",
    "identity.default",
    "lift_fresh.default",
    "lift_fresh_copy.default",
    "positive.default",
)
def _nothing(walk: Walk, call: fx.Node) -> Value:
    if arguments(call).get("train"):
        raise NotRead("active dropout; the network is not in evaluation mode")
    return loose_name(walk, call.args[0])


EXACT = (torch.bool, torch.float32, torch.float64)
"""Number formats of which single precision holds what networks compute; of a mask it holds ones and zeros."""


@handles("to.dtype", "to.device", "to.dtype_layout", "to.other", "_to_copy.default", "type_as.default")
def _to(walk: Walk, call: fx.Node) -> Value:
    found = walk.value(call.args[0])
    if isinstance(found, Tensor):  # ``mean.type_as(x)``: numbers of the network, in the format of a feature map
        return found.to(call.meta["val"].dtype)
    before, after = call.args[0].meta["val"].dtype, call.meta["val"].dtype  # type: ignore[union-attr]  # its first argument is a node
    if before != after and (before not in EXACT or after not in (torch.float32, torch.float64)):
        advice = "; return the picture in floating point, the range of its values is an option" if after == torch.uint8 else ""
        raise NotRead(f"change of number format, from {before} to {after}{advice}".replace("torch.", ""))
    return loose_name(walk, call.args[0])
