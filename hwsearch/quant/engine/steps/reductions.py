"""Many values become one: sums of codes are exact.

A mean is rounded once from real values under rule "f32"; under the others as TFLite's kernels round it, which fold its count into
the multiplier.
"""

from __future__ import annotations

import math

from torch import Tensor

from hwsearch.quant.engine.convolution import store
from hwsearch.quant.engine.operators import reduction
from hwsearch.quant.engine.steps import codes
from hwsearch.quant.engine.steps.table import STEPS, Run, Site
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node, apply
from searchspaces.ops.reductions.reduce import Mean, Reduction, Std, Sum, Var


@STEPS.register(Mean)
def _mean(site: Site) -> Run:
    op, source, target = site.node.op, site.sources[0], site.target
    assert isinstance(op, Mean)
    real = _reduction(site)
    if site.rule == "f32" or not codes.integers(source, target):
        return real
    form = codes.stored if codes.narrow(source, target) else codes.widened
    x, y = form(source), form(target)
    mean = reduction.mean_once if site.rule == "xnnpack" and not x.wide else reduction.mean

    def run(xs: list[Tensor]) -> Tensor:
        if not reduction.fits(math.prod(xs[0].shape[axis] for axis in op.axes), x):
            return real(xs)
        return codes.carried(mean(codes.codes(xs[0], source, x), x, y, op.axes, keep=op.keepdims), y, target)

    return run


@STEPS.register(Sum, Std, Var)
def _reduction(site: Site) -> Run:
    node, source, target = site.node, site.sources[0], site.target
    return lambda xs: store(_statistic(node, xs[0], source), target)


def _statistic(node: Node, value: Tensor, source: TensorFormat) -> Tensor:
    """A mean, sum or deviation. Sums of codes are integers, hence exact in float64 in any order."""
    op = node.op
    assert isinstance(op, Reduction)
    if source.is_float:
        return apply(node, [value])
    v = source.shifted(value).double()
    total = v.sum(dim=op.axes, keepdim=op.keepdims)
    n = float(v.numel() / total.numel())
    match op:
        case Mean():
            return (total / n * float(source.scale)).float()
        case Sum():
            return (total * float(source.scale)).float()
        case Std(correction=correction) | Var(correction=correction):
            squares, scale = (v * v).sum(dim=op.axes, keepdim=op.keepdims), float(source.scale)
            variance = ((squares * n - total * total) / (n * (n - correction))).clamp_min(0)
            return (variance * (scale * scale) if isinstance(op, Var) else variance.sqrt() * scale).float()
    raise TypeError(f"no statistic {op.describe()}")
