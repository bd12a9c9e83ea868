"""The noise at the output of the floating-point network that an error inside of it causes.

A ``Bench`` keeps every floating-point tensor of the network on a batch of windows cut from the calibration crops. The effect of
a changed tensor or weight is then measured by executing only what lies behind it. Noise is the mean squared error of the luma of
the output on the 0..255 scale (see ``hwsearch.quality.damage``), against the floating-point network on the same windows.

Assumption: zero padding at the border of a window disturbs few pixels, and disturbs both networks alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from hwsearch.quant.observe.sizes import several
from hwsearch.quant.observe.work import macs_per_pixel
from searchspaces.ir.graph import Graph, Node, apply, execute
from searchspaces.ir.shapes import known_channel_axes
from searchspaces.tasks.luma import output_luma

Change = Callable[[Tensor], Tensor]
PROBES = 2
"""Backward passes of random signs that an estimate of gains is a mean of."""


def quantizes(node: Node) -> bool:
    """Whether a node's values are rounded to a format anew; views and concatenations only move codes."""
    return not node.op.moves


@dataclass(frozen=True, eq=False)
class Gains:
    """How noise reaches the output, to first order.

    ``tensors[node] float64[C]``: white noise of variance v on channel c of the node's tensor adds ``gain[c] * v`` to the noise at
    the output (one number for a tensor without channels, see ``known_channel_axes``). ``convs[name] float64[O, O]``: noise on a
    layer's result, before its fused activation, with covariance V between channels and white in space adds ``trace(gain @ V)``.
    """

    tensors: Mapping[str, np.ndarray]
    convs: Mapping[str, np.ndarray]

    def scaled(self, scales: Mapping[str, np.ndarray]) -> Gains:
        """The gains after channel c of each named convolution's tensor has been divided by ``scales[name][c]``."""
        tensors, convs = dict(self.tensors), dict(self.convs)
        for name, s in scales.items():
            tensors[name] = tensors[name] * s**2
            convs[name] = convs[name] * s[:, None] * s[None, :]
        return Gains(tensors, convs)


_BEFORE = " before activation"


def unfused(graph: Graph) -> Graph:
    """The same function with every fused activation as a node of its own, so that gradients before it can be seen."""
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.activation is None:
            nodes.append(node)
            continue
        first = node.name + _BEFORE
        nodes.append(replace(node.with_op(activation=None), name=first))
        nodes.append(Node(node.name, node.activation, (first,), node.weights))
    return Graph(graph.name, tuple(nodes))


def _passed(tensors: Mapping[str, Change], node: Node, y: Tensor) -> Tensor | None:
    return tensors[node.name](y) if node.name in tensors else None


@dataclass(frozen=True, eq=False)
class _Pass:
    """One pass through the floating-point network: its tensors by name, the luma of its output. Of a network with state the
    tensors are those of the last frame, but for the input, which is the clip."""

    graph: Graph
    tensors: Mapping[str, Tensor]
    luma: Tensor

    @classmethod
    def of(cls, graph: Graph, x: Tensor) -> _Pass:
        seen: dict[str, Tensor] = {}
        with torch.no_grad():
            luma = output_luma(execute(graph, x, lambda node, y: seen.__setitem__(node.name, y)))
        seen[graph.input.name] = x
        return cls(graph, seen, luma)

    def changed(self, tensors: Mapping[str, Change], nodes: Mapping[str, Node]) -> Tensor:
        """The output when the named tensors are passed through functions, and named nodes exchanged."""
        if self.graph.remembered:  # what changes in one frame changes all that follow
            with torch.no_grad():
                return execute(self.graph.replaced(nodes), self.tensors[self.graph.input.name], partial(_passed, tensors))
        dirty: dict[str, Tensor] = {}
        with torch.no_grad():
            for node in self.graph.nodes:
                value = self.tensors[node.name]
                if node.name in nodes or any(source in dirty for source in node.inputs):
                    inputs = [dirty.get(source, self.tensors[source]) for source in node.inputs]
                    value = dirty[node.name] = apply(nodes.get(node.name, node), inputs)
                if node.name in tensors:
                    dirty[node.name] = tensors[node.name](value)
        return dirty.get(self.graph.output.name, self.tensors[self.graph.output.name])


class Bench:
    """The floating-point network on pictures ``x [N, C, h, w]``, ready to measure what a change does to the output.

    Args:
        frames: of a network with state how many of them are one clip.
    """

    def __init__(self, graph: Graph, x: Tensor, frames: int = 1) -> None:
        self.graph, self._x, self._frames = graph, x, frames

    @cached_property
    def _parts(self) -> tuple[Tensor, ...]:
        """The pictures that are run at once, or the clips."""
        return (self._x,) if several(self.graph) else tuple(self._x.split(self._frames))

    @cached_property
    def _passes(self) -> list[_Pass]:
        sized = self.graph.at(*self._x.shape[2:])
        return [_Pass.of(sized, part) for part in self._parts]

    @property
    def macs(self) -> float:
        """Multiply-accumulates of one measurement of what lies at the input; what lies further behind takes less."""
        return macs_per_pixel(self.graph, self._x.shape[1]) * self._x.shape[0] * self._x.shape[2] * self._x.shape[3]

    def noise(self, tensors: Mapping[str, Change], nodes: Mapping[str, Node] | None = None) -> float:
        """Noise power at the output when the named tensors are passed through functions, and named nodes exchanged."""
        found = [torch.mean((output_luma(one.changed(tensors, nodes or {})) - one.luma).double() ** 2) for one in self._passes]
        return float(torch.stack(found).mean())

    def gains(self, seed: int = 0) -> Gains:
        """Noise gains of all tensors and convolutions, by backward passes of random signs at the output (Hutchinson's
        estimator)."""
        generator = torch.Generator().manual_seed(seed)
        separate, seen = unfused(self.graph), _Gradients(self.graph)
        for part in (part for _ in range(PROBES) for part in self._parts):
            luma = output_luma(execute(separate, part, seen.watch))
            signs = torch.randint(0, 2, luma.shape, generator=generator).float() * 2 - 1
            seen.share = 1.0 / (luma.numel() * PROBES * len(self._parts))
            (luma * signs).sum().backward()
            seen.end()
        return Gains(seen.tensors, seen.convs)


class _Gradients:
    """What gradients say of the tensors of a network; none is kept beyond that.

    Attributes:
        share: of the pass that is under way in the mean over all.
    """

    def __init__(self, graph: Graph) -> None:
        self.tensors: dict[str, np.ndarray] = {}
        self.convs: dict[str, np.ndarray] = {}
        self.share = 0.0
        self._axes = known_channel_axes(graph)
        self._layers = {node.name + _BEFORE if node.activation is not None else node.name: node.name for node in graph.convs}
        self._shapes: dict[str, torch.Size] = {}

    def watch(self, node: Node, y: Tensor) -> Tensor:
        """A tensor of the forward pass whose gradient is wanted."""
        y = y if y.requires_grad else y.detach().requires_grad_()
        y.register_hook(partial(self._add, node.name))
        self._shapes[node.name] = y.shape
        return y

    def _add(self, name: str, gradient: Tensor) -> None:
        if name in self._axes:
            # A channel's variance is a mean over its positions; its noise is the sum over them.
            squared = gradient.square().sum(dim=others(gradient, self._axes[name])).double().view(-1).numpy() * self.share
            self.tensors[name] = self.tensors.get(name, 0.0) + squared
        if (layer := self._layers.get(name)) is not None:
            rows = gradient.movedim(self._axes[layer] or 0, 0).flatten(1)
            self.convs[layer] = self.convs.get(layer, 0.0) + (rows @ rows.T).double().numpy() * self.share

    def end(self) -> None:
        """After a pass: what the output does not depend on got no gradient."""
        for name, shape in self._shapes.items():
            layer = self._layers.get(name)
            if (name in self._axes and name not in self.tensors) or (layer is not None and layer not in self.convs):
                self._add(name, torch.zeros(shape))
        self._shapes.clear()


def others(x: Tensor, axis: int | None) -> list[int]:
    """Every axis but that of the channels; all of them where there are no channels."""
    return [place for place in range(x.ndim) if axis is None or place != axis % x.ndim]
