"""Layers with weights, and the addition."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import INT8, INT16
from hwsearch.quant.engine import requant
from hwsearch.quant.engine.convolution import Conv as PreparedConv
from hwsearch.quant.engine.steps import codes, functions
from hwsearch.quant.engine.steps.table import STEPS, Run, Site
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.maps.activation import LeakyRelu, Relu, Relu6
from searchspaces.ops.maps.elementwise import Add

APART = ("xnnpack", "reference")
"""Rules under which a slope behind an addition is an operator of its own. The exported C ("gemmlowp") does both at once."""


@STEPS.register(Conv)
def _conv(site: Site) -> Run:
    assert site.layer is not None
    conv = PreparedConv(site.node, site.layer, site.sources[0], site.target, site.rule)
    return lambda xs: conv(xs[0])


def as_conv(node: Node) -> Node:
    """The 1x1 convolution of pictures that a linear layer is when its vectors are taken for pixels."""
    weights = {key: value[:, :, None, None] if key == "weight" else value for key, value in node.weights.items()}
    return Node(node.name, Conv(activation=node.activation), node.inputs, weights)


@STEPS.register(Linear)
def _linear(site: Site) -> Run:
    assert site.layer is not None
    conv = PreparedConv(as_conv(site.node), site.layer, site.sources[0], site.target, site.rule)

    def run(xs: list[Tensor]) -> Tensor:
        *lead, channels = xs[0].shape
        pixels = xs[0].reshape(1, -1, 1, channels).permute(0, 3, 1, 2)
        return conv(pixels).permute(0, 2, 3, 1).reshape(*lead, -1)

    return run


def adds_in_integers(node: Node, formats: Iterable[TensorFormat], rule: str = "f32") -> bool:
    """Whether an addition is one of integers (see ``requant.adder``); otherwise both sides decode, add and encode in float32.

    Under rule "f32" tensors of 16 bits are not, because ONNX Runtime has no such operation."""
    wide = rule != "f32"
    clamps = node.activation is None or isinstance(node.activation, Relu | Relu6)
    return clamps and len(node.inputs) == 2 and all((wide or not f.is_wide) and not f.is_float for f in formats)


def _add_constant(site: Site) -> Run | None:
    """TFLite adds constants as it adds tensors."""
    node, source, target = site.node, site.sources[0], site.target
    if not (node.activation is None or isinstance(node.activation, Relu | Relu6)):
        return None
    fmt = codes.constant(node.weights["other"], source, target)
    total = requant.adder(source, fmt, target, *requant.bounds(node, target), site.rule)
    other = fmt.carried(fmt.stored(node.weights["other"]))
    return lambda xs: total(*(side.contiguous() for side in torch.broadcast_tensors(xs[0], other)))


def before_slope(node: Node, target: TensorFormat, rule: str, *, wide: bool) -> TensorFormat | None:
    """The format of a sum in front of the slope that an addition ends with, where a rule's kernels take two operators for them:
    all that the slope brings within the bounds of ``target``, in as many bits as there are. None where the addition is one."""
    slope = node.activation.slope if isinstance(node.activation, LeakyRelu) else 0.0
    if rule not in APART or slope <= 0 or target.is_float:
        return None
    low = target.scale * (target.qmin - target.zero_point) / min(slope, 1.0)
    high = target.scale * (target.qmax - target.zero_point) / max(slope, 1.0)
    number = INT16 if wide else INT8
    if wide:
        scale, zero = max(high, -low) / (number.middle - 1), number.middle
    else:
        scale = (high - low) / number.last_code
        zero = round(-low / scale)
    return TensorFormat(number, float(np.float32(scale)), zero, 0, number.last_code)


def _add_then_slope(site: Site) -> Run | None:
    """Two operators, as LiteRT has them: a sum on a grid of its own, and LEAKY_RELU of that."""
    formats = [*site.sources, site.target]
    if len(site.sources) != 2 or not codes.integers(*formats):
        return None
    total = before_slope(site.node, site.target, site.rule, wide=not codes.narrow(*formats))
    if total is None or site.node.activation is None:
        return None
    bend = functions.table(site.node.activation, total, site.target, site.rule)
    if bend is None:
        return None
    first, second = site.sources
    add = requant.adder(first, second, total, total.qmin, total.qmax, site.rule)
    table, lowest = site.target.carried(torch.from_numpy(bend)), total.zero_point - total.origin
    return lambda xs: table[add(*torch.broadcast_tensors(*xs)).long() + lowest]


@STEPS.register(Add)
def _add(site: Site) -> Run | None:
    if (apart := _add_then_slope(site)) is not None:
        return apart
    if site.rule != "f32" and "other" in site.node.weights and codes.integers(*site.sources, site.target):
        return _add_constant(site)
    if not adds_in_integers(site.node, [*site.sources, site.target], site.rule):
        return None
    (first, second), bounds = site.sources, requant.bounds(site.node, site.target)
    total = requant.adder(first, second, site.target, *bounds, site.rule)
    return lambda xs: total(*torch.broadcast_tensors(*xs))
