"""The table of steps, the form of its entries, and what every step shares.

A step takes the tensors that a node reads, as they are carried (codes, or half-precision values), and gives the node's
own. An operator without a step of integers, or whose preparation returns None, is computed in floating point between integer
tensors: decoded, computed, encoded. To add one, register a function under the class of operators; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from hwsearch.quant.engine.convolution import load, store
from hwsearch.quant.engine.simulate import of_decoded
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers
from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.moves.grid_sample import GridSample
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.reductions.norm import LayerNorm, Norm
from searchspaces.ops.reductions.reduce import AvgPool
from searchspaces.ops.reductions.softmax import Softmax
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
STEPS.lacks(f"{_ISLAND}: its rounding is that of the machine, not one that a device shares", Norm)
STEPS.lacks(f"{_ISLAND}: no runtime has an integer form of it", Affine, AvgPool, GridSample)
STEPS.lacks("nobody knows what it computes", Unknown)


def prepared(site: Site) -> Run:
    """The step of a node."""
    prepare = STEPS.get(site.node.op)
    step = prepare(site) if prepare is not None else None
    return step or in_floating_point(site)


def in_floating_point(site: Site) -> Run:
    """Decode, compute, encode."""
    node, sources, target = site.node, site.sources, site.target
    return lambda xs: store(of_decoded(node, [load(x, s) for x, s in zip(xs, sources, strict=True)]), target)


def island(op: Op, *formats: TensorFormat) -> bool:
    """Whether ONNX Runtime computes an operator between integer tensors of these formats in floating point, for want of integers:
    its sums and functions then have the rounding of the machine."""
    return STEPS.get(op) is None or isinstance(op, LayerNorm) or (isinstance(op, Softmax) and any(f.is_wide for f in formats))


def exact(op: Op, *formats: TensorFormat) -> bool:
    """Whether every code of an operator between integer tensors of these formats is claimed equal to ONNX Runtime's. Not so: what
    interpolates, layer normalization, whose sums the runtime adds in another order, and a softmax of 16 bits."""
    return not island(op, *formats) and not (isinstance(op, Resize) and op.mode != "nearest")


def same_grid(a: TensorFormat, b: TensorFormat) -> bool:
    """Whether two integer formats give a code the same meaning and the same container."""
    return a.scale == b.scale and a.zero_point == b.zero_point and a.is_wide == b.is_wide


def cut(source: TensorFormat, target: TensorFormat) -> bool:
    """Whether codes of one integer format may lie beyond the bounds of another, which has the same grid."""
    return source.qmin < target.qmin or source.qmax > target.qmax


def convert(value: Tensor, source: TensorFormat, target: TensorFormat) -> Tensor:
    """A moved tensor in the format of its destination: by construction the same scale and zero point, perhaps tighter bounds."""
    if source.is_float == target.is_float and (source.is_float or same_grid(source, target)):
        if source.carrier != target.carrier:
            value = target.carried(source.shifted(value))
        if not source.is_float and cut(source, target):
            low, high = (bound - target.zero_point + target.origin for bound in (target.qmin, target.qmax))
            value = value.clamp(low, high)
        return value
    return store(load(value, source), target)


@STEPS.register(Input)
def _input(site: Site) -> Run:
    target = site.target
    return lambda xs: store(xs[0], target)
