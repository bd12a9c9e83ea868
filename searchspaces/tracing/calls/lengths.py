"""Vectors brought to unit length: ``x / max(|x|, eps)``, as ``F.normalize`` writes it and attention by cosine needs it."""

from __future__ import annotations

import math

from searchspaces.ops.maps.activation import Clip, Pow, Sqrt
from searchspaces.ops.moves.move import Expand
from searchspaces.ops.reductions.norm import UnitNorm
from searchspaces.ops.reductions.reduce import Sum
from searchspaces.tracing.aten import Walk


def unit_length(walk: Walk, x: str, y: str) -> UnitNorm | None:
    """The operator of ``x / y``, where ``y`` is the length of the vectors of ``x`` along its last axis; None where it is not."""
    node, eps = walk.node(y), 0.0
    while isinstance(node.op, Expand | Clip):
        if isinstance(node.op, Clip):
            if node.op.low < 0 or node.op.high != math.inf:
                return None
            eps = float(node.op.low)
        node = walk.node(node.inputs[0])
    if not isinstance(node.op, Sqrt):
        return None
    total = walk.node(node.inputs[0])
    square = walk.node(total.inputs[0])
    last = (len(walk.shape(x)) - 1,)
    if not isinstance(total.op, Sum) or total.op.axes != last or not total.op.keepdims:
        return None
    return UnitNorm((-1,), eps) if square.op == Pow(2.0) and square.inputs == (x,) else None
