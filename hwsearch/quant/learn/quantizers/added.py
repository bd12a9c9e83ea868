"""What is trained beside the bounds of a plan, and is gone when it runs: scales of channels, low-rank branches, biases.

A scale ``s`` of a channel multiplies it before it is rounded, and divides the weights that read it: ``Q(s x) Q(W / s)`` (an
equivalent transformation, as in SmoothQuant, Xiao et al. 2023). It folds where ``weights.equalize`` can scale: into the integers'
scales and the bias of the layer before, behind a homogeneous activation, one for all readers. Elsewhere there is none.

A low-rank branch (``searchspaces.ir.branches``) is trained as the factors of which its layer has the rest: ``W - U V`` moves as
they do, with their own rounding in it, so that the layer makes up for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hwsearch.quant.learn.quantizers.weights import Weights
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, as_kernel
from hwsearch.quant.weights.equalize import equalizable
from hwsearch.quant.weights.sums import layer_integers
from searchspaces.ir import branches
from searchspaces.ir.graph import Graph

FINEST = 8
"""Bits of the step in which the bias of a layer that writes finer ones counts."""


class ChannelScales:
    """The scales of one tensor's channels, as logarithms ``[C]``: nothing at first."""

    def __init__(self, channels: int) -> None:
        self.change = torch.zeros(channels, requires_grad=True)

    def of(self, x: Tensor) -> Tensor:
        """What multiplies ``x``, whose second axis has the channels."""
        found: Tensor = self.change.exp().view(-1, *[1] * (x.ndim - 2))
        return found

    def rows(self, weight: Tensor) -> Tensor:
        """What multiplies ``weight [C, ...]`` of the layer that writes the tensor."""
        found: Tensor = self.change.exp().view(-1, *[1] * (weight.ndim - 1))
        return found

    def columns(self, weight: Tensor) -> Tensor:
        """What divides ``weight [O, C / G, ...]`` of a layer that reads the tensor in G groups."""
        groups = len(self.change) // weight.shape[1]
        found: Tensor = self.change.exp().view(groups, 1, -1).expand(-1, len(weight) // groups, -1)
        return found.reshape(*weight.shape[:2], *[1] * (weight.ndim - 2))


def channel_scales(graph: Graph, tensors: Iterable[str], layers: Mapping[str, object]) -> dict[str, ChannelScales]:
    """A layer's name -> scales of what it writes, where they fold. ``tensors``: quantizer groups, and ``layers``, that are
    trained: of a grid that stays nothing is scaled."""
    groups, trained, found = graph.quantizer_groups(), set(tensors), dict[str, ChannelScales]()
    for name in equalizable(graph):
        if groups[name] in trained and all(user in layers for user in (name, *(node.name for node in graph.readers(name)))):
            found[name] = ChannelScales(len(graph[name].weights["weight"]))
    return found


@dataclass(frozen=True, eq=False)
class Around:
    """What is trained around one layer: scales of what it reads and writes, and its bias, in units of ``bias_step``."""

    reads: ChannelScales | None = None
    writes: ChannelScales | None = None
    bias_step: float = 1.0


class AddedWeights(Weights):
    """The weights of a layer with what is trained around it.

    Attributes:
        beside: the factors of its branch, ``down`` and ``up``; None: it has none that is trained.
    """

    def __init__(
        self,
        layer: LayerIntegers,
        weight: Tensor,
        source: TensorFormat,
        rank: int,
        first: Weights | None,
        around: Around,
    ) -> None:
        super().__init__(layer, weight, source, rank, first)
        self.around = around
        self.bias_change = torch.zeros(len(weight), requires_grad=True)
        self.beside: tuple[AddedWeights, AddedWeights] | None = None
        self._begun = torch.zeros(())

    def leave_to(self, down: Weights, up: Weights) -> None:
        """The layer has what the product of two factors leaves of it."""
        assert isinstance(down, AddedWeights)
        assert isinstance(up, AddedWeights)
        self.beside = (down, up)
        self._begun = branches.product(down.weight.detach(), up.weight.detach())

    @property
    def weight(self) -> Tensor:
        """What is rounded."""
        found = self._unscaled()
        return found if self.around.reads is None else found / self.around.reads.columns(found)

    def _unscaled(self) -> Tensor:
        found = super().weight
        if self.beside is None:
            return found
        down, up = self.beside
        return found + self._begun - branches.product(down.stands_for(), up.stands_for())

    def stands_for(self) -> Tensor:
        """What the integers are of the weights, as if no channel were scaled."""
        found = super().fake()
        return found if self.around.reads is None else found * self.around.reads.columns(found)

    def fake(self) -> Tensor:
        found = super().fake()
        return found if self.around.writes is None else found * self.around.writes.rows(found)

    def fake_bias(self, step: Tensor | float) -> Tensor:
        found = super().fake_bias(step)
        return found if self.around.writes is None else found * self.around.writes.rows(found)

    def _real_bias(self) -> Tensor:
        return self.bias + (self.bias_change * self.around.bias_step).double()

    def integers(self, source: TensorFormat) -> LayerIntegers:
        with torch.no_grad():
            scale, bias = self._scale(), self._real_bias()
            if self.around.writes is not None:
                scale, bias = scale * self.around.writes.rows(scale), bias * self.around.writes.rows(bias)
            q = as_kernel(self._codes().to(torch.int8).numpy())
            return layer_integers(self.bits, q, scale.numpy(), bias.numpy(), source)


def bias_step(written: TensorFormat) -> float:
    """The unit of a bias that is trained: a step of what its layer writes, of at most ``FINEST`` bits."""
    if written.is_float:
        return 2.0**-FINEST
    reach: float = (written.qmax - written.qmin) * written.scale
    return max(written.scale, reach / (2.0**FINEST - 1))
