"""Functions of single values: tables of codes, and what is one operation on decoded values."""

from __future__ import annotations

import torch
from torch import Tensor

from hwsearch.quant.engine import fixed_point, requant
from hwsearch.quant.engine.operators import elementwise
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.engine.simulate import of_decoded
from hwsearch.quant.engine.steps import codes, functions
from hwsearch.quant.engine.steps.table import STEPS, Run, Site
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op
from searchspaces.ops.maps.activation import Activation, Relu, Relu6
from searchspaces.ops.maps.elementwise import Elementwise, Mul, Where
from searchspaces.ops.reductions.reduce import Max, Min


@STEPS.register(Elementwise, Where, Max, Min)
def _exact_in_float(site: Site) -> Run | None:
    """One operation on decoded values, rounded once, is the same on every machine."""
    return None


def multiplies(site: Site) -> bool:
    """Whether a product is one of integers by the rules of TFLite's kernels: not where its steps are so fine that one of codes
    would leave 32 bits."""
    if site.rule == "f32" or not codes.integers(site.target, *site.sources):
        return False
    *read, y = (grid for _, grid in _factors(site))
    return elementwise.multiplies(read[0], read[1], y, codes.LIBRARIES[site.rule])


def _factors(site: Site) -> list[tuple[TensorFormat, Grid]]:
    """Formats and grids of both factors, the second of which may be constant, and of the product."""
    sources, target = site.sources, site.target
    form = codes.stored if codes.narrow(target, *sources) else codes.widened
    formats = list(sources)
    if "other" in site.node.weights:
        formats.append(codes.constant(site.node.weights["other"], sources[0], target))
    return [(fmt, form(fmt)) for fmt in (*formats, target)]


@STEPS.register(Mul)
def _multiply(site: Site) -> Run | None:
    """Under the rules of TFLite's kernels a constant factor is a tensor of codes, and products are multiplied down in integers,
    by XNNPACK in single precision; elsewhere it is one operation on decoded values."""
    if not multiplies(site):
        return None
    (first, a), (second, b), (target, y) = _factors(site)
    product = codes.product(site.rule, a, b, y)
    if "other" in site.node.weights:
        other = codes.of_values(site.node.weights["other"], second, b)
        return lambda xs: codes.carried(product(codes.codes(xs[0], first, a), other), y, target)

    def run(xs: list[Tensor]) -> Tensor:
        left, right = codes.codes(xs[0], first, a), codes.codes(xs[1], second, b)
        return codes.carried(product(left, right), y, target)

    return run


def looked_up(op: Op) -> bool:
    """Whether an activation is a table in integers."""
    return isinstance(op, Activation) and op.function == "function"


def unary_table(node: Node, source: TensorFormat, target: TensorFormat) -> Tensor:
    """What a sigmoid or another such function writes for every code 0 .. 2^bits - 1 of its input: shifted codes, or real values
    for a float target; float32 ``[2^bits]``. A table is what integer hardware has, and it makes such functions exact."""
    every = torch.arange(source.grid.last_code + 1, dtype=torch.float32)
    real = of_decoded(node, [source.decode(every)])
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
