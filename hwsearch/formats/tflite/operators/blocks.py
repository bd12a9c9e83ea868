"""Pixel shuffles in files for an Ethos-U, where DEPTH_TO_SPACE and transposes are slow: SLICE, CONCATENATION, RESHAPE.

Channels stand in blocks (``writing.order``), so those that are one row of a block lie together. These slices side by side along
the width are the rows of the shuffled picture in their order, and a view is the rest. Back, the same is read from its end.
"""

from __future__ import annotations

from hwsearch.formats.tflite.writing.copies import concatenated, reshaped, sliced
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
    concatenated(writer.file, slices, WIDTH)(beside)
    return reshaped(writer.file, f"{node.name}/shape", beside, (1, height, width, channels))(y)


def _back(writer: Writer, node: Node, x: int, y: int) -> int:
    assert isinstance(node.op, PixelUnshuffle)
    fmt, rows = writer.qgraph.formats[node.name], node.op.factor
    channels, height, width = writer.shapes[node.name]
    part = (channels // rows, height, width)
    beside = writer.tensor(f"{node.name}/rows", fmt, (part[0], height, rows * width))
    reshaped(writer.file, f"{node.name}/shape", x, (1, height, rows * width, part[0]))(beside)
    slices = [_slice(writer, node, beside, row, WIDTH, part) for row in range(rows)]
    return concatenated(writer.file, slices, CHANNELS)(y)


def _slice(writer: Writer, node: Node, x: int, row: int, axis: int, part: tuple[int, int, int]) -> int:
    """The slice number ``row`` of a tensor along an axis; ``part``: its channels, height and width."""
    fmt, name = writer.qgraph.formats[node.name], f"{node.name}/row{row}"
    count = part[0] if axis == CHANNELS else part[2]
    begin, size = [0] * 4, [-1] * 4
    begin[axis], size[axis] = row * count, count
    return sliced(writer.file, name, x, begin, size)(writer.tensor(name, fmt, part))
