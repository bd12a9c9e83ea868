"""Moves: the codes stay, only the bounds may be tighter than those of the input.

Pictures have kernels of their own for what is done to channels and pixels; every other move is one of tables (``places``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hwsearch.formats.c.calls.lowering import LOWERS, Lower, LoweredNode, Lowering, container_bytes, real, rounded
from hwsearch.formats.c.calls.maps import RULE
from hwsearch.formats.c.calls.places import LAST, copies
from hwsearch.quant.engine.operators import bilinear
from hwsearch.quant.engine.steps import codes, resizing
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.input import Input
from searchspaces.ops.moves.move import Concat, PixelShuffle, PixelUnshuffle, Repeat, Slice, View
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.state import Remember, State

REAL_BYTES = 4
"""Of a value that is interpolated between columns alone, real or whole."""
VANISHING = 1e-12
"""Weights of an interpolation that are none."""


def _concat(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """Each input fills its part of every run of codes that lie together."""
    assert isinstance(node.op, Concat)
    axis, order = node.op.axis, lowering.orders[node.name]
    outer, inner = lowering.around(node.name, axis)
    size, at = container_bytes(lowering.qgraph.formats[node.name]), 0
    whole = lowering.shapes[node.name][axis] * inner
    for index, name in enumerate(node.inputs):
        own = lowering.shapes[name][axis] * inner
        source = lowering.input_as(node, step, index, order)
        step.calls.append(f"hws_copy_channels({source}, {own}, 0, {own}, {{out}}, {whole}, {at}, {outer}, {size});")
        at += own
    lowering.clamp(node, step)


def _slice(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    op, name = node.op, node.inputs[0]
    assert isinstance(op, Slice)
    if op.step != 1 or lowering.orders[node.name] != lowering.orders[name]:
        _move(lowering, node, step)
        return
    outer, inner = lowering.around(name, op.axis)
    side = lowering.shapes[name][op.axis]
    own, count = side * inner, lowering.shapes[node.name][op.axis] * inner
    start, size = op.taken(side).start * inner, container_bytes(lowering.qgraph.formats[node.name])
    step.calls.append(f"hws_copy_channels({{in0}}, {own}, {start}, {count}, {{out}}, {count}, 0, {outer}, {size});")
    lowering.clamp(node, step)


def _repeat(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    assert isinstance(node.op, Repeat)
    if node.op.axis != 1 or lowering.orders[node.name] != LAST or lowering.orders[node.inputs[0]] != LAST:
        _move(lowering, node, step)
        return
    channels, height, width = lowering.picture(node.inputs[0])
    size = container_bytes(lowering.qgraph.formats[node.name])
    sizes = f"{height * width}, {channels}, {node.op.times}, {size}"
    lowering.each_picture(node, step, "{in0}", lambda x, y: f"hws_repeat({x}, {y}, {sizes});")
    lowering.clamp(node, step)


def _shuffle(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    assert isinstance(node.op, PixelShuffle)
    _enlarge(lowering, node, step, "hws_pixel_shuffle", node.op.factor)


def _resize(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    op = node.op
    assert isinstance(op, Resize)
    if op.mode == "nearest" and op.whole_factor is not None:
        _enlarge(lowering, node, step, "hws_resize_nearest", op.whole_factor)
    elif op.moves:
        _move(lowering, node, step)
    elif _in_integers(lowering, node):
        _interpolate_codes(lowering, node, step)
    else:
        _interpolate(lowering, node, step)


def _in_integers(lowering: Lowering, node: Node) -> bool:
    """Whether the engine interpolates codes as TFLite does."""
    ((source,), target), op = lowering.sides(node), node.op
    assert isinstance(op, Resize)
    before, after = (lowering.picture(name)[1:] for name in (node.inputs[0], node.name))
    return resizing.in_integers(op, source, target, RULE, before, after)


def _interpolate_codes(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """Every pixel from the two rows and columns between which it lies, in integers."""
    ((fmt,), target), op = lowering.sides(node), node.op
    assert isinstance(op, Resize)
    channels, *before = lowering.picture(node.inputs[0])
    _, *after = lowering.picture(node.name)
    members: dict[str, Any] = {}
    for name, side, result in zip(("row", "column"), before, after, strict=True):
        lies = bilinear.between(side, result, op.align_corners, "whole")
        taps = 1 if side == result else min(2, side)
        first = np.clip(lies.first, 0, side - taps)
        weight = np.where(lies.first == lies.second, 1024 * (lies.first - first), lies.weight)
        members[f"{name}_taps"] = taps
        members[f"{name}s"] = step.array(f"{name}s", "int32_t", first)
        members[f"{name}_weights"] = step.array(f"{name}_weights", "int32_t", weight)
    members["table"] = "0"
    if resizing.converted(fmt, target):
        stored = np.arange(fmt.grid.last_code + 1) - fmt.grid.middle
        found = codes.requantized(stored, codes.stored(fmt), codes.stored(target))
        members["table"] = step.array("table", "uint8_t", found.astype(np.int64) + target.grid.middle)
    record = step.record(
        "layer", "hws_bilinear_layer", in_w=before[1], out_h=after[0], out_w=after[1], channels=channels, **members
    )
    source = lowering.input_as(node, step, 0, LAST)
    room = step.scratch(REAL_BYTES * members["row_taps"] * after[1] * channels)
    rows_of = f"(int32_t *)(void *)({room})"
    lowering.each_picture(node, step, source, lambda x, y: f"hws_resize_bilinear({record}, {x}, {y}, {rows_of});")


def _interpolate(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """A weighted sum of some rows and columns for every pixel. The weights are what the operator makes of pictures in which one
    row, or column, is lit."""
    op, ((fmt,), target) = node.op, lowering.sides(node)
    assert isinstance(op, Resize)
    channels, in_h, in_w = lowering.picture(node.inputs[0])
    _, out_h, out_w = lowering.picture(node.name)
    rows, columns = (_response(op, in_h, in_w, axis) for axis in (2, 3))
    members: dict[str, Any] = {}
    for name, weights in (("row", rows), ("column", columns)):
        first, taps = _taps(weights)
        members[f"{name}_taps"] = taps.shape[1]
        members[f"{name}s"] = step.array(f"{name}s", "int32_t", first)
        members[f"{name}_weights"] = step.array(f"{name}_weights", "float", taps.astype(np.float32).reshape(-1))
    record = step.record(
        "layer", "hws_resize_layer", in_w=in_w, out_h=out_h, out_w=out_w, channels=channels, **members,
        in_scale=real(fmt.scale), in_zero=fmt.zero_point, in_bytes=container_bytes(fmt),
        out_bytes=container_bytes(target), **rounded(target),
    )  # fmt: skip
    source = lowering.input_as(node, step, 0, LAST)
    room = step.scratch(REAL_BYTES * members["row_taps"] * out_w * channels)
    rows_of = f"(float *)(void *)({room})"
    lowering.each_picture(node, step, source, lambda x, y: f"hws_resize({record}, {x}, {y}, {rows_of});")


def _response(op: Resize, height: int, width: int, axis: int) -> np.ndarray:
    """How much of each row (``axis`` 2) or column (3) of its input an interpolation gives to each of its output:
    ``float64[outputs, inputs]``; one picture after the other, which for all at once would be as large as the side cubed."""
    found = []
    for place in range((height, width)[axis - 2]):
        lit = torch.zeros((1, 1, height, width), dtype=torch.float64)
        lit.select(axis, place).fill_(1)
        found.append(op.run([lit], {})[0, 0].select(3 - axis, 0).numpy())
    return np.stack(found, axis=1)


def _taps(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ``weights [outputs, inputs]``: the first input that each output reads, never less than for the output before, and the
    weights from there on, ``[outputs, taps]``."""
    used = np.abs(weights) > VANISHING
    first, behind = used.argmax(axis=1), weights.shape[1] - used[:, ::-1].argmax(axis=1)
    first = np.minimum.accumulate(first[::-1])[::-1]
    taps = int((behind - first).max())
    first = np.minimum(first, weights.shape[1] - taps)
    return first, np.take_along_axis(weights, first[:, None] + np.arange(taps), axis=1)


def _enlarge(lowering: Lowering, node: Node, step: LoweredNode, function: str, factor: int) -> None:
    _, height, width = lowering.picture(node.inputs[0])
    source = lowering.input_as(node, step, 0, LAST)
    size, channels = container_bytes(lowering.qgraph.formats[node.name]), lowering.picture(node.name)[0]
    sizes = f"{height}, {width}, {channels}, {factor}, {size}"
    lowering.each_picture(node, step, source, lambda x, y: f"{function}({x}, {y}, {sizes});")
    lowering.clamp(node, step)


def _unshuffle(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    assert isinstance(node.op, PixelUnshuffle)
    (channels, *_), (_, height, width) = lowering.picture(node.inputs[0]), lowering.picture(node.name)
    source = lowering.input_as(node, step, 0, LAST)
    size = container_bytes(lowering.qgraph.formats[node.name])
    sizes = f"{height}, {width}, {channels}, {node.op.factor}, {size}"
    lowering.each_picture(node, step, source, lambda x, y: f"hws_pixel_unshuffle({x}, {y}, {sizes});")
    lowering.clamp(node, step)


def _move(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    name = node.inputs[0]
    moved = copies(lambda x: node.op.run([x], {}), lowering.shapes[name], lowering.orders[name], lowering.orders[node.name])
    lowering.copy(step, moved, "{in0}", "{out}", lowering.qgraph.formats[node.name], "move")
    lowering.clamp(node, step)


def _no_rounding(node: Node, sources: list[TensorFormat], target: TensorFormat) -> str | None:
    return None if node.op.moves else f"{node.op.word} with values that are no codes"


LOWERS.put(Lower(lambda lowering, node, step: None), Input, State)
LOWERS.put(Lower(_move), Remember)
LOWERS.put(Lower(_concat), Concat)
LOWERS.put(Lower(_move, _no_rounding), View)
LOWERS.put(Lower(_slice), Slice)
LOWERS.put(Lower(_repeat), Repeat)
LOWERS.put(Lower(_shuffle), PixelShuffle)
LOWERS.put(Lower(_unshuffle), PixelUnshuffle)
LOWERS.put(Lower(_resize), Resize)
