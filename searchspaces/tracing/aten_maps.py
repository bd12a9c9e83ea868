"""Handlers (see ``aten``) of the operators that move values about, resize or pool them."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

from searchspaces.ops.move import Concat, PixelShuffle, Repeat, Slice
from searchspaces.ops.pad import Pad
from searchspaces.ops.reduce import Mean, Std
from searchspaces.ops.resize import Resize
from searchspaces.tracing.aten import Unsupported, Value, Walk, arguments, channels, handles, shape, tensor_name
from searchspaces.tracing.statistics import of_population


def _over_map(dims: Any, rank: int) -> bool:
    """Whether dimensions are exactly height and width."""
    items = dims if isinstance(dims, list | tuple) else [dims]
    return rank == 4 and sorted(d % rank for d in items) == [2, 3]


@handles("cat.default")
def _cat(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if a["dim"] % len(shape(call)) != 1:
        raise Unsupported("only along the channels")
    return walk.emit(call, Concat(), tuple(tensor_name(walk, part) for part in a["tensors"]))


def _slice_of(walk: Walk, call: fx.Node, source: str, start: int, stop: int, suffix: str) -> str:
    return walk.emit(call, Slice(start, stop), (source,), suffix=suffix)


@handles("split.Tensor", "split_with_sizes.default", "chunk.default", "split.sizes")
def _split(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    source = a["self"]
    if a["dim"] % len(shape(source)) != 1:
        raise Unsupported("only along the channels")
    name, start = tensor_name(walk, source), 0
    parts: list[str] = []
    for part in call.meta["val"]:
        stop = start + int(part.shape[1])
        parts.append(_slice_of(walk, call, name, start, stop, str(len(parts))))
        start = stop
    return tuple(parts)


def getitem(walk: Walk, call: fx.Node) -> Value:
    """``parts[i]`` of a split."""
    parts = walk.value(call.args[0])
    if call.target is not operator.getitem or not isinstance(parts, tuple):
        raise Unsupported("indexing")
    found: Value = parts[int(call.args[1])]  # type: ignore[arg-type]
    return found


@handles("slice.Tensor")
def _slice(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    source = a["self"]
    if shape(source) == shape(call):
        return tensor_name(walk, source)
    dim = a["dim"] % len(shape(source))
    if a["step"] != 1 or dim == 0:
        raise Unsupported("only neighbouring channels, rows or columns")
    count = shape(source)[dim]
    start = int(a["start"] or 0)
    start = start + count if start < 0 else start
    if dim > 1:
        before, after = -start, start + shape(call)[dim] - count
        padding = (before, after, 0, 0) if dim == 3 else (0, 0, before, after)
        return walk.emit(call, Pad(padding), (tensor_name(walk, source),))
    return _slice_of(walk, call, tensor_name(walk, source), start, start + channels(call), "")


@handles("repeat_interleave.self_int")
def _repeat_interleave(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if a["dim"] is None or a["dim"] % 4 != 1 or len(shape(call)) != 4:
        raise Unsupported("only along the channels")
    return walk.emit(call, Repeat(int(a["repeats"])), (tensor_name(walk, a["self"]),))


@handles("repeat.default")
def _repeat(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    times = list(a["repeats"])
    if len(times) != 4 or times[0] != 1 or times[2:] != [1, 1]:
        raise Unsupported("only along the channels")
    name = tensor_name(walk, a["self"])
    return name if times[1] == 1 else walk.emit(call, Concat(), (name,) * times[1])


@handles("pixel_shuffle.default")
def _pixel_shuffle(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    return walk.emit(call, PixelShuffle(int(a["upscale_factor"])), (tensor_name(walk, a["self"]),))


@handles("upsample_nearest2d.vec", "upsample_bilinear2d.vec", "upsample_bicubic2d.vec")
def _upsample(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if a.get("align_corners"):
        raise Unsupported("align_corners=True")
    (_, _, h, w), (_, _, out_h, out_w) = shape(a["input"]), shape(call)
    if out_h % h or out_w % w or out_h // h != out_w // w:
        raise Unsupported("only by a whole factor, the same for height and width")
    mode = call.target._overloadpacket.__name__.removeprefix("upsample_").removesuffix("2d")  # type: ignore[union-attr]
    return walk.emit(call, Resize(mode, out_h // h), (tensor_name(walk, a["input"]),))


@handles("mean.dim", "adaptive_avg_pool2d.default")
def _mean(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    source = a.get("self", a.get("input"))
    if "output_size" in a:
        whole = set(a["output_size"]) == {1}
    else:
        whole = a["dim"] is not None and _over_map(a["dim"], len(shape(source)))
    if not whole:
        raise Unsupported("only over the whole map")
    return walk.emit(call, Mean(), (tensor_name(walk, source),))


@handles("std.correction", "std.dim")
def _std(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if not of_population(call):
        raise Unsupported("only the population's, over the whole map")
    return walk.emit(call, Std(), (tensor_name(walk, a["self"]),))


@handles("pad.default", "constant_pad_nd.default")
def _pad(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if a.get("mode", "constant") != "constant" or a["value"] not in (None, 0, 0.0):
        raise Unsupported("only with zeros")
    pads = tuple(a["pad"])
    if len(pads) > 4 and any(pads[4:]):
        raise Unsupported("padding of channels")
    padding = (*pads[:4], *(0,) * (4 - len(pads)))
    return walk.emit(call, Pad(padding), (tensor_name(walk, a["self"]),))


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
)
def _nothing(walk: Walk, call: fx.Node) -> Value:
    if arguments(call).get("train"):
        raise Unsupported("active dropout; the network is not in evaluation mode")
    return tensor_name(walk, call.args[0])


@handles("to.dtype", "to.device", "to.dtype_layout", "to.other", "_to_copy.default")
def _to(walk: Walk, call: fx.Node) -> Value:
    if call.meta["val"].dtype != call.args[0].meta["val"].dtype:  # type: ignore[union-attr]
        raise Unsupported("change of number format")
    return tensor_name(walk, call.args[0])


@handles(
    "view.default",
    "reshape.default",
    "flatten.using_ints",
    "squeeze.dims",
    "squeeze.dim",
    "unsqueeze.default",
    "expand.default",
)
def _view(walk: Walk, call: fx.Node) -> Value:
    before, after = shape(call.args[0]), shape(call)
    vector = before[:2] == after[:2] and all(side == 1 for side in (*before[2:], *after[2:]))
    if before != after and not vector:
        raise Unsupported("changes the shape of a map")
    return tensor_name(walk, call.args[0])
