"""How far the pixels of a network see: what must stand around a tile, and in which steps tiles may be cut."""

from __future__ import annotations

import math
from fractions import Fraction

from searchspaces.data.scale import Scale, between
from searchspaces.ir.graph import Graph
from searchspaces.ir.shapes import shapes
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.moves.move import PixelShuffle, PixelUnshuffle
from searchspaces.ops.moves.resize import Resize


def _pitches(graph: Graph, axis: int) -> dict[str, Fraction]:
    """Input pixels from one pixel of each tensor to the next, downwards (``axis`` 0) or to the right (1)."""
    pitch: dict[str, Fraction] = {}
    for node in graph.nodes:
        pitch[node.name] = pitch[node.inputs[0]] if node.inputs else Fraction(1)
        match node.op:
            case Conv(strides=strides):
                pitch[node.name] *= strides[axis]
            case PixelUnshuffle(factor=factor):
                pitch[node.name] *= factor
            case PixelShuffle(factor=factor) | Resize(whole_factor=int(factor)):
                pitch[node.name] /= factor
    return pitch


def receptive_radius(graph: Graph) -> int | None:
    """How many input pixels in every direction an output pixel can see; None if it sees the whole picture."""
    reach: dict[str, Fraction] = {}
    down, right = _pitches(graph, 0), _pitches(graph, 1)
    for node in graph.nodes:
        local = node.op.window(node.weight_shapes)
        if local is None:
            return None
        seen = 0  # pixels of the first input in every direction
        match node.op:
            case Conv(padding=padding, strides=strides) as op:
                # With uneven padding one side sees more; the whole window bounds both. What is enlarged behind a stride may stand
                # anywhere in the step, and the window at its beginning.
                spans = (max(op.dilations) * (k - 1) - min(padding) for k in node.weights["weight"].shape[2:])
                seen = max(max(padding) + max(strides) - 1, *spans)
            case PixelUnshuffle(factor=factor):
                seen = factor - 1
            case Resize(whole_factor=int()):
                # An output pixel stands between two of the input: one more than it sees to either side.
                seen = max(local) + 1
        before = max((reach[name] for name in node.inputs), default=Fraction(0))
        reach[node.name] = before + seen * max(down[node.inputs[0]], right[node.inputs[0]]) if node.inputs else before
    return math.ceil(reach[graph.output.name])


def uncut(graph: Graph) -> str:
    """Why a network is given pictures in one piece; empty where strips will do."""
    node = next((node for node in graph.nodes if node.op.window(node.weight_shapes) is None), None)
    if node is None:
        return "this network is made for pictures of one size" if graph.size is not None else ""
    if isinstance(node.op, Resize):
        return f"{node.name} resizes by a fraction, with corners aligned or antialiased, which is not done strip by strip"
    return "each pixel of this network's output sees the whole picture"


def probe_side(graph: Graph) -> int:
    """Side of a picture, about 48 pixels, for which the network is: where something is asked of it that no size changes."""
    return -(-48 // graph.multiple) * graph.multiple


def enlargement(graph: Graph) -> Scale:
    """Output height over input height of a network; 1 for one that refines a picture enlarged beforehand."""
    height, width = graph.size or (probe_side(graph),) * 2
    return between(shapes(graph, height, width)[graph.output.name][2], height)


def coarsest_step(graph: Graph) -> int:
    """Input pixels to which tiles must be aligned, so that they begin at a pixel of every tensor: 1 without strides."""
    return math.lcm(*(pitch.numerator for axis in (0, 1) for pitch in _pitches(graph, axis).values()))
