"""Handlers (see ``aten``) of pooling to a number of windows, whatever the picture's size."""

from __future__ import annotations

import torch
from torch import fx

from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.moves.move import Gather, Permute, Reshape
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import AvgPool, Max, MaxPool, Mean
from searchspaces.tracing.aten import Value, Walk, arguments, handles, packet, shape, tensor_name

UNEVEN = "uneven"
"""Suffix of operators for windows that are not all alike: at sizes that are multiples of their number they are."""


@handles("adaptive_avg_pool2d.default", "adaptive_max_pool2d.default", becomes=(Mean, Max, AvgPool, MaxPool, Linear, Gather))
def _adaptive(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    source, mean = a["self"], "avg" in packet(call)
    if len(shape(source)) != 4:
        raise NotRead("of what is no batch of pictures")
    height, width = shape(source)[-2:]
    rows, columns = shape(call)[-2:] if mean else shape_of_first(call)[-2:]
    over = tuple(axis for axis, side, windows in ((2, height, rows), (3, width, columns)) if windows == 1 and side != 1)
    kept = [windows for axis, windows in ((2, rows), (3, columns)) if axis not in over]
    if rows == columns == 1 or (over and kept == [shape(source)[5 - over[0]]]):  # whole rows, or columns, or the picture
        axes = (2, 3) if rows == columns == 1 else over
        found = walk.emit(call, Mean(axes, True) if mean else Max(axes, True), (tensor_name(walk, source),))
    elif height % rows or width % columns:
        name = tensor_name(walk, source)
        for axis, side, windows in ((3, width, columns), (2, height, rows)):
            if side != windows:
                name = (_mean_of if mean else _largest_of)(walk, call, name, axis, _windows(side, windows))
        found = name
    else:
        kernel = (height // rows, width // columns)
        found = walk.emit(call, (AvgPool if mean else MaxPool)(kernel, kernel), (tensor_name(walk, source),))
    return found if mean else (found, None)


def shape_of_first(call: fx.Node) -> tuple[int, ...]:
    """Shape of the first of a call's results."""
    return tuple(int(side) for side in call.meta["val"][0].shape)


def _windows(side: int, count: int) -> list[range]:
    """Places of each window: from the floor of its beginning to the ceiling of its end (ATen's AdaptivePooling.h)."""
    return [range(number * side // count, -(-(number + 1) * side // count)) for number in range(count)]


def _mean_of(walk: Walk, call: fx.Node, name: str, axis: int, windows: list[range]) -> str:
    """A matrix of as many equal parts as each window has places."""
    matrix = torch.zeros(len(windows), walk.shape(name)[axis])
    for number, window in enumerate(windows):
        matrix[number, window.start : window.stop] = 1 / len(window)
    turned = (0, 1, 3, 2)
    if axis == 2:
        name = walk.emit(call, Permute(turned), (name,), suffix="turned")
    name = walk.emit(call, Linear(), (name,), {"weight": matrix}, suffix=UNEVEN)
    return walk.emit(call, Permute(turned), (name,), suffix="back") if axis == 2 else name


def _largest_of(walk: Walk, call: fx.Node, name: str, axis: int, windows: list[range]) -> str:
    """Windows as long as the longest, others with their last place several times."""
    longest = max(map(len, windows))
    places = [min(window.start + step, window.stop - 1) for window in windows for step in range(longest)]
    name = walk.emit(call, Gather(tuple(places), axis), (name,), suffix=UNEVEN)
    sides = walk.shape(name)
    split = (*sides[:axis], len(windows), longest, *sides[axis + 1 :])
    name = walk.emit(call, Reshape(split), (name,), suffix="windows")
    return walk.emit(call, Max((axis + 1,), False), (name,), suffix="largest")
