"""Functions of single values: tables of codes, and what is one operation on decoded values."""

from __future__ import annotations

import torch
from torch import Tensor

from hwsearch.quant.engine import fixed_point, requant
from hwsearch.quant.engine.operators import elementwise
from hwsearch.quant.engine.steps import codes, functions
from hwsearch.quant.engine.steps.table import STEPS, Run, Site
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node, apply
from searchspaces.ops.base import Op
from searchspaces.ops.maps.activation import Activation, Relu, Relu6
from searchspaces.ops.maps.elementwise import Elementwise, Mul, Where
from searchspaces.ops.reductions.reduce import Max, Min


@STEPS.register(Elementwise, Where, Max, Min)
def _exact_in_float(site: Site) -> Run | None:
    """One operation on decoded values, rounded once, is the same on every machine."""
    return None


@STEPS.register(Mul)
def _multiply(site: Site) -> Run | None:
    """Under the rules of TFLite's kernels a constant factor is a tensor of codes, and products are multiplied down in integers,
    by XNNPACK in single precision; elsewhere it is one operation on decoded values."""
    node, target = site.node, site.target
    if site.rule == "f32" or not codes.integers(target, *site.sources):
        return None
    form = codes.stored if codes.narrow(target, *site.sources) else codes.widened
    y, library = form(target), codes.LIBRARIES[site.rule]
    if "other" in node.weights:
        source = site.sources[0]
        fmt = codes.constant(node.weights["other"], source, target)
        x, by = form(source), form(fmt)
        other = codes.of_values(node.weights["other"], fmt, by)
        product = codes.product(site.rule, x, by, y)
        return lambda xs: codes.carried(product(codes.codes(xs[0], source, x), other), y, target)
    a, b = (form(source) for source in site.sources)
    if not elementwise.multiplies(a, b, y, library):
        return None
    product = codes.product(site.rule, a, b, y)

    def run(xs: list[Tensor]) -> Tensor:
        left, right = (codes.codes(x, s, grid) for x, s, grid in zip(xs, site.sources, (a, b), strict=True))
        return codes.carried(product(left, right), y, target)

    return run


def looked_up(op: Op) -> bool:
    """Whether an activation is a table in integers."""
    return isinstance(op, Activation) and op.function == "function"


def unary_table(node: Node, source: TensorFormat, target: TensorFormat) -> Tensor:
    """What a sigmoid or another such function writes for every code 0 .. 2^bits - 1 of its input: shifted codes, or real values
    for a float target; float32 ``[2^bits]``. A table is what integer hardware has, and it makes such functions exact."""
    every = torch.arange(source.grid.last_code + 1, dtype=torch.float32)
    real = apply(node, [source.decode(every)])
    return target.stored(real)


@STEPS.register(Activation)
def _activation(site: Site) -> Run | None:
    """A table of integers, where it is one; None where real values are computed."""
    node, source, target = site.node, site.sources[0], site.target
    if source.is_float:
        return None
    table = None
    if site.rule != "f32" and isinstance(node.op, Activation) and not target.is_float:
        own = functions.table(node.op, source, target, site.rule)
        table = None if own is None else target.carried(torch.from_numpy(own))
    if table is None and looked_up(node.op):
        table = target.carried(unary_table(node, source, target))
    elif table is None and site.rule != "f32" and isinstance(node.op, Relu | Relu6) and not source.is_wide and not target.is_wide:
        low, high = (bound - target.zero_point for bound in requant.bounds(node, target))
        table = target.carried(torch.from_numpy(fixed_point.rescale_table(source, target, low, high)))
    if table is None:
        return None
    entries, first = table, source.zero_point - source.origin  # codes from carried numbers
    return lambda xs: entries[xs[0].long() + first]
