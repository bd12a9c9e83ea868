"""Grids that no method chooses: those of pictures, because a display has it, and that of shares, because runtimes have no other.

A softmax writes shares in 0..1. The integer kernels of TFLite and CMSIS-NN write them in steps of 1/256 from 0 on at 8 bits, of
1/32768 at 16, whatever the file says; so does every network here.
"""

from __future__ import annotations

from hwmodels.numbers import INT8, Float, NumberFormat
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.observe.gains import quantizes
from hwsearch.quant.ranges.ranges import single, symmetric_format
from searchspaces.ir.graph import Graph
from searchspaces.ir.shapes import shapes
from searchspaces.ops.reductions.softmax import Softmax

PICTURE_WIDE_STEPS = 128
"""16-bit codes per 8-bit code of a picture: 255 * 128 still fits above the zero point 32768."""
PICTURE_AXES = 4
"""Of pictures, channels, height and width."""
SIDE = 64
"""Pixels of a picture's side on which shapes are looked at, where any will do."""


def picture_groups(graph: Graph) -> set[str]:
    """Quantizer groups on the grid of a picture: those of the input and of an output that is one, where nothing else is written
    in them."""
    group_of = graph.quantizer_groups()
    written = [group_of[node.name] for node in graph.nodes if quantizes(node)]
    pictures = [graph.input, graph.output] if _gives_picture(graph) else [graph.input]
    return {group for group in map(group_of.__getitem__, (node.name for node in pictures)) if written.count(group) == 1}


def _gives_picture(graph: Graph) -> bool:
    """Whether the output has height, width and the channels of the input: anything else, as a classifier's answer, may have any
    values."""
    side = -(-SIDE // graph.multiple) * graph.multiple
    try:
        shape = shapes(graph, *(graph.size or (side, side)))[graph.output.name]
    except ValueError:  # it is for other sizes than that
        return True
    return len(shape) == PICTURE_AXES and shape[1] == graph.channels


def share_groups(graph: Graph) -> set[str]:
    """Quantizer groups on the grid of shares: those in which nothing but softmaxes write."""
    group_of = graph.quantizer_groups()
    writers = [node for node in graph.nodes if quantizes(node)]
    shares = {group_of[node.name] for node in writers if isinstance(node.op, Softmax)}
    return shares - {group_of[node.name] for node in writers if not isinstance(node.op, Softmax)}


def picture_format(number: NumberFormat, *, symmetric: bool) -> TensorFormat:
    """The grid of a picture in 0..1: lossless for 8-bit pictures at 8 and 16 bits, unless 8 bits have no zero point."""
    if isinstance(number, Float):
        return TensorFormat(number)
    if number.is_wide:
        step = single(1 / (INT8.levels * PICTURE_WIDE_STEPS))
        return TensorFormat(number, step, number.middle, 0, number.last_code)
    if symmetric:
        return symmetric_format(number, 1.0)
    return TensorFormat(number, single(1 / number.levels), 0, 0, number.levels)


def share_format(number: NumberFormat, *, symmetric: bool) -> TensorFormat:
    """The grid of shares: ``2^bits`` steps to 1 at up to 8 bits, so that 1 itself is cut by one step; 32768 at 16 bits."""
    if isinstance(number, Float):
        return TensorFormat(number)
    if number.is_wide:
        return TensorFormat(number, 1 / number.middle, number.middle, 0, number.last_code)
    if symmetric:
        return symmetric_format(number, 1.0)
    return TensorFormat(number, 1 / (number.levels + 1), 0, 0, number.levels)
