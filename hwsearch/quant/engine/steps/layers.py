"""Layers with weights, and the addition."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from hwsearch.quant.engine import requant
from hwsearch.quant.engine.convolution import Conv as PreparedConv
from hwsearch.quant.engine.steps import codes, slopes
from hwsearch.quant.engine.steps.table import STEPS, Run, Site
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.maps.activation import Relu, Relu6
from searchspaces.ops.maps.elementwise import Add


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


@STEPS.register(Add)
def _add(site: Site) -> Run | None:
    if (apart := slopes.add_then_slope(site)) is not None:
        return apart
    if site.rule != "f32" and "other" in site.node.weights and codes.integers(*site.sources, site.target):
        return _add_constant(site)
    if not adds_in_integers(site.node, [*site.sources, site.target], site.rule):
        return None
    (first, second), bounds = site.sources, requant.bounds(site.node, site.target)
    total = requant.adder(first, second, site.target, *bounds, site.rule)
    return lambda xs: total(*torch.broadcast_tensors(*xs))
