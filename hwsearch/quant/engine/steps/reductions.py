"""Many values become one: sums of codes are exact."""

from __future__ import annotations

from torch import Tensor

from hwsearch.quant.engine.convolution import store
from hwsearch.quant.engine.steps.table import STEPS, Run, Site
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node, apply
from searchspaces.ops.reductions.reduce import Mean, Reduction, Std, Sum


@STEPS.register(Mean, Sum, Std)
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
        case Std(correction=correction):
            squares = (v * v).sum(dim=op.axes, keepdim=op.keepdims)
            return (((squares * n - total * total) / (n * (n - correction))).clamp_min(0).sqrt() * float(source.scale)).float()
    raise TypeError(f"no statistic {op.describe()}")
