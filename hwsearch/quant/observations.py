"""What the calibration pictures show of one network: worked out when a method first asks for it, and kept for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from hwmodels.numbers import INT8
from hwsearch.quant.network.rewriting import AS_IT_IS, Numbers, Scales
from hwsearch.quant.observe.crops import affordable, trimmed
from hwsearch.quant.observe.gains import Bench, Gains
from hwsearch.quant.observe.moments import Moments, collect
from hwsearch.quant.observe.race import Race
from hwsearch.quant.observe.sizes import Sizes
from hwsearch.quant.observe.work import macs_per_pixel
from hwsearch.quant.ranges.ranges import OPTIONS
from hwsearch.quant.ranges.spreads import ChannelSpreads, extremes, spreads, stretched
from hwsearch.quant.weights.equalize import Equalizer, equalizable, input_factors, normalizing, scaled
from searchspaces.ir.graph import Graph, Node

BENCH_MACS, BENCH_PIXELS = 4e9, 30_000
"""Most multiply-accumulates, and most pixels, of one measurement of the noise at the output: at most a tenth of a second on one
core, and no more pictures than the comparison of two formats needs."""
COMPARE_MACS, COMPARE_PIXELS = 5e8, 11_000
"""The same where two ways to round a layer are compared, which happens often and on the same windows."""
MEASURING_MACS = 1e13
"""Multiply-accumulates of all measurements of the noise at the output that the formats of a network would take, about four
minutes of one core: beyond, nothing is measured and histograms weighted by noise gains decide. On MobileSR both ways end at
45.2 dB."""
LOOK_MACS = 6e10
"""Multiply-accumulates of one pass over the calibration pictures, of which there are five: large networks see less of each."""


@dataclass(frozen=True, eq=False)
class Equalized:
    """The network equalized for 8-bit weights and tensors, and what was seen of it.

    ``graph``: it; ``bench``: windows of the pictures to measure on, ``compare``: a race on fewer of them, None where measuring
    would take too long; ``gains``: noise gains; ``moments`` of every convolution's input, by the convolution's name;
    ``spreads``: histograms by quantizer group;
    ``equalizer``: other scales of the tensors; ``default``: index of the scales that the network has.
    """

    graph: Graph
    bench: Bench | None
    compare: Race | None
    gains: Gains
    moments: Mapping[str, Moments]
    spreads: Mapping[str, ChannelSpreads]
    equalizer: Equalizer
    default: Mapping[str, int]

    def scales(self, numbers: Numbers) -> dict[str, Scales]:
        """The best scales of every equalizable tensor under a plan."""
        return {name: self._option(name, self._best(name, numbers)) for name in self.default}

    def _best(self, name: str, numbers: Numbers) -> int:
        readers = [numbers.layers[reader.name].bits for reader in self.graph.readers(name)]
        return self.equalizer.choose(name, numbers.tensors[name], readers)

    def _option(self, name: str, alpha: int) -> Scales:
        """Scales of a tensor relative to those that it has in ``graph``."""
        if alpha == self.default[name]:
            return AS_IT_IS
        options = self.equalizer.candidates[name]
        return Scales(alpha, options[alpha] / options[self.default[name]])


class Observations:
    """A network and its calibration pictures.

    Attributes:
        graph: the network as traced.
        crops: the pictures ``[1, C, h, w]`` in 0..1, at least two, brought to a size that the network takes; smaller windows of
            them where it is large. Of a network with state clips ``[N, C, h, w]`` of one length.
        weight_bits: every width of weights that may be asked for.
        symmetric: activations have no zero points.
        seed: of the sampling of patches, windows and probes.
        teacher: see ``quant.method.Draft``.
    """

    def __init__(
        self,
        graph: Graph,
        crops: Sequence[Tensor],
        weight_bits: Sequence[int],
        *,
        symmetric: bool,
        seed: int = 0,
        progress: Callable[[str, float], None] | None = None,
        teacher: Graph | None = None,
    ) -> None:
        self.graph, self.weight_bits, self.symmetric, self.seed = graph, tuple(weight_bits), symmetric, seed
        self.teacher = teacher
        self._tell = progress or (lambda text, share: None)
        self._cost, self._sizes = macs_per_pixel(graph, crops[0].shape[1]), Sizes.of(graph)
        self._frames = len(crops[0])
        self.crops = tuple(trimmed([self._sizes.fitted(crop) for crop in crops], self._cost, LOOK_MACS, seed, self._sizes))

    @cached_property
    def moments(self) -> dict[str, Moments]:
        """Second moments of what every layer reads, by its name."""
        return collect(self.graph, self.crops, self.seed)

    @cached_property
    def spreads(self) -> dict[str, ChannelSpreads]:
        """Histograms of the tensors by quantizer group, every value counted alike."""
        ranges = extremes(self.graph, self.crops)
        alike = {name: np.ones(len(seen.low)) for name, seen in ranges.items()}
        return spreads(self.graph, self.crops, ranges, alike)

    def bench(self, graph: Graph, measurements: int) -> Bench:
        """Windows of the pictures, at least four, on which all of ``graph``, which computes what the network does, can be run so
        many times in the time that ``MEASURING_MACS`` allow."""
        each = min(BENCH_MACS, MEASURING_MACS / max(measurements, 1))
        batch = affordable(self.crops, min(each / self._cost, BENCH_PIXELS), self.seed, self._sizes)
        return Bench(graph, batch, self._frames)

    def wider_bench(self, graph: Graph) -> Bench:
        """Other windows, and four times as much of the pictures as a ``bench`` has at most, for a few measurements."""
        pixels = min(4 * BENCH_MACS / self._cost, 4 * BENCH_PIXELS)
        return Bench(graph, affordable(self.crops, pixels, self.seed + 1, self._sizes), self._frames)

    @cached_property
    def equalized(self) -> Equalized:
        """Ranges, moments and noise gains, and with them the equalized network. What one channel dominates is scaled first."""
        graph, crops, cost, tell, sizes = self.graph, self.crops, self._cost, self._tell, self._sizes
        batch = affordable(crops, min(BENCH_MACS / cost, BENCH_PIXELS), self.seed, sizes)
        tell("ranges", 0.0)
        varied = [*crops, *(stretched(crop, turned=sizes.turns) for crop in crops)]
        ranges = extremes(graph, varied)
        if factors := normalizing(graph, ranges):
            graph = scaled(graph, factors)
            ranges = extremes(graph, varied)
        tell("moments", 0.2)
        moments = self.moments if graph is self.graph else collect(graph, crops, self.seed)
        tell("noise gains", 0.6)
        gains = Bench(graph, batch, self._frames).gains(self.seed)
        tell("histograms", 0.7)
        seen = spreads(graph, varied, ranges, gains.tensors)
        tell("equalization", 0.9)
        typical = {name: seen[name].typical() for name in equalizable(graph)}
        equalizer = Equalizer(graph, typical, ranges, moments, gains, self.weight_bits, symmetric=self.symmetric)
        default = {name: equalizer.choose(name, INT8, [8] * len(graph.readers(name))) for name in equalizer.candidates}
        scales = {name: equalizer.candidates[name][alpha] for name, alpha in default.items()}
        equal = scaled(graph, scales)
        bench = Bench(equal, batch, self._frames)
        measured = bench.macs * len(seen) * OPTIONS / 2 <= MEASURING_MACS  # on average half of the network lies behind a tensor
        return Equalized(
            graph=equal,
            bench=bench if measured else None,
            compare=Race(equal, affordable(crops, min(COMPARE_MACS / cost, COMPARE_PIXELS), self.seed, sizes), self._frames)
            if measured
            else None,
            gains=gains.scaled(scales),
            moments={node.name: _scaled_moments(node, moments[node.name], scales) for node in graph.convs},
            spreads={group: spread.divided(scales[group]) if group in scales else spread for group, spread in seen.items()},
            equalizer=equalizer,
            default=default,
        )


def _scaled_moments(reader: Node, moments: Moments, scales: Mapping[str, np.ndarray]) -> Moments:
    source = reader.inputs[0]
    return moments.scaled(input_factors(reader, scales[source])) if source in scales else moments
