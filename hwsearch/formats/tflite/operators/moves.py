"""Moves of codes in a TFLite file that a picture and tokens have alike: padding, rolling, reversing, choosing places.

They act on the axes where these stand in the file: a picture's channels are its last. ROLL does not exist; it is two slices and
their CONCATENATION an axis. MIRROR_PAD and PAD put codes there, PAD the zero point; a
border that is repeated is GATHER.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hwmodels.errors import FileError
from hwsearch.formats.tflite.operators.table import WRITES
from hwsearch.formats.tflite.writing.copies import concatenated, sliced, transposed
from hwsearch.formats.tflite.writing.file import Options
from hwsearch.formats.tflite.writing.writer import PICTURE, Plain, Shape, Writer
from searchspaces.ir.graph import Node
from searchspaces.ops.moves.move import Flip, Gather, Roll
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.windows import Windows

REFLECT = 0
"""As the schema numbers it (``MirrorPadMode``): the border is not repeated."""


@dataclass(frozen=True)
class Laid:
    """The tensor that a node reads, as it stands in the file: ``sides`` of it; ``place`` of an axis of the network there."""

    x: int
    sides: tuple[int, ...]
    picture: bool

    def place(self, axis: int) -> int:
        axis %= len(self.sides)
        return PICTURE.index(axis) if self.picture else axis

    def tensor(self, writer: Writer, node: Node, name: str, sides: tuple[int, ...]) -> int:
        """Another of the same grid and layout."""
        fmt = writer.qgraph.formats[node.inputs[0]]
        return writer.tensor(f"{node.name}/{name}", fmt, (sides[3], sides[1], sides[2]) if self.picture else Plain(sides))


def standing(writer: Writer, node: Node, *, picture: bool = True) -> Laid:
    """Its first input: as a picture where it is one, if it may be (``picture``)."""
    name = node.inputs[0]
    full = writer.full[name]
    if picture and name in writer.pictures:
        return Laid(writer.read(name, node), tuple(full[axis] for axis in PICTURE), picture=True)
    return Laid(writer.plain(name), tuple(full), picture=False)


def laid(writer: Writer, node: Node) -> Laid:
    """Its first input.

    Raises:
        FileError: the node's tensor has another grid.
    """
    writer.check_moved(node)
    return standing(writer, node)


def _written(writer: Writer, node: Node, source: Laid, write: Callable[[int], int]) -> int:
    """The node's tensor by the last of its operators."""
    shape: Shape = writer.shapes[node.name] if source.picture else Plain(writer.full[node.name])
    return writer.bounded(node.name, writer.qgraph.formats[node.name], shape, lambda y, _: write(y), fusible=False)


@WRITES.register(Pad)
def _pad(writer: Writer, node: Node) -> int:
    op, source = node.op, laid(writer, node)
    assert isinstance(op, Pad)
    if not op.moves:
        raise FileError(f"{node.name!r}: this exporter adds zeros or what is mirrored", "Export it as ONNX.")
    amounts = np.zeros((len(source.sides), 2), np.int32)
    for place in range(len(op.amounts) // 2):
        amounts[source.place(-1 - place)] = op.amounts[2 * place : 2 * place + 2]
    if (amounts < 0).any():
        cut = [(-np.minimum(around, 0)).tolist() for around in amounts]
        sides = tuple(side - before - after for side, (before, after) in zip(source.sides, cut, strict=True))
        inner = sliced(writer.file, node.name, source.x, [before for before, _ in cut], sides)
        amounts = np.maximum(amounts, 0)
        if not amounts.any():
            return _written(writer, node, source, inner)
        source = replace(source, x=inner(source.tensor(writer, node, "cut", sides)), sides=sides)
    if op.mode == "replicate":
        return _replicated(writer, node, source, amounts)
    around = writer.constant(f"{node.name}/amounts", amounts)
    if op.mode == "reflect":
        writer.check_micro(node.name, "MIRROR_PAD")
        options = Options("MirrorPadOptions", {"Mode": REFLECT})
        return _written(writer, node, source, lambda y: writer.file.op("MIRROR_PAD", [source.x, around], y, options, 2))
    return _written(writer, node, source, lambda y: writer.file.op("PAD", [source.x, around], y, Options("PadOptions"), 2))


def _replicated(writer: Writer, node: Node, source: Laid, amounts: np.ndarray) -> int:
    """What lies outermost, repeated: TFLite has no such padding, so each axis is a GATHER that takes the ends several times."""
    writer.check_micro(node.name, "GATHER")
    x, sides = source.x, list(source.sides)
    padded = [axis for axis, around in enumerate(amounts) if around.any()]
    for axis in padded:
        before, after = amounts[axis]
        places = np.arange(-before, sides[axis] + after).clip(0, sides[axis] - 1).astype(np.int32)
        sides[axis] = places.size
        given, options = [x, writer.constant(f"{node.name}/{axis}/places", places)], Options("GatherOptions", {"Axis": axis})
        if axis == padded[-1]:
            break
        x = writer.file.op("GATHER", given, source.tensor(writer, node, str(axis), tuple(sides)), options, 2)
    if not padded:
        raise FileError(f"{node.name!r} pads no side")
    return _written(writer, node, source, lambda y: writer.file.op("GATHER", given, y, options, 2))


@WRITES.register(Roll)
def _roll(writer: Writer, node: Node) -> int:
    op, source = node.op, laid(writer, node)
    assert isinstance(op, Roll)
    turns = [(source.place(axis), shift) for axis, shift in zip(op.axes, op.shifts, strict=True)]
    x = source.x

    def part(name: str, axis: int, start: int, stop: int) -> int:
        begin = [start if place == axis else 0 for place in range(len(source.sides))]
        sides = tuple(stop - start if place == axis else side for place, side in enumerate(source.sides))
        return sliced(writer.file, f"{node.name}/{name}", x, begin, sides)(source.tensor(writer, node, name, sides))

    for turn, (axis, shift) in enumerate(turns):
        side = source.sides[axis]
        cut = -shift % side
        ends = [(cut, side), (0, cut)] if cut else [(0, side)]
        together = concatenated(writer.file, [part(f"{turn}/{start}", axis, start, stop) for start, stop in ends], axis)
        if turn == len(turns) - 1:
            return _written(writer, node, source, together)
        x = together(source.tensor(writer, node, f"{turn}", source.sides))
    raise FileError(f"{node.name!r} rolls along no axis")


@WRITES.register(Flip)
def _flip(writer: Writer, node: Node) -> int:
    """REVERSE_V2 an axis: the kernel takes several only where they are neighbours."""
    op, source = node.op, laid(writer, node)
    assert isinstance(op, Flip)
    x, *axes = source.x, *(source.place(axis) for axis in op.axes)
    axis = [writer.constant(f"{node.name}/{place}/axis", np.array([place], np.int32)) for place in axes]
    options = Options("ReverseV2Options")
    for turn, one in enumerate(axis[:-1]):
        x = writer.file.op("REVERSE_V2", [x, one], source.tensor(writer, node, f"{turn}", source.sides), options)
    return _written(writer, node, source, lambda y: writer.file.op("REVERSE_V2", [x, axis[-1]], y, options))


@WRITES.register(Gather)
def _gather(writer: Writer, node: Node) -> int:
    op, source = node.op, laid(writer, node)
    assert isinstance(op, Gather)
    writer.check_micro(node.name, "GATHER")
    axis = source.place(op.axis)
    places = writer.constant(f"{node.name}/places", np.array(op.indices, np.int32) % source.sides[axis])
    options = Options("GatherOptions", {"Axis": axis})
    return _written(writer, node, source, lambda y: writer.file.op("GATHER", [source.x, places], y, options, 2))


@WRITES.register(Windows)
def _windows(writer: Writer, node: Node) -> int:
    """GATHER of the places of every window, which then go behind the other axes."""
    op, grid = node.op, laid(writer, node)
    assert isinstance(op, Windows)
    writer.check_micro(node.name, "GATHER")
    source = standing(writer, node, picture=False) if grid.picture else grid
    axis, rank = op.axis % len(source.sides), len(source.sides)
    found = op.places(source.sides[axis])
    places = writer.constant(f"{node.name}/places", found.astype(np.int32))
    cut = source.tensor(writer, node, "windows", (*source.sides[:axis], *found.shape, *source.sides[axis + 1 :]))
    writer.file.op("GATHER", [source.x, places], cut, Options("GatherOptions", {"Axis": axis}), 2)
    order = [*range(axis + 1), *range(axis + 2, rank + 1), axis + 1]
    return _written(writer, node, source, transposed(writer.file, f"{node.name}/axes", cut, order))
