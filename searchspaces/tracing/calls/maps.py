"""Handlers (see ``aten``) of the operators that resize, pool and pad pictures, and that reduce tensors over axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx

from searchspaces.ops.maps.activation import Abs, Pow, Sqrt
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.grid_sample import GridSample
from searchspaces.ops.moves.move import Concat, PixelShuffle, PixelUnshuffle, Slice
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import AvgPool, Max, MaxPool, Mean, Min, Reduction, Std, Sum, Var
from searchspaces.tracing.aten import Value, Walk, arguments, axes_of, both, handles, packet, shape, tensor_name


@handles("pixel_shuffle.default", becomes=(PixelShuffle,))
def _pixel_shuffle(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    return walk.emit(call, PixelShuffle(int(a["upscale_factor"])), (tensor_name(walk, a["self"]),))


@handles("pixel_unshuffle.default", becomes=(PixelUnshuffle,))
def _pixel_unshuffle(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    return walk.emit(call, PixelUnshuffle(int(a["downscale_factor"])), (tensor_name(walk, a["self"]),))


MODES = {
    "upsample_nearest2d": "nearest",
    "_upsample_nearest_exact2d": "nearest-exact",
    "upsample_bilinear2d": "bilinear",
    "upsample_bicubic2d": "bicubic",
    "_upsample_bilinear2d_aa": "bilinear",
    "_upsample_bicubic2d_aa": "bicubic",
}


@handles(*(f"{name}.{kind}" for name in MODES for kind in ("vec", "default")), becomes=(Resize,))
def _upsample(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    if "self" in a:
        given = (a.get("scales_h"), a.get("scales_w"))
        a |= {"input": a["self"], "scale_factors": None if None in given else given}
    (_, _, h, w), (_, _, out_h, out_w) = shape(a["input"]), shape(call)
    name = packet(call)
    how: dict[str, Any] = {"mode": MODES[name], "align_corners": bool(a.get("align_corners")), "antialias": name.endswith("_aa")}
    factors = a.get("scale_factors")
    source = (tensor_name(walk, a["input"]),)
    if out_h % h == 0 and out_w % w == 0 and out_h // h == out_w // w:
        return walk.emit(call, Resize(factor=out_h // h, **how), source)
    if factors is not None and factors[0] == factors[1]:
        return walk.emit(call, Resize(factor=float(factors[0]), **how), source)
    if factors is not None and any(int(side * f) != side * f for side, f in zip((h, w), factors, strict=True)):
        raise NotRead("by a fractional factor that differs between height and width")
    return walk.emit(call, Resize(size=(out_h, out_w), **how), source)


REDUCTIONS: Mapping[str, type[Reduction]] = {"mean": Mean, "sum": Sum, "amax": Max, "amin": Min, "max": Max, "min": Min}


def _reduced(walk: Walk, call: fx.Node, op: type[Reduction], dims: Any, keepdim: bool, **more: Any) -> str:
    source = arguments(call)["self"]
    rank = len(shape(source))
    axes = axes_of(dims, rank)
    if axes == (2, 3) and rank == 4:  # a pooled vector stays a picture of one pixel
        return walk.emit(call, op((2, 3), True, **more), (tensor_name(walk, source),))
    return walk.emit(call, op(axes, keepdim, **more), (tensor_name(walk, source),))


@handles(
    "mean.dim", "sum.dim_IntList", "amax.default", "amin.default", "mean.default", "sum.default", becomes=(Mean, Sum, Max, Min)
)
def _reduce(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    return _reduced(walk, call, REDUCTIONS[packet(call)], a.get("dim"), bool(a.get("keepdim", False)))


@handles("max.dim", "min.dim", becomes=(Max, Min))
def _largest(walk: Walk, call: fx.Node) -> Value:
    """The values; where they lie is an index that depends on the picture."""
    a = arguments(call)
    return (_reduced(walk, call, REDUCTIONS[packet(call)], a["dim"], bool(a["keepdim"])), None)


@handles("std.correction", "std.dim", "var.correction", "var.dim", becomes=(Std, Var))
def _std(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    corrected = a.get("correction", a.get("unbiased", True))
    correction = 1 if corrected is None else corrected
    if int(correction) != correction:
        raise NotRead(f"a correction of {correction}")
    op = Std if packet(call).startswith("std") else Var
    return _reduced(walk, call, op, a["dim"], bool(a["keepdim"]), correction=int(correction))


@handles("var_mean.correction", "std_mean.correction", becomes=(Std, Var, Mean))
def _deviation_and_mean(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    return (str(_std(walk, call)), _reduced(walk, call, Mean, a["dim"], bool(a["keepdim"])))


@handles("linalg_vector_norm.default", "norm.ScalarOpt_dim", becomes=(Pow, Abs, Sum, Sqrt, Max, Min))
def _length(walk: Walk, call: fx.Node) -> Value:
    """Length of vectors: the root of the sum of their squares, or the sum of what they amount to."""
    a = arguments(call)
    order = a.get("ord", a.get("p"))
    source = tensor_name(walk, a.get("self", a.get("x")))
    axes = axes_of(a["dim"], len(walk.shape(source)))
    if order in (math.inf, -math.inf):
        sizes = walk.emit(call, Abs(), (source,), suffix="size")
        return walk.emit(call, (Max if order > 0 else Min)(axes, bool(a["keepdim"])), (sizes,))
    if order not in (1, 2):
        raise NotRead(f"of order {order}")
    sizes = walk.emit(call, Pow(2.0) if order == 2 else Abs(), (source,), suffix="size")
    total = walk.emit(call, Sum(axes, bool(a["keepdim"])), (sizes,), suffix="sum")
    return walk.emit(call, Sqrt(), (total,)) if order == 2 else total


def beyond(side: int, kernel: int, stride: int, padding: int) -> int:
    """How far the last window lies beyond the border where sizes are rounded up: one that would begin there is left out."""
    windows = -(-(side + 2 * padding - kernel) // stride) + 1
    if (windows - 1) * stride >= side + padding:
        windows -= 1
    return max((windows - 1) * stride + kernel - side - 2 * padding, 0)


@handles(
    "max_pool2d.default", "avg_pool2d.default", "max_pool2d_with_indices.default", becomes=(MaxPool, AvgPool, Pad, Mean, Max)
)
def _pool(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    kernel = both(a["kernel_size"])
    stride = both(a["stride"]) if a["stride"] else kernel
    padding = both(a["padding"])
    if any(d != 1 for d in both(a.get("dilation", 1))):
        raise NotRead("dilated windows")
    if a.get("divisor_override") is not None:
        raise NotRead("a divisor of its own")
    source = tensor_name(walk, a["self"])
    if a["ceil_mode"]:
        sides = zip(shape(a["self"])[-2:], kernel, stride, padding, strict=True)
        down, right = (beyond(side, k, s, pad) for side, k, s, pad in sides)
        if (down or right) and (any(padding) or packet(call).startswith("avg")):
            raise NotRead("windows that are cut off by the border (ceil_mode)")
        if down or right:  # the border once more changes no maximum
            source = walk.emit(call, Pad((0, right, 0, down), "replicate"), (source,), suffix="border")
    axes = [*zip((2, 3), shape(a["self"])[-2:], kernel, stride, padding, strict=True)]
    over = tuple(axis for axis, side, reach, _, pad in axes if reach == side != 1 and not pad)
    if over and all(
        axis in over or (reach, step, pad) == (1, 1, 0) for axis, _, reach, step, pad in axes
    ):  # whole rows or columns
        found = walk.emit(call, (Mean if packet(call).startswith("avg") else Max)(over, True), (source,))
        return (found, None) if packet(call).endswith("indices") else found
    op: MaxPool | AvgPool = MaxPool(kernel, stride, padding)
    if packet(call).startswith("avg"):
        op = AvgPool(kernel, stride, padding, bool(a["count_include_pad"]))
    found = walk.emit(call, op, (source,))
    return (found, None) if packet(call).endswith("indices") else found


@handles(
    "pad.default",
    "constant_pad_nd.default",
    "reflection_pad2d.default",
    "replication_pad2d.default",
    becomes=(Pad, Slice, Concat),
)
def _pad(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    pads = list(a["pad"] if "pad" in a else a["padding"])
    mode = a.get("mode", {"reflection_pad2d": "reflect", "replication_pad2d": "replicate"}.get(packet(call), "constant"))
    if mode == "circular":
        return _wrapped(walk, call, a["self"], pads)
    if mode not in ("constant", "reflect", "replicate"):
        raise NotRead(f"{mode} padding")
    value = float(a.get("value") or 0)
    while len(pads) > 4 and not any(pads[-2:]):
        del pads[-2:]
    pads += [0] * (4 - len(pads)) if len(shape(call)) >= 2 else []
    return walk.emit(call, Pad(tuple(pads), mode, value), (tensor_name(walk, a["self"]),))


def _wrapped(walk: Walk, call: fx.Node, source: Any, pads: list[int]) -> str:
    """Padding with what lies at the other end of an axis: the end of it in front, its beginning behind."""
    name = tensor_name(walk, source)
    for place in range(len(pads) // 2):
        before, after = pads[2 * place : 2 * place + 2]
        axis = len(walk.shape(name)) - 1 - place
        side, pieces = walk.shape(name)[axis], [name]
        if min(before, after) < 0:
            raise NotRead("circular padding that cuts off")
        if before:
            pieces.insert(0, walk.emit(call, Slice(side - before, side, axis), (name,), suffix="end"))
        if after:
            pieces.append(walk.emit(call, Slice(0, after, axis), (name,), suffix="beginning"))
        if len(pieces) > 1:
            name = walk.emit(call, Concat(axis), tuple(pieces))
    return name


@handles("grid_sampler.default", "grid_sampler_2d.default", becomes=(GridSample, Mean, Mul, Add))
def _grid_sample(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    modes, around = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")
    op = GridSample(modes[a["interpolation_mode"]], around[a["padding_mode"]], bool(a["align_corners"]))  # type: ignore[arg-type]  # torch numbers its modes, the operator names them
    picture, grid = tensor_name(walk, a["input"]), walk.value(a["grid"])
    if not isinstance(grid, Tensor):
        return walk.emit(call, op, (picture, tensor_name(walk, a["grid"])))
    if bool((grid != grid[:1]).any()):
        raise NotRead("constant places that differ between pictures")
    nothing = walk.emit(call, Mean((1, 2, 3), True), (picture,), suffix="mean")  # places stand in every picture of a batch
    nothing = walk.emit(call, Mul(), (nothing,), {"other": grid.new_zeros(1)}, suffix="nothing")
    places = walk.emit(call, Add(), (nothing,), {"other": grid[:1].float().contiguous()}, suffix="places")
    return walk.emit(call, op, (picture, places))
