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


def receptive_radius(graph: Graph) -> int | None:
    """How many input pixels in every direction an output pixel can see; None if it sees the whole picture."""
    reach: dict[str, float] = {}
    unit: dict[str, float] = {}
    for node in graph.nodes:
        local = node.op.window(node.weight_shapes)
        if local is None:
            return None
        reach[node.name] = max((reach[name] for name in node.inputs), default=0.0)
        unit[node.name] = unit[node.inputs[0]] if node.inputs else 1.0
        match node.op:
            case Conv(padding=padding, strides=strides) as op:
                # With uneven padding one side sees more; the whole window bounds both. What is enlarged behind a stride may stand
                # anywhere in the step, and the window at its beginning.
                spans = (max(op.dilations) * (k - 1) - min(padding) for k in node.weights["weight"].shape[2:])
                reach[node.name] += unit[node.name] * max(max(padding) + max(strides) - 1, *spans)
                unit[node.name] *= max(strides)
            case PixelShuffle(factor=factor):
                unit[node.name] /= factor
            case PixelUnshuffle(factor=factor):
                reach[node.name] += unit[node.name] * (factor - 1)
                unit[node.name] *= factor
            case Resize(whole_factor=int(factor)):
                # An output pixel stands between two of the input: one more than it sees to either side.
                reach[node.name] += (max(local) + 1) * unit[node.name]
                unit[node.name] /= factor
    return math.ceil(reach[graph.output.name])


def uncut(graph: Graph) -> str:
    """Why a network is given pictures in one piece; empty where strips will do."""
    node = next((node for node in graph.nodes if node.op.window(node.weight_shapes) is None), None)
    if node is None:
        return ""
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
    unit: dict[str, Fraction] = {}
    for node in graph.nodes:
        unit[node.name] = unit[node.inputs[0]] if node.inputs else Fraction(1)
        match node.op:
            case Conv(strides=strides):
                unit[node.name] *= max(strides)
            case PixelUnshuffle(factor=factor):
                unit[node.name] *= factor
            case PixelShuffle(factor=factor) | Resize(whole_factor=int(factor)):
                unit[node.name] /= factor
    return math.lcm(*(pitch.numerator for pitch in unit.values()))
