"""CondiQuant: weights whose singular values lie closer together, then 2DQuant.

arXiv 2502.15478. The rounding error d of what a layer reads becomes W d: how much, at worst, beside W x, the condition number of
W tells. Before rounding W changes so that its singular values come closer while the output stays,

    min  E |(W - W0) x|^2 / 2 + lambda G(W),

by proximal gradient steps. The regulariser is not to be had. Here ``G = sum_i (s_i - mean s)^2 / 2`` over singular values; its
proximal map keeps singular vectors and the mean, and gives ``s_i <- (s_i + t m) / (1 + t)`` with ``t = lambda`` times the step,
which is one over the largest eigenvalue of ``E[x x^T]``. lambda is 0.05 of the mean eigenvalue. Bounds follow as in 2DQuant.
The paper brings 3,000 down to 28 on a transformer; convolutions of FSRCNN and IMDN have 2 to 16 before.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hwmodels.numbers import Int
from hwsearch.quant.learn.bounds import train
from hwsearch.quant.method import Draft, MethodInfo, Progress
from hwsearch.quant.methods.learned.twodquant import DISTILLATION
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.quant.network.rewriting import Scales
from hwsearch.quant.observations import Observations
from hwsearch.quant.observe.moments import pooled
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static, rounded_layer, rows_of
from hwsearch.quant.weights import reach
from hwsearch.quant.weights.rounder import RoundedLayer
from hwsearch.quant.weights.rounding import nearest
from searchspaces.ir.graph import Node

INFO = MethodInfo(
    title="CondiQuant",
    summary="singular values of the weights brought closer together before 2DQuant's search and distillation",
    source="arXiv 2502.15478",
    reconstructed="the regulariser and its proximal map; rates and steps as in twodquant",
    trains=True,
)
STRENGTH = 0.05
"""lambda over the mean eigenvalue of the input's second moment."""
STEPS = 100
"""Of the proximal gradient, for each layer; ours."""


def observe(seen: Observations) -> CondiQuant:
    """See ``quant.method.MethodModule``."""
    return CondiQuant(seen)


def proximal(weight: np.ndarray, t: float) -> np.ndarray:
    """The ``W`` that makes ``|W - weight|^2 / 2 + t G(W)`` least, ``float64[O, K]``."""
    left, values, right = np.linalg.svd(weight, full_matrices=False)
    found: np.ndarray = (left * ((values + t * values.mean()) / (1 + t))) @ right
    return found


def conditioned(weight: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Weights ``float64[O, K]`` of a layer that reads vectors of second moment ``[K, K]``, better conditioned."""
    eigenvalues = np.linalg.eigvalsh(second)
    largest = float(eigenvalues[-1])
    if largest <= 0 or min(weight.shape) < 2:
        return weight
    t = STRENGTH * float(eigenvalues.mean()) / largest
    found = weight
    for _ in range(STEPS):
        found = proximal(found - (found - weight) @ second / largest, t)
    return found


class CondiQuant(Static):
    """See ``quant.method.Method``."""

    def __init__(self, seen: Observations) -> None:
        super().__init__(seen, bounds.by_shape, reach.least_squares, DISTILLATION)
        self._conditioned: dict[str, Node] = {}

    def layer(self, name: str, number: Int, scales: Scales) -> RoundedLayer:
        """The nearest integers of the conditioned weights."""
        if number.is_wide:
            return super().layer(name, number, scales)
        node, limit = self._node(name), number.narrow_limit
        rows = rows_of(node)
        scale = (reach.least_squares(rows, number.bits) / limit).astype(np.float32)
        return rounded_layer(node, number, nearest(rows, scale, limit), scale, "nearest")

    def finish(self, draft: Draft, seed: int, progress: Progress | None = None) -> QuantizedGraph:
        """Bounds are trained about the conditioned weights."""
        network = draft.network.replaced({node.name: self._node(node.name) for node in self.graph.convs})
        return train(replace(draft, network=network), DISTILLATION, seed, progress)

    def _node(self, name: str) -> Node:
        if name not in self._conditioned:
            node, users = self.graph[name], self.graph.weight_groups[name]
            if users[0] != name:
                return node.with_weights(weight=self._node(users[0]).weights["weight"])
            weight = node.weights["weight"]
            moments = pooled(self._seen.moments, users)
            groups, size = moments.mean.shape
            rows = weight.double().numpy().reshape(groups, -1, size)
            found = np.stack([conditioned(own, second) for own, second in zip(rows, moments.about_zero(np.float64), strict=True)])
            self._conditioned[name] = node.with_weights(weight=torch.from_numpy(found).float().reshape(weight.shape))
        return self._conditioned[name]
