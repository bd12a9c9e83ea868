"""Slopes that are an operator of their own: behind an addition, and those of channels (PReLU) wherever no layer has them.

LiteRT has LEAKY_RELU and PRELU; the slopes of the latter are codes, 8 bits each. The exported C ("gemmlowp") computes slopes on
real values, and those of an addition together with it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import INT8, INT16
from hwsearch.quant.engine import requant
from hwsearch.quant.engine.operators import activation
from hwsearch.quant.engine.steps import codes, functions
from hwsearch.quant.engine.steps.table import STEPS, Run, Site
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.maps.activation import LeakyRelu, PRelu

APART = ("xnnpack", "reference")
"""Rules under which a slope behind an addition is an operator of its own."""


def before_slope(node: Node, sources: list[TensorFormat], target: TensorFormat, rule: str, *, wide: bool) -> TensorFormat | None:
    """The format of a sum in front of the slopes that an addition ends with, where a rule's kernels take two operators for them:
    all that the two ``sources`` add up to and the slopes bring within the bounds of ``target``, in as many bits as there are.
    None where the addition is one."""
    found = of_node(node)
    if rule not in APART or found is None or target.is_float or any(fmt.is_float for fmt in sources):
        return None
    if isinstance(node.activation, LeakyRelu) and found[0] <= 0:
        return None
    low, high = (target.scale * (bound - target.zero_point) for bound in (target.qmin, target.qmax))
    reached = [(low if slope > 0 else high) / slope for slope in found.tolist() if slope]
    least = sum(fmt.scale * (fmt.qmin - fmt.zero_point) for fmt in sources)
    most = sum(fmt.scale * (fmt.qmax - fmt.zero_point) for fmt in sources)
    low, high = min(max(min(reached, default=0.0), least), 0.0), max(min(high, most), 0.0)
    if low == high:
        return None
    number = INT16 if wide else INT8
    if wide:
        scale, zero = max(high, -low) / (number.middle - 1), number.middle
    else:
        scale = (high - low) / number.last_code
        zero = round(-low / scale)
    return TensorFormat(number, float(np.float32(scale)), zero, 0, number.last_code)


def of_node(node: Node) -> np.ndarray | None:
    """The slopes that a node has, or ends with: ``float64[C]``, or one for all of them; None without."""
    for op in (node.op, node.activation):
        if isinstance(op, LeakyRelu):
            return np.array([op.slope])
        if isinstance(op, PRelu):
            return node.weights["slope"].double().numpy().reshape(-1)
    return None


def stored_slopes(node: Node, source: TensorFormat, target: TensorFormat) -> tuple[TensorFormat, np.ndarray]:
    """The format of the slopes of channels beside tensors of these formats, and their codes in its container, ``[C]``."""
    fmt = codes.constant(node.weights["slope"], source, target)
    return fmt, codes.of_values(node.weights["slope"].reshape(-1), fmt, codes.stored(fmt))


def table(node: Node, source: TensorFormat, target: TensorFormat, rule: str) -> np.ndarray | None:
    """Shifted codes of ``target`` for every code of ``source`` by the slopes that a node has, or ends with: a row for each
    channel, or one for all of them; None where no kernel of the rule's runtime computes it."""
    op = node.op if isinstance(node.op, PRelu) else node.activation
    if isinstance(op, LeakyRelu):
        found = functions.table(op, source, target, rule)
        return None if found is None else found[None]
    if not isinstance(op, PRelu) or rule not in APART or not codes.narrow(source, target):
        return None
    fmt, by = stored_slopes(node, source, target)
    y = codes.stored(target)
    return activation.prelu(codes.stored(source), y, by, codes.stored(fmt)).astype(np.int32) - y.zero_point


def _looked_up(node: Node, source: TensorFormat, target: TensorFormat, rule: str) -> Run | None:
    found = table(node, source, target, rule)
    if found is None:
        return None
    rows, first = target.carried(torch.from_numpy(found)), source.zero_point - source.origin

    def run(xs: list[Tensor]) -> Tensor:
        places = xs[0].long() + first
        if len(rows) > 1:
            places += (torch.arange(len(rows)) * rows.shape[1]).view(-1, *[1] * (places.ndim - 2))
        return rows.view(-1)[places]

    return run


@STEPS.register(PRelu)
def _prelu(site: Site) -> Run | None:
    """One operation on decoded values, but in LiteRT at 8 bits."""
    return _looked_up(site.node, site.sources[0], site.target, site.rule)


def add_then_slope(site: Site) -> Run | None:
    """Two operators, as LiteRT has them: a sum on a grid of its own, and LEAKY_RELU or PRELU of that."""
    formats = [*site.sources, site.target]
    if len(site.sources) != 2 or not codes.integers(*formats):
        return None
    total = before_slope(site.node, site.sources, site.target, site.rule, wide=not codes.narrow(*formats))
    bend = None if total is None else _looked_up(site.node, total, site.target, site.rule)
    if total is None or bend is None:
        return None
    add = requant.adder(site.sources[0], site.sources[1], total, total.qmin, total.qmax, site.rule)
    return lambda xs: bend([add(*torch.broadcast_tensors(*xs))])
