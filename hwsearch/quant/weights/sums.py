"""The integers of a layer, made such that its sums fit the accumulators of runtimes, whatever they are given.

A bias counts in units of ``s_x * s_w``. Beside weights that are small, or an input whose step is, a large bias has more units
than 32 bits hold, and clipping it would be wrong without a word. So the limit is met where the integers are made: the scale of
such an output channel is widened, its weights are rounded again on it, and bias and products together stay below the limit.
The channel loses precision of its weights, which against such a bias is worth little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from hwmodels.numbers import Int
from hwsearch.quant.engine.proof import FLOAT64_LIMIT, INT32_LIMIT, largest_sums
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers
from searchspaces.ir.graph import Graph

ROOM = 1 + 2.0**-12
"""How much wider than what just fits: rounding the weights again may add half a unit each."""
ATTEMPTS = 64
SMALLEST_UNIT = float(np.finfo(np.float32).tiny)
"""The step of a bias is a float32 in files: below its smallest normal number it is zero there."""


def layer_integers(bits: int, integers: np.ndarray, scale: np.ndarray, bias: np.ndarray, source: TensorFormat) -> LayerIntegers:
    """A layer whose sums fit, for an input of format ``source``.

    Args:
        integers: ``[O, ...]``, within the narrow range of ``bits``; scale: ``float32[O] > 0``; bias: ``float64[O]`` in real
            values.
    """
    limit = FLOAT64_LIMIT if source.is_wide else INT32_LIMIT
    rows = integers.reshape(len(integers), -1).astype(np.float64)
    wanted, step = scale.astype(np.float64), float(source.scale)
    widened = np.maximum(wanted, SMALLEST_UNIT / step).astype(np.float32)
    codes = _rounded(rows, wanted, widened)
    for _ in range(ATTEMPTS):
        sums = largest_sums(codes, np.rint(bias / (step * widened.astype(np.float64))), source)
        if not (over := sums > limit).any():
            break
        widened = np.where(over, widened * (sums / limit) * ROOM, widened).astype(np.float32)
        codes = _rounded(rows, wanted, widened)
    units = np.rint(bias / (step * widened.astype(np.float64))).astype(np.int64)
    kind = np.int16 if Int(bits).is_wide else np.int8
    return LayerIntegers(bits, codes.reshape(integers.shape).astype(kind), widened, units)


def alike(uses: Sequence[LayerIntegers]) -> list[LayerIntegers]:
    """Layers that use the same weights, each made such that its own sums fit, on one scale: of every channel the widest, which
    narrows the sums of the others."""
    first, *others = uses
    if all(np.array_equal(first.scale, one.scale) and np.array_equal(first.weight, one.weight) for one in others):
        return list(uses)
    scales = np.stack([one.scale for one in uses])
    widest = np.argmax(scales, axis=0)
    weight = np.stack([one.weight for one in uses])[widest, np.arange(len(widest))]
    scale = scales.max(axis=0)
    ratios = (one.scale.astype(np.float64) / scale for one in uses)
    return [
        replace(one, weight=weight, scale=scale, bias=np.rint(one.bias * ratio).astype(np.int64))
        for one, ratio in zip(uses, ratios, strict=True)
    ]


def tied(graph: Graph, layers: Mapping[str, LayerIntegers | LayerFloats]) -> dict[str, LayerIntegers | LayerFloats]:
    """Numbers of all layers, with one set of integers and scales for each weight that several use."""
    found = dict(layers)
    for users in dict.fromkeys(graph.weight_groups.values()):
        integers = {name: layer for name in users if isinstance(layer := layers[name], LayerIntegers)}
        if len(integers) > 1:
            found |= dict(zip(integers, alike([*integers.values()]), strict=True))
    return found


def _rounded(rows: np.ndarray, scale: np.ndarray, widened: np.ndarray) -> np.ndarray:
    """Integers ``float64[O, K]`` on wider scales."""
    found: np.ndarray = np.rint(rows * (scale / widened.astype(np.float64))[:, None])
    return found
