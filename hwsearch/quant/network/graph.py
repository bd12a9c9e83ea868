"""The quantized network: number formats of every tensor, integers of every layer. Engine and exporters read this and
nothing else.

What a tensor's format means is said in ``formats``. Weights are symmetric per output channel in the narrow range
``-(2^(b-1) - 1) .. 2^(b-1) - 1``.

Requantization follows the rule named in ``QuantizedGraph.rule``, one of ``requant.RULES``: "f32" (ONNX Runtime), "xnnpack"
(LiteRT) or "gemmlowp" (TFLite Micro, CMSIS-NN). ``requant`` says what each computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import Tensor

from hwmodels.numbers import FP16, Float
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.picture_edges import density
from searchspaces.ir.graph import Graph


def as_kernel(weight: np.ndarray) -> np.ndarray:
    """Weights with the four axes of a convolution's: a linear layer's ``[O, I]`` as ``[O, I, 1, 1]``."""
    return weight.reshape(*weight.shape, *[1] * (4 - weight.ndim))


@dataclass(frozen=True, eq=False)
class LayerIntegers:
    """A layer executed in integers: ``weight int8[O, I/groups, kh, kw]`` (``[O, I, 1, 1]`` of a linear layer), ``scale
    float32[O]``, ``bias int64[O]`` in units of ``s_x * s_w``.

    ``bits`` is the width the weights were rounded to.
    """

    bits: int
    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class LayerFloats:
    """A layer that the device executes in floating point: ``weight float32[O, I/groups, kh, kw]``, ``bias float32[O]``, both
    already rounded to ``computed`` (of at most a byte: weights by the scale of their channel, biases to half precision), and the
    weight to its own number of ``bits`` before, where that is narrower."""

    bits: int
    weight: np.ndarray
    bias: np.ndarray
    computed: Float = FP16


@dataclass(frozen=True, eq=False)
class ByPicture:
    """Other numbers of the same network for pictures with few edges and with many: with fewer bits below ``low``, with more above
    ``high`` (of ``picture_edges.density``)."""

    low: float
    high: float
    fewer: QuantizedGraph
    more: QuantizedGraph


@dataclass(frozen=True, eq=False)
class QuantizedGraph:
    """A network whose every number format is decided.

    Attributes:
        graph: the structure; slopes of PReLU and attributes are read from it, weights of convolutions are not.
        formats: node name -> format of its tensor.
        layers: convolution name -> its numbers.
        rule: requantization rule, one of ``requant.RULES``.
        by_picture: what takes its place for some pictures; None: nothing.
        remarks: sentences about how its numbers came to be that whoever uses them must know.
    """

    graph: Graph
    formats: Mapping[str, TensorFormat]
    layers: Mapping[str, LayerIntegers | LayerFloats]
    rule: str = "f32"
    by_picture: ByPicture | None = None
    remarks: tuple[str, ...] = ()

    def offset(self, x: Tensor) -> int:
        """-1, 0 or 1: whether a picture ``[1, C, h, w]`` has fewer bits, these, or more."""
        if self.by_picture is None:
            return 0
        found = density(x)
        return int(found > self.by_picture.high) - int(found < self.by_picture.low)

    def of_picture(self, x: Tensor) -> QuantizedGraph:
        """The numbers for a picture ``[1, C, h, w]``."""
        if self.by_picture is None:
            return self
        return (self.by_picture.fewer, self._usual, self.by_picture.more)[1 + self.offset(x)]

    @cached_property
    def _usual(self) -> QuantizedGraph:
        """One object, because engines are kept by network."""
        return replace(self, by_picture=None)

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Layers that are executed in floating point, by name."""
        return tuple(name for name, layer in self.layers.items() if isinstance(layer, LayerFloats))


def same_weights(qgraph: QuantizedGraph, name: str) -> str:
    """The first layer that has the numbers of a layer's weights, scales included: itself, or one that uses the same weights. In
    floating point and in integers the same weights are different numbers."""
    layer = qgraph.layers[name]
    return next(other for other in qgraph.graph.weight_groups[name] if _alike(qgraph.layers[other], layer))


def _alike(one: LayerIntegers | LayerFloats, other: LayerIntegers | LayerFloats) -> bool:
    if type(one) is not type(other) or one.bits != other.bits or not np.array_equal(one.weight, other.weight):
        return False
    return not (isinstance(one, LayerIntegers) and isinstance(other, LayerIntegers)) or np.array_equal(one.scale, other.scale)
