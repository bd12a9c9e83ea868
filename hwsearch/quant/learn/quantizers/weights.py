"""Trained bounds of a layer's weights, and what is added to the weights before they are rounded."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import Int
from hwsearch.quant.learn.distillation import FULL
from hwsearch.quant.learn.quantizers.straight_through import rounded
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, as_kernel
from hwsearch.quant.weights.sums import layer_integers


def _increment(weight: Tensor, rank: int) -> tuple[Tensor, ...] | None:
    """What is trained beside a layer's weights: factors ``[O, rank]`` and ``[rank, K]``, or a whole matrix ``[O, K]``; nothing at
    first. None for rank 0."""
    if rank == 0:
        return None
    rows, columns = weight.flatten(1).shape
    if rank == FULL:
        return (torch.zeros(rows, columns, requires_grad=True),)
    down = torch.randn(rank, columns, generator=torch.Generator().manual_seed(columns)) / rank**0.5
    return torch.zeros(rows, rank, requires_grad=True), down.requires_grad_(True)


class Weights:
    """The ends of one layer's channels: magnitudes ``[O]``. With a rank, ``up @ down`` of that rank is added to the weights, in
    units of their deviation (of itself where there is a single one); it begins as nothing, and is merged before rounding.
    ``first``: the layer whose weights these are, where another has them; ``largest``: each end is the largest weight of the
    moment, and not trained."""

    def __init__(
        self,
        layer: LayerIntegers,
        weight: Tensor,
        source: TensorFormat,
        rank: int = 0,
        first: Weights | None = None,
        *,
        largest: bool = False,
    ) -> None:
        self.largest = largest
        self.bits, self.limit, self._float = layer.bits, Int(layer.bits).narrow_limit, weight
        self.increment: tuple[Tensor, ...] | None = _increment(weight, rank) if first is None else first.increment
        self.start = torch.from_numpy(layer.scale)
        self.bias = torch.from_numpy(layer.bias * (layer.scale.astype(np.float64) * source.scale))
        self.change: Tensor = torch.zeros_like(self.start, requires_grad=True) if first is None else first.change

    @property
    def weight(self) -> Tensor:
        """What is rounded: the weights, and what is added to them."""
        if self.increment is None:
            return self._float
        added = self.increment[0] if len(self.increment) == 1 else self.increment[0] @ self.increment[1]
        unit = self._float.std() if self._float.numel() > 1 else self._float.abs()
        found: Tensor = self._float + added.view_as(self._float) * unit
        return found

    def _scale(self) -> Tensor:
        if self.largest:
            reach = self.weight.detach().abs().flatten(1).amax(dim=1)
            return torch.where(reach > 0, reach / self.limit, self.start)
        found: Tensor = self.start * self.change.exp()
        return found

    def _codes(self) -> Tensor:
        scale = self._scale().view(-1, *[1] * (self.weight.ndim - 1))
        return rounded((self.weight / scale).clamp(-self.limit, self.limit))

    def fake(self) -> Tensor:
        return self._codes() * self._scale().view(-1, *[1] * (self.weight.ndim - 1))

    def fake_bias(self, step: Tensor | float) -> Tensor:
        """The bias in units of the sums of a layer that reads a tensor of that step."""
        unit = self._scale() * step
        return rounded(self._real_bias().float() / unit) * unit

    def _real_bias(self) -> Tensor:
        return self.bias

    def integers(self, source: TensorFormat) -> LayerIntegers:
        with torch.no_grad():
            scale, q = self._scale().numpy(), as_kernel(self._codes().to(torch.int8).numpy())
            return layer_integers(self.bits, q, scale, self._real_bias().numpy(), source)
