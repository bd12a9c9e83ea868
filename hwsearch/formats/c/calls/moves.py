"""Moves: the codes stay, only the bounds may be tighter than those of the input.

Pictures have kernels of their own for what is done to channels and pixels; every other move is one of tables (``places``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from hwsearch.formats.c.calls.lowering import LOWERS, Lower, LoweredNode, Lowering, container_bytes, real, rounded
from hwsearch.formats.c.calls.places import LAST, copies
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.input import Input
from searchspaces.ops.moves.move import Concat, PixelShuffle, PixelUnshuffle, Repeat, Slice, View
from searchspaces.ops.moves.resize import Resize

VANISHING = 1e-12
"""Weights of an interpolation that are none."""


def _concat(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """Each input fills its part of every run of codes that lie together."""
    assert isinstance(node.op, Concat)
    shape, order = lowering.shapes[node.name], lowering.orders[node.name]
    axis = node.op.axis % len(shape)
    place = order.index(axis)
    outer = math.prod(shape[other] for other in order[:place])
    inner = math.prod(shape[other] for other in order[place + 1 :])
    size, at = container_bytes(lowering.qgraph.formats[node.name]), 0
    whole = shape[axis] * inner
    for index, name in enumerate(node.inputs):
        own = lowering.shapes[name][axis] * inner
        source = lowering.input_as(node, step, index, order)
        step.calls.append(f"hws_copy_channels({source}, {own}, 0, {own}, {{out}}, {whole}, {at}, {outer}, {size});")
        at += own
    lowering.clamp(node, step)


def _slice(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    shape, order = lowering.shapes[node.inputs[0]], lowering.orders[node.inputs[0]]
    op = node.op
    assert isinstance(op, Slice)
    if op.step != 1 or lowering.orders[node.name] != order:
        _move(lowering, node, step)
        return
    axis = op.axis % len(shape)
    place = order.index(axis)
    outer = math.prod(shape[other] for other in order[:place])
    inner = math.prod(shape[other] for other in order[place + 1 :])
    own, count = shape[axis] * inner, lowering.shapes[node.name][axis] * inner
    start, size = op.taken(shape[axis]).start * inner, container_bytes(lowering.qgraph.formats[node.name])
    step.calls.append(f"hws_copy_channels({{in0}}, {own}, {start}, {count}, {{out}}, {count}, 0, {outer}, {size});")
    lowering.clamp(node, step)


def _repeat(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    assert isinstance(node.op, Repeat)
    if node.op.axis != 1 or lowering.orders[node.name] != LAST or lowering.orders[node.inputs[0]] != LAST:
        _move(lowering, node, step)
        return
    channels, height, width = lowering.picture(node.inputs[0])
    size = container_bytes(lowering.qgraph.formats[node.name])
    step.calls.append(f"hws_repeat({{in0}}, {{out}}, {height * width}, {channels}, {node.op.times}, {size});")
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
    else:
        _interpolate(lowering, node, step)


def _interpolate(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """A weighted sum of some rows and columns for every pixel; the weights are those that the operator gives to a picture with a
    single row, or column."""
    (source,), target = lowering.sides(node)
    channels, in_h, in_w = lowering.picture(node.inputs[0])
    _, out_h, out_w = lowering.picture(node.name)
    rows = node.op.run([torch.eye(in_h, dtype=torch.float64)[None, :, :, None].expand(1, in_h, in_h, in_w)], {})[0, :, :, 0]
    columns = node.op.run([torch.eye(in_w, dtype=torch.float64)[None, :, None, :].expand(1, in_w, in_h, in_w)], {})[0, :, 0, :]
    members: dict[str, Any] = {}
    for name, weights in (("row", rows), ("column", columns)):
        first, taps = _taps(weights.T.numpy())
        members[f"{name}_taps"] = taps.shape[1]
        members[f"{name}s"] = step.array(f"{name}s", "int32_t", first)
        members[f"{name}_weights"] = step.array(f"{name}_weights", "float", taps.astype(np.float32).reshape(-1))
    record = step.record(
        "layer", "hws_resize_layer", in_w=in_w, out_h=out_h, out_w=out_w, channels=channels, **members,
        in_scale=real(source.scale), in_zero=source.zero_point, in_bytes=container_bytes(source),
        out_bytes=container_bytes(target), **rounded(target),
    )  # fmt: skip
    step.calls.append(f"hws_resize({record}, {lowering.input_as(node, step, 0, LAST)}, {{out}});")


def _taps(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ``weights [outputs, inputs]``: the first input that each output reads, and the weights from there on, ``[outputs,
    taps]``."""
    used = np.abs(weights) > VANISHING
    first, behind = used.argmax(axis=1), weights.shape[1] - used[:, ::-1].argmax(axis=1)
    taps = int((behind - first).max())
    first = np.minimum(first, weights.shape[1] - taps)
    return first, np.take_along_axis(weights, first[:, None] + np.arange(taps), axis=1)


def _enlarge(lowering: Lowering, node: Node, step: LoweredNode, function: str, factor: int) -> None:
    _, height, width = lowering.picture(node.inputs[0])
    source = lowering.input_as(node, step, 0, LAST)
    size, channels = container_bytes(lowering.qgraph.formats[node.name]), lowering.picture(node.name)[0]
    step.calls.append(f"{function}({source}, {{out}}, {height}, {width}, {channels}, {factor}, {size});")
    lowering.clamp(node, step)


def _unshuffle(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    assert isinstance(node.op, PixelUnshuffle)
    (channels, *_), (_, height, width) = lowering.picture(node.inputs[0]), lowering.picture(node.name)
    source = lowering.input_as(node, step, 0, LAST)
    size = container_bytes(lowering.qgraph.formats[node.name])
    step.calls.append(f"hws_pixel_unshuffle({source}, {{out}}, {height}, {width}, {channels}, {node.op.factor}, {size});")
    lowering.clamp(node, step)


def _move(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    name = node.inputs[0]
    moved = copies(lambda x: node.op.run([x], {}), lowering.shapes[name], lowering.orders[name], lowering.orders[node.name])
    lowering.copy(step, moved, "{in0}", "{out}", lowering.qgraph.formats[node.name], "move")
    lowering.clamp(node, step)


def _no_rounding(node: Node, sources: list[TensorFormat], target: TensorFormat) -> str | None:
    return None if node.op.moves else f"{node.op.word} with values that are no codes"


LOWERS.put(Lower(lambda lowering, node, step: None), Input)
LOWERS.put(Lower(_concat), Concat)
LOWERS.put(Lower(_move, _no_rounding), View)
LOWERS.put(Lower(_slice), Slice)
LOWERS.put(Lower(_repeat), Repeat)
LOWERS.put(Lower(_shuffle), PixelShuffle)
LOWERS.put(Lower(_unshuffle), PixelUnshuffle)
LOWERS.put(Lower(_resize), Resize)
