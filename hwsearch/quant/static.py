"""What most published methods start from: the network as it is, one static range a tensor, weights rounded to the nearest.

No tensor is rescaled and no bias is corrected. Weights are symmetric per output channel in the narrow range, tensors have one
range and a zero point, as the integer arithmetic of devices wants it; papers that quantize weights per tensor, or with a zero
point of their own, are so given the finer of two grids or a slightly coarser one, and their files say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from hwmodels.errors import UsageError
from hwmodels.numbers import Int
from hwsearch.quant.learn.bounds import train
from hwsearch.quant.learn.distillation import Distillation
from hwsearch.quant.method import Draft, Progress
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.quant.network.rewriting import Numbers, Scales
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges.bounds import Bounds
from hwsearch.quant.ranges.ranges import range_format, wide_format
from hwsearch.quant.weights import reach
from hwsearch.quant.weights.reach import Reach
from hwsearch.quant.weights.rounder import RoundedLayer, bias_of, columns_of, multiplied
from hwsearch.quant.weights.rounding import nearest
from searchspaces.ir.graph import Graph, Node


class Static:
    """See ``quant.method.Method``. ``bounds``: the ends of tensors; ``clip``: those of weights; ``distillation``: how both are
    trained in the end, None: not at all."""

    def __init__(
        self, seen: Observations, bounds: Bounds, clip: Reach = reach.largest, distillation: Distillation | None = None
    ) -> None:
        self._seen, self._bounds, self._clip, self._distillation = seen, bounds, clip, distillation

    @property
    def graph(self) -> Graph:
        """The network as traced."""
        return self._seen.graph

    def rewrite(self, numbers: Numbers) -> Mapping[str, Scales]:
        """Nothing is rescaled."""
        return {}

    def tensor(self, group: str, number: Int, scales: Scales) -> TensorFormat:
        """The range that ``bounds`` gives."""
        spread = self._seen.spreads[group].spread(scales.factors)
        if number.is_wide:
            return wide_format(spread, number)
        return range_format(*_ends(self._bounds(spread, number), group), number, symmetric=self._seen.symmetric)

    def layer(self, name: str, number: Int, scales: Scales) -> RoundedLayer:
        """The nearest integers on the scales that ``clip`` gives."""
        node, limit = self.graph[name], number.narrow_limit
        node = multiplied(node, columns_of(node, scales))
        rows = rows_of(node)
        clip = reach.largest if number.is_wide else self._clip
        scale = (clip(rows, number.bits) / limit).astype(np.float32)
        return rounded_layer(node, number, nearest(rows, scale, limit), scale, "nearest")

    def finish(self, draft: Draft, seed: int, progress: Progress | None = None) -> QuantizedGraph:
        """Bounds are trained where there is a ``Distillation``."""
        return draft.quantized if self._distillation is None else train(draft, self._distillation, seed, progress)


def _ends(found: object, group: str) -> tuple[float, float]:
    """The ends of a range as a method gives them, and zero, which is always a code. Raises UsageError where they are none."""
    try:
        low, high = map(float, found)  # type: ignore[call-overload]  # which is what is tried
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise UsageError(f"the method's range of {group} is {found!r}", "It must be two finite numbers, the lower end first.")
    return min(low, 0.0), max(high, 0.0)


def rows_of(node: Node) -> np.ndarray:
    """The weights of a layer, one output channel a row: ``float32[O, K]``."""
    rows: np.ndarray = node.weights["weight"].flatten(1).numpy()
    return rows


def rounded_layer(node: Node, number: Int, q: np.ndarray, scale: np.ndarray, method: str) -> RoundedLayer:
    """Integers ``[O, K]`` and scales ``float32[O]`` as a layer whose bias stays as it is."""
    integers = q.reshape(node.weights["weight"].shape).astype(np.int16 if number.is_wide else np.int8)
    return RoundedLayer(number.bits, integers, scale, bias_of(node), method)
