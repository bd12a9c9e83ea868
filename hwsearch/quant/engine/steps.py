"""What the integer engine has for each operator: a function that prepares one node, or the reason why there is none.

A step takes the tensors that a node reads, as they are carried (shifted codes, or half-precision values), and gives the node's
own. An operator without a step of integers, or whose preparation returns None, is computed in floating point between integer
tensors: decoded, computed, encoded. To add one, register a function under the class of operators; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from hwsearch.quant.engine import fixed_point, requant
from hwsearch.quant.engine.convolution import Conv as PreparedConv
from hwsearch.quant.engine.convolution import load, store
from hwsearch.quant.formats import TensorFormat
from hwsearch.quant.graph import LayerFloats, LayerIntegers
from searchspaces.ir.graph import Node, apply
from searchspaces.ops.activation import Activation, Relu, Relu6
from searchspaces.ops.affine import Affine
from searchspaces.ops.base import Op
from searchspaces.ops.conv import Conv
from searchspaces.ops.elementwise import Add, Elementwise, Where
from searchspaces.ops.grid_sample import GridSample
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.linear import Linear
from searchspaces.ops.matmul import MatMul
from searchspaces.ops.move import Concat, View
from searchspaces.ops.norm import Norm
from searchspaces.ops.pad import Pad
from searchspaces.ops.reduce import AvgPool, Max, MaxPool, Mean, Min, Reduction, Std, Sum, Var
from searchspaces.ops.resize import Resize
from searchspaces.ops.softmax import Softmax
from searchspaces.ops.table import OpTable

Run = Callable[[list[Tensor]], Tensor]


@dataclass(frozen=True)
class Site:
    """One node of a quantized network: the formats of what it reads and writes, its integers if it has some, and the rule."""

    node: Node
    sources: list[TensorFormat]
    target: TensorFormat
    layer: LayerIntegers | LayerFloats | None
    rule: str


Prepare = Callable[[Site], Run | None]
STEPS: OpTable[Prepare] = OpTable("the integer engine")

_ISLAND = "it is computed in floating point between integer tensors"
STEPS.lacks(f"{_ISLAND}: its rounding is that of the machine, not one that a device shares", Softmax, Norm, MatMul)
STEPS.lacks(f"{_ISLAND}: no runtime has an integer form of it", Affine, Var, AvgPool, GridSample)
STEPS.lacks("nobody knows what it computes", Unknown)


def prepared(site: Site) -> Run:
    """The step of a node."""
    prepare = STEPS.get(site.node.op)
    step = prepare(site) if prepare is not None else None
    return step or in_floating_point(site)


def in_floating_point(site: Site) -> Run:
    """Decode, compute, encode."""
    node, sources, target = site.node, site.sources, site.target
    return lambda xs: store(apply(node, [load(x, s) for x, s in zip(xs, sources, strict=True)]), target)


def exact(op: Op) -> bool:
    """Whether every code of an operator between integer tensors is claimed equal on every machine."""
    return STEPS.get(op) is not None and not (isinstance(op, Resize) and op.mode != "nearest")


def same_grid(a: TensorFormat, b: TensorFormat) -> bool:
    """Whether two integer formats give a code the same meaning and the same container."""
    return a.scale == b.scale and a.zero_point == b.zero_point and a.is_wide == b.is_wide


def convert(value: Tensor, source: TensorFormat, target: TensorFormat) -> Tensor:
    """A moved tensor in the format of its destination: by construction the same scale and zero point, perhaps tighter bounds."""
    if source.is_float == target.is_float and (source.is_float or same_grid(source, target)):
        if not source.is_float and (target.qmin > source.qmin or target.qmax < source.qmax):
            value = value.clamp(target.qmin - target.zero_point, target.qmax - target.zero_point)
        return value.to(target.carrier)
    return store(load(value, source), target)


@STEPS.register(Input)
def _input(site: Site) -> Run:
    target = site.target
    return lambda xs: store(xs[0], target)


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


@STEPS.register(Add)
def _add(site: Site) -> Run | None:
    if not adds_in_integers(site.node, [*site.sources, site.target], site.rule):
        return None
    (first, second), bounds = site.sources, requant.bounds(site.node, site.target)
    total = requant.adder(first, second, site.target, *bounds, site.rule)
    return lambda xs: total(*torch.broadcast_tensors(*xs))


@STEPS.register(Elementwise, Where, Max, Min)
def _exact_in_float(site: Site) -> Run | None:
    """One operation on decoded values, rounded once, is the same on every machine."""
    return None


@STEPS.register(View, MaxPool)
def _view(site: Site) -> Run | None:
    node, source, target = site.node, site.sources[0], site.target
    if not node.op.moves:
        return None
    if isinstance(node.op, Pad | MaxPool):  # torch has them for floating point only
        return lambda xs: convert(apply(node, [xs[0].float()]), source, target)
    return lambda xs: convert(apply(node, xs), source, target)


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
    v = value.double()
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


def looked_up(op: Op) -> bool:
    """Whether an activation is a table in integers."""
    return isinstance(op, Activation) and op.function == "function"


def unary_table(node: Node, source: TensorFormat, target: TensorFormat) -> Tensor:
    """What a sigmoid or another such function writes for every code 0 .. 2^bits - 1 of its input: shifted codes, or real values
    for a float target; float32 ``[2^bits]``. A table is what integer hardware has, and it makes such functions exact."""
    codes = torch.arange(source.grid.last_code + 1, dtype=torch.float32)
    real = apply(node, [source.decode(codes)])
    return target.stored(real)


@STEPS.register(Activation)
def _activation(site: Site) -> Run | None:
    """A table of integers, where it is one; None where real values are computed."""
    node, source, target = site.node, site.sources[0], site.target
    if source.is_float:
        return None
    table = None
    if looked_up(node.op):
        table = unary_table(node, source, target).to(target.carrier)
    elif site.rule != "f32" and isinstance(node.op, Relu | Relu6) and not source.is_wide and not target.is_wide:
        low, high = (bound - target.zero_point for bound in requant.bounds(node, target))
        table = torch.from_numpy(fixed_point.rescale_table(source, target, low, high))
    if table is None:
        return None
    entries, zero = table, source.zero_point
    return lambda xs: entries[xs[0].long() + zero]
