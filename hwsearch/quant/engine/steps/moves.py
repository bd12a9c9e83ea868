"""Moves of codes: nothing is rounded. Resizing, some of which interpolates, is in ``resizing``."""

from __future__ import annotations

from torch import Tensor

from hwsearch.quant.engine import buffers
from hwsearch.quant.engine.kernels.loops.moves import shuffle
from hwsearch.quant.engine.requant import pixels
from hwsearch.quant.engine.steps.table import STEPS, Run, Site, convert
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node, apply
from searchspaces.ops.moves.move import Concat, PixelShuffle, View
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reductions.reduce import MaxPool
from searchspaces.ops.state import Remember, State


def in_floats(node: Node, x: Tensor, source: TensorFormat) -> Tensor:
    """A move that torch has for floating point only, of shifted codes: what is put around them is zero."""
    return source.carried(apply(node, [source.shifted(x).float()]))


@STEPS.register(View, MaxPool, Remember)
def _view(site: Site) -> Run | None:
    node, source, target = site.node, site.sources[0], site.target
    if not node.op.moves:
        return None
    if isinstance(node.op, Pad | MaxPool):
        return lambda xs: convert(in_floats(node, xs[0], source), source, target)
    return lambda xs: convert(apply(node, xs), source, target)


@STEPS.register(State)
def _state(site: Site) -> Run:
    """What it is at the start of a clip: zero, which every grid has."""
    node, target = site.node, site.target
    return lambda xs: target.carried(apply(node, xs))


@STEPS.register(PixelShuffle)
def _shuffle(site: Site) -> Run:
    op, source, target = site.node.op, site.sources[0], site.target
    assert isinstance(op, PixelShuffle)

    def run(xs: list[Tensor]) -> Tensor:
        out = buffers.channels_last(op.shape([tuple(xs[0].shape)], {}), xs[0].dtype)
        for i in range(len(out)):
            shuffle(pixels(xs[0][i : i + 1]), op.factor, pixels(out[i : i + 1]))
        return convert(out, source, target)

    return run


@STEPS.register(Concat)
def _concat(site: Site) -> Run:
    node, sources, target = site.node, site.sources, site.target
    return lambda xs: apply(node, [convert(x, s, target) for x, s in zip(xs, sources, strict=True)])
