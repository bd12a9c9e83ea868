"""Every decision by what it does to the output: scales, ranges and integers that add the least noise there.

Tensors are equalized channel by channel for the widths of the plan (``weights.equalize``); the range of a tensor is that of
several clipped ones which measures best at the output (``ranges``); integers of a layer are rounded with compensation, within
and across channels (``weights.rounding``). Of a plan that is about to be used, where something has less than 8 bits, idle
channels are given work (``weights.idle``), and layers are fitted one behind the other to what they read
(``learn.reconstruct``); it is polished as a whole (``learn.polish``), from there or from where it was calibrated
(``learn.starts``).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwmodels.numbers import Int
from hwsearch.quant.learn.polish import polish
from hwsearch.quant.learn.reconstruct import of_few_bits
from hwsearch.quant.learn.starts import polished
from hwsearch.quant.method import Draft, MethodInfo, Progress
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.quant.network.rewriting import Numbers, Scales
from hwsearch.quant.observations import Equalized, Observations
from hwsearch.quant.observe.moments import pooled
from hwsearch.quant.ranges.ranges import candidates, choose, wide_format
from hwsearch.quant.weights.rounder import RoundedLayer, Rounder, Rounders, columns_of
from searchspaces.ir.graph import Graph

INFO = MethodInfo(
    title="Output noise",
    summary="scales, ranges and integers by the noise that they add to the output; chosen plans polished as a whole",
    source="hwsearch; after Nagel et al. 2019, SmoothQuant (2023), OBC and GPTQ (2022), LSQ (2020)",
    family="equalized",
    trains=True,
)


def observe(seen: Observations) -> OutputNoise:
    """See ``quant.method.MethodModule``."""
    return OutputNoise(seen.equalized, symmetric=seen.symmetric)


class OutputNoise:
    """See ``quant.method.Method``."""

    def __init__(self, seen: Equalized, *, symmetric: bool) -> None:
        self._seen, self._symmetric, self._rounders = seen, symmetric, Rounders(self._rounder)

    @property
    def graph(self) -> Graph:
        """The network equalized for 8 bits."""
        return self._seen.graph

    def rewrite(self, numbers: Numbers) -> Mapping[str, Scales]:
        """Equalized for the widths of the plan."""
        return self._seen.scales(numbers)

    def tensor(self, group: str, number: Int, scales: Scales) -> TensorFormat:
        """The format of several that measures best."""
        spread = self._seen.spreads[group].spread(scales.factors)
        if number.is_wide:
            return wide_format(spread, number)
        options = candidates(spread, number, symmetric=self._symmetric)
        return choose(self._seen.bench, group, spread, options, scales.factors)

    def layer(self, name: str, number: Int, scales: Scales) -> RoundedLayer:
        """The integers that disturb least."""
        return self._rounders(name, scales).best(number.bits)

    def finish(self, draft: Draft, seed: int, progress: Progress | None = None) -> QuantizedGraph:
        """Polished as a whole; a plan of few bits from fitted layers, too, and the better is taken."""
        if of_few_bits(draft.quantized):
            return polished(draft, seed, progress).quantized
        return polish(draft, seed=seed, progress=progress)

    def _rounder(self, name: str, scales: Scales) -> Rounder:
        seen, node, users = self._seen, self.graph[name], self.graph.weight_groups[name]
        gain = np.sum([seen.gains.convs[user] for user in users], axis=0)
        return Rounder(node, pooled(seen.moments, users), gain, seen.compare, columns_of(node, scales))
