"""Minimum to maximum and to the nearest, on the equalized network: what remains of ``output_noise`` where nothing is measured.

Scales and finishing are those of ``output_noise``; a range is the whole of what was seen, an integer the nearest on the scale
that reaches the largest weight of its channel. Cheap, and now and then better: what is fitted to sixteen pictures may overfit.
"""

from __future__ import annotations

from hwmodels.numbers import Int
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.methods.weights.output_noise import OutputNoise
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.rewriting import Scales
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges.ranges import whole_format, wide_format
from hwsearch.quant.weights.rounder import RoundedLayer

INFO = MethodInfo(
    title="Nearest",
    summary="whole ranges and nearest integers on the equalized network; chosen plans polished as a whole",
    source="hwsearch; Nagel et al. 2019 for the equalization",
    family="equalized",
    trains=True,
)


def observe(seen: Observations) -> Nearest:
    """See ``quant.method.MethodModule``."""
    return Nearest(seen.equalized, symmetric=seen.symmetric)


class Nearest(OutputNoise):
    """See ``quant.method.Method``."""

    def tensor(self, group: str, number: Int, scales: Scales) -> TensorFormat:
        """All that was seen."""
        spread = self._seen.spreads[group].spread(scales.factors)
        if number.is_wide:
            return wide_format(spread, number)
        return whole_format(spread, number, symmetric=self._symmetric)

    def layer(self, name: str, number: Int, scales: Scales) -> RoundedLayer:
        """The nearest integers."""
        return self._rounders(name, scales).nearest(number.bits)
