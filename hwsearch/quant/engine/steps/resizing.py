"""Resizing: codes are moved, or weighed as kernels of TFLite weigh them; other interpolations are computed in floating point.

TFLite's RESIZE_BILINEAR knows one grid for what it reads and what it writes. Where a plan has two, or tighter bounds behind it,
QUANTIZE stands in front, on the picture before it is resized.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hwsearch.quant.engine.operators import bilinear
from hwsearch.quant.engine.operators.bilinear import Places
from hwsearch.quant.engine.steps import codes
from hwsearch.quant.engine.steps.moves import in_floats
from hwsearch.quant.engine.steps.table import STEPS, Run, Site, convert, cut, in_floating_point, same_grid
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ops.moves.resize import Resize


def places(rule: str, source: TensorFormat, target: TensorFormat) -> Places | None:
    """How the bilinear kernel of a rule says where pixels lie; None where there is none for tensors like these (TensorFlow Lite
    Micro has one for 8 bits alone)."""
    if rule == "f32" or not codes.integers(source, target) or (rule == "gemmlowp" and not codes.narrow(source, target)):
        return None
    return "float" if rule == "xnnpack" and not target.is_wide else "whole"


def by_kernel(op: Resize, before: Sequence[int], after: Sequence[int], how: Places) -> bool:
    """Whether the kernel resizes ``before`` to ``after`` (rows, columns) as the operator does."""
    if op.mode != "bilinear" or op.antialias:
        return False
    # PyTorch steps by the factor, TFLite by the sides.
    whole = op.factor is None or op.align_corners or all(n * op.factor == m for n, m in zip(before, after, strict=True))
    return whole and all(bilinear.follows(n, m, op.align_corners, how) for n, m in zip(before, after, strict=True))


def in_integers(op: Resize, source: TensorFormat, target: TensorFormat, rule: str, *sides: Sequence[int]) -> bool:
    """Whether the engine interpolates codes under a rule: of pictures with ``sides`` before and behind it, or, where these are
    not told, of pictures of any size that the kernel's steps of 1024ths do not lead astray."""
    how = places(rule, source, target)
    if how is None:
        return False
    if not sides:
        return op.mode == "bilinear" and op.whole_factor is not None
    return by_kernel(op, sides[0], sides[1], how)


def converted(source: TensorFormat, target: TensorFormat) -> bool:
    """Whether the codes of an interpolation are brought to another grid, or within other bounds, before it."""
    return not same_grid(source, target) or cut(source, target)


def _bilinear(site: Site, op: Resize, how: Places) -> Run:
    source, target = site.sources[0], site.target
    x, y = codes.stored(source), codes.stored(target)
    real, changed = in_floating_point(site), converted(source, target)

    def run(xs: list[Tensor]) -> Tensor:
        before = tuple(xs[0].shape)
        *_, rows, columns = op.shape([before], {})
        if not by_kernel(op, before[2:], (rows, columns), how):
            return real(xs)
        found = codes.codes(xs[0], source, x)
        found = codes.requantized(found, x, y, site.rule) if changed else found
        return codes.carried(bilinear.interpolate(found, (rows, columns), corners=op.align_corners, places=how), y, target)

    return run


@STEPS.register(Resize)
def _resize(site: Site) -> Run | None:
    node, source, target = site.node, site.sources[0], site.target
    op = node.op
    assert isinstance(op, Resize)
    if op.mode in ("nearest", "nearest-exact"):
        return lambda xs: convert(in_floats(node, xs[0], source), source, target)
    how = places(site.rule, source, target)
    return None if how is None else _bilinear(site, op, how)
