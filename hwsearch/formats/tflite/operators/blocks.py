"""Pixel shuffles in files for an Ethos-U, where DEPTH_TO_SPACE and transposes are slow: SLICE, CONCATENATION, RESHAPE.

Channels stand in blocks (``writing.order``), so those that are one row of a block lie together. These slices side by side along
the width are the rows of the shuffled picture in their order, and a view is the rest. Back, the same is read from its end.
"""

from __future__ import annotations

import numpy as np

from hwsearch.formats.tflite.writing.file import Options
from hwsearch.formats.tflite.writing.writer import Writer
from searchspaces.ir.graph import Node
from searchspaces.ops.moves.move import PixelShuffle, PixelUnshuffle

WIDTH, CHANNELS = 2, 3
"""Axes of a picture in a file."""


def shuffle(writer: Writer, node: Node) -> int:
    """A pixel shuffle, or back, in slices."""
    writer.check_moved(node)
    x, write = writer.read(node.inputs[0], node), _back if isinstance(node.op, PixelUnshuffle) else _forth
    return writer.moved(node, writer.shapes[node.name], lambda y: write(writer, node, x, y))


def _forth(writer: Writer, node: Node, x: int, y: int) -> int:
    assert isinstance(node.op, PixelShuffle)
    fmt, rows = writer.qgraph.formats[node.name], node.op.factor
    channels, height, width = writer.shapes[node.name]
    part = (rows * channels, height // rows, width // rows)
    slices = [_slice(writer, node, x, row, CHANNELS, part) for row in range(rows)]
    beside = writer.tensor(f"{node.name}/rows", fmt, (part[0], part[1], rows * part[2]))
    _joined(writer, slices, beside, WIDTH, wide=fmt.is_wide)
    return _view(writer, node.name, beside, y, (1, height, width, channels))


def _back(writer: Writer, node: Node, x: int, y: int) -> int:
    assert isinstance(node.op, PixelUnshuffle)
    fmt, rows = writer.qgraph.formats[node.name], node.op.factor
    channels, height, width = writer.shapes[node.name]
    part = (channels // rows, height, width)
    beside = writer.tensor(f"{node.name}/rows", fmt, (part[0], height, rows * width))
    _view(writer, node.name, x, beside, (1, height, rows * width, part[0]))
    slices = [_slice(writer, node, beside, row, WIDTH, part) for row in range(rows)]
    return _joined(writer, slices, y, CHANNELS, wide=fmt.is_wide)


def _slice(writer: Writer, node: Node, x: int, row: int, axis: int, part: tuple[int, int, int]) -> int:
    """The slice number ``row`` of a tensor along an axis; ``part``: its channels, height and width."""
    fmt, name = writer.qgraph.formats[node.name], f"{node.name}/row{row}"
    count = part[0] if axis == CHANNELS else part[2]
    begin, size = np.zeros(4, np.int32), np.full(4, -1, np.int32)
    begin[axis], size[axis] = row * count, count
    bounds = [writer.constant(f"{name}/begin", begin), writer.constant(f"{name}/size", size)]
    return writer.file.op("SLICE", [x, *bounds], writer.tensor(name, fmt, part), Options("SliceOptions"), 4 if fmt.is_wide else 2)


def _joined(writer: Writer, parts: list[int], y: int, axis: int, *, wide: bool) -> int:
    return writer.file.op("CONCATENATION", parts, y, Options("ConcatenationOptions", {"Axis": axis}), 3 if wide else 2)


def _view(writer: Writer, name: str, x: int, y: int, shape: tuple[int, ...]) -> int:
    return writer.file.op(
        "RESHAPE", [x, writer.constant(f"{name}/shape", np.array(shape, np.int32))], y, Options("ReshapeOptions")
    )
