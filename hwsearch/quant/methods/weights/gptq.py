"""GPTQ: weights rounded one after the other, each error made up for by those not yet rounded.

Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers". With H the second
moment of what a layer reads, column i is rounded on its channel's scale and ``(w_i - q_i) / U_ii`` times row i of U is taken
from the columns behind it, ``H^-1 = U^T U``; 1 % of H's mean diagonal is added to it. Columns go from the largest diagonal to
the smallest (the "act order" of its repository); scales reach the largest weight of a channel. Biases stay as they are. GPTQ is
about weights alone: tensors are clipped as by the method ``mse``.
"""

from __future__ import annotations

import numpy as np

from hwmodels.numbers import Int
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.network.rewriting import Scales
from hwsearch.quant.observations import Observations
from hwsearch.quant.observe.moments import pooled
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static, rounded_layer
from hwsearch.quant.weights import reach
from hwsearch.quant.weights.rounder import RoundedLayer
from hwsearch.quant.weights.rounding import compensated

INFO = MethodInfo(
    title="GPTQ",
    summary="weights rounded with the errors made up for by later ones; ranges of least squared error",
    source="Frantar et al., ICLR 2023; its repository",
    reconstructed="the ranges of tensors, which it leaves alone",
    family="as traced",
)
DAMPING = 0.01
"""Over the mean diagonal of the second moment, as in its repository."""


def observe(seen: Observations) -> Gptq:
    """See ``quant.method.MethodModule``."""
    return Gptq(seen, bounds.least_squares)


class Gptq(Static):
    """See ``quant.method.Method``."""

    def layer(self, name: str, number: Int, scales: Scales) -> RoundedLayer:
        """Rounded column by column, every group of channels by itself."""
        if number.is_wide:
            return super().layer(name, number, scales)
        node, limit = self.graph[name], number.narrow_limit
        moments = pooled(self._seen.moments, self.graph.weight_groups[name])
        groups, size = moments.mean.shape
        rows = node.weights["weight"].numpy().reshape(groups, -1, size)
        integers, steps = [], []
        for own, second in zip(rows, moments.about_zero(), strict=True):
            step = (reach.largest(own, number.bits) / limit).astype(np.float32)
            integers.append(compensated(own, second, step, limit, DAMPING))
            steps.append(step)
        return rounded_layer(node, number, np.concatenate(integers), np.concatenate(steps), "compensated")
