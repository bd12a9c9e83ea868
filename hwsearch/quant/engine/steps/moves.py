"""Moves of codes: nothing is rounded."""

from __future__ import annotations

from hwsearch.quant.engine.steps.table import STEPS, Run, Site, convert
from searchspaces.ir.graph import apply
from searchspaces.ops.moves.move import Concat, View
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.reductions.reduce import MaxPool
from searchspaces.ops.state import Remember, State


@STEPS.register(View, MaxPool, Remember)
def _view(site: Site) -> Run | None:
    node, source, target = site.node, site.sources[0], site.target
    if not node.op.moves:
        return None
    if isinstance(node.op, Pad | MaxPool):  # torch has them for floating point only
        return lambda xs: convert(apply(node, [xs[0].float()]), source, target)
    return lambda xs: convert(apply(node, xs), source, target)


@STEPS.register(State)
def _state(site: Site) -> Run:
    """What it is at the start of a clip: zero, which every grid has."""
    node, target = site.node, site.target
    return lambda xs: apply(node, xs).to(target.carrier)


@STEPS.register(Concat)
def _concat(site: Site) -> Run:
    node, sources, target = site.node, site.sources, site.target
    return lambda xs: apply(node, [convert(x, s, target) for x, s in zip(xs, sources, strict=True)])


@STEPS.register(Resize)
def _resize(site: Site) -> Run | None:
    node, source, target = site.node, site.sources[0], site.target
    if not isinstance(node.op, Resize) or node.op.mode not in ("nearest", "nearest-exact"):
        return None
    return lambda xs: convert(apply(node, [xs[0].float()]), source, target)
