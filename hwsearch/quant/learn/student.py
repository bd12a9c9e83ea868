"""The fake-quantized network of a plan while numbers of it are trained: how it runs, and the integers that it comes to stand for.

Which numbers those are, and what they begin with, is the trainer's: bounds alone (``bounds``), or all of them (``together``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from hwmodels.errors import UsageError
from hwmodels.numbers import Int
from hwsearch.quant.engine.simulate import as_real
from hwsearch.quant.learn import segments
from hwsearch.quant.learn.damped import damped, least_rows
from hwsearch.quant.learn.quantizers.straight_through import stored
from hwsearch.quant.method import Draft
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from hwsearch.quant.ranges.given import share_groups
from hwsearch.quant.ranges.ranges import clamped, format_source
from hwsearch.quant.weights.sums import tied
from searchspaces.ir.graph import Graph, Node, apply
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import activate
from searchspaces.ops.reductions.norm import Norm

T = TypeVar("T")


class TrainedTensor(Protocol):
    """The quantizer of a tensor."""

    def step(self) -> Tensor | float: ...

    def fake(self, x: Tensor) -> Tensor: ...

    def format(self) -> TensorFormat: ...


class TrainedLayer(Protocol):
    """The integers of a layer."""

    def fake(self) -> Tensor: ...

    def fake_bias(self, step: Tensor | float) -> Tensor:
        """The bias in units of the sums of a layer that reads a tensor of that step."""
        ...

    def integers(self, source: TensorFormat) -> LayerIntegers: ...


def trained_groups(start: QuantizedGraph) -> dict[str, TensorFormat]:
    """The quantizers of tensors that may be trained: of at most a byte, and on no grid that is given, as those of pictures and
    of shares are."""
    graph = start.graph
    groups = graph.quantizer_groups()
    given = {groups[graph.input.name], groups[graph.output.name], *share_groups(graph)}
    found: dict[str, TensorFormat] = {}
    for node in graph.nodes:
        fmt, group = start.formats[node.name], groups[node.name]
        if not (fmt.is_float or (fmt.is_wide and fmt.normalized is None) or group in given):
            found.setdefault(group, fmt)
    return found


def trained_layers(start: QuantizedGraph) -> dict[str, LayerIntegers]:
    """The layers whose integers may be trained: of at most a byte."""
    return {
        name: layer for name, layer in start.layers.items() if isinstance(layer, LayerIntegers) and not Int(layer.bits).is_wide
    }


def by_layer(start: QuantizedGraph, make: Callable[[str, LayerIntegers, T | None], T]) -> dict[str, T]:
    """What is trained of every layer, by name. ``make`` gets its name, its integers, and the same of the layer whose weights it
    uses, where that is another one."""
    found: dict[str, T] = {}
    for name, layer in trained_layers(start).items():
        first = next((found[user] for user in start.graph.weight_groups[name] if user in found), None)
        found[name] = make(name, layer, first)
    return found


def once(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Each of what is trained once: layers with the same weights train the same tensors."""
    return list({id(tensor): tensor for tensor in tensors}.values())


class FakeQuantized:
    """The network of a draft, with ``tensors`` by quantizer group and ``layers`` by name that are trained. Other layers are
    executed with the real numbers that their integers, or floats, stand for.

    Attributes:
        most_values: see ``segments``.
    """

    most_values = segments.MOST_VALUES

    def __init__(
        self,
        draft: Draft,
        tensors: Mapping[str, TrainedTensor],
        layers: Mapping[str, TrainedLayer],
    ) -> None:
        start = draft.quantized
        if start.graph.remembered:
            raise UsageError(
                f"{start.graph.name} has state between frames, and this method trains on single pictures",
                "Take a method that does not train; `hwsearch methods` lists them.",
            )
        self._draft, self.start, self.graph = draft, start, start.graph
        self._group_of = self.graph.quantizer_groups()
        self._quantizers, self._weighted = tensors, layers
        self._fixed = {
            name: as_real(self.graph[name], layer, start.formats[self.graph[name].inputs[0]])
            for name, layer in start.layers.items()
            if name not in layers
        }

    @cached_property
    def _least(self) -> dict[str, float]:
        return least_rows(self._draft.network, self._draft.pictures)

    def values(self, x: Tensor, graph: Graph, wanted: Sequence[str], exact: Collection[str] = ()) -> list[Tensor]:
        """The tensors of the names ``wanted`` for ``x [N, C, h, w]``; ``graph``: the network at that size. ``exact``: nodes that
        compute in floating point from others of them; what the others read of them is stored in its format first."""

        def value(node: Node, inputs: list[Tensor]) -> Tensor:
            if node.name in exact:
                return inputs[0] if isinstance(node.op, Input) else apply(node, inputs)
            named = zip(node.inputs or ("",), inputs, strict=True)
            return self._value(node, [self._read(name, x) if name in exact else x for name, x in named])

        return segments.executed(graph, x, value, wanted, self.most_values)

    def spoilt(self, x: Tensor) -> str:
        """The first node that writes what is not finite for one of the pictures ``x [N, C, h, w]``; "" for none."""
        found: list[str] = []

        def value(node: Node, inputs: list[Tensor]) -> Tensor:
            y = self._value(node, inputs)
            found.extend([] if bool(y.isfinite().all()) else [node.name])
            return y

        with torch.no_grad():
            for one in x.split(1):
                segments.executed(self.graph.at(*x.shape[2:]), one, value, [self.graph.output.name], self.most_values)
                if found:
                    return found[0]
        return ""

    def _read(self, name: str, value: Tensor) -> Tensor:
        """What a quantized node reads of a tensor in floating point."""
        return self._stored(self.graph[name], value)

    def _value(self, node: Node, inputs: list[Tensor]) -> Tensor:
        value = inputs[0] if isinstance(node.op, Input) else self._computed(node, inputs)
        return value if node.op.moves else self._stored(node, value)

    def _computed(self, node: Node, inputs: list[Tensor]) -> Tensor:
        layer = self._weighted.get(node.name)
        if layer is None:
            if isinstance(node.op, Norm) and inputs[0].requires_grad:
                inputs = [damped(node.op, inputs[0], self._least[node.name])]
            return apply(self._fixed.get(node.name, node), inputs)
        source = self._quantizers.get(self._group_of[node.inputs[0]])
        step = self.start.formats[node.inputs[0]].scale if source is None else source.step()
        bare = node.with_op(activation=None).with_weights(weight=self._weight(node.name), bias=layer.fake_bias(step))
        return activate(apply(bare, inputs), node.activation, node.weights)

    def _weight(self, name: str) -> Tensor:
        """The fake-quantized weights of a layer, as it uses them."""
        return self._weighted[name].fake()

    def _stored(self, node: Node, value: Tensor) -> Tensor:
        tensor = self._quantizers.get(self._group_of[node.name])
        return stored(value, self.start.formats[node.name]) if tensor is None else tensor.fake(value)

    def quantized(self) -> QuantizedGraph:
        """The integers that it stands for."""
        formats = dict(self.start.formats)
        for node in self.graph.nodes:
            if (tensor := self._quantizers.get(self._group_of[node.name])) is not None:
                formats[node.name] = clamped(tensor.format(), format_source(self.graph, node))
        layers = {
            name: self._weighted[name].integers(formats[self.graph[name].inputs[0]]) if name in self._weighted else layer
            for name, layer in self.start.layers.items()
        }
        return replace(self.start, formats=formats, layers=tied(self.graph, layers))
