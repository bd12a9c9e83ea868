"""AdaBM: pictures with few edges have a bit less in every tensor, those with many a bit more.

Hong and Lee, "AdaBM: On-the-Fly Adaptive Bit Mapping for Image Super-Resolution" (CVPR 2024). A tensor's ends are the mean of
those of all values and of those of least squared error at its width; weights have ends of least squared error. Ends of weights
and of tensors are trained in turn, for the mean absolute error of the output and ten times the distance of unit features. How
much of a picture is edges (``network.picture_edges``) decides its offset: below the 10th percentile of the calibration pictures
one bit less, above the 90th one more, between the same ends.

Reconstructed, and weaker: thresholds stay at the percentiles, where the paper trains them with the widths, so that bounds are
trained at the width of the plan alone; the percentiles are of all pictures at once; 335 steps, two thirds of theirs, because the
third that trains thresholds has nothing to do; which gradient a picture's edges are; of pictures, not of their patches. The
offsets of layers are a rule of allocation (``search.allocate.deviation_rank``): here all tensors have the width of the plan, a
bit less or a bit more.

Each of the three is an ordinary integer network, and the engine runs the one that a picture asks for. Hardware must switch widths
at run time, with biases in three scales and buffers for the widest. No file format says so, so nothing is exported.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwmodels.numbers import INT8, Int
from hwsearch.quant.learn.bit_gradients import of_bits
from hwsearch.quant.learn.distillation import Distillation, Phase, What
from hwsearch.quant.learn.features import of_directions
from hwsearch.quant.learn.student import trained_groups
from hwsearch.quant.method import Draft, MethodInfo, Progress
from hwsearch.quant.network.graph import ByPicture, LayerIntegers, QuantizedGraph
from hwsearch.quant.network.picture_edges import density
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.ranges.spreads import Spread
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach
from hwsearch.quant.weights.sums import layer_integers, tied

INFO = MethodInfo(
    title="AdaBM, offsets of pictures",
    summary="bounds distilled; pictures with few edges have one bit less in every tensor, those with many one more",
    source="Hong and Lee, CVPR 2024; its repository",
    reconstructed="thresholds stay at percentiles; bounds trained at the plan's width; offsets of layers are an allocator",
    price="widths switched from picture to picture (time: the mean), buffers for the widest; its filter is not counted",
    exported=False,
    trains=True,
)
CYCLE: tuple[tuple[What, int], ...] = (("weights", 34), ("tensors", 33))
"""What is trained in turn, for how many steps."""
DISTILLATION = Distillation(
    phases=tuple(Phase(what, steps, 1e-2 * 0.81**n, 1e-2 * 0.81**n) for n in range(5) for what, steps in CYCLE),
    features=10.0,
    distance=of_directions,
    batch=2,
)
FEW, MANY = 10, 90
"""Percentiles of the pictures' edges."""
FEWEST_BITS = 2
"""Of a tensor of a picture with few edges."""


def observe(seen: Observations) -> AdaBm:
    """See ``quant.method.MethodModule``."""
    return AdaBm(seen, bit_aware, reach.least_squares, DISTILLATION)


def bit_aware(spread: Spread, number: Int) -> tuple[float, float]:
    """Half-way between the ends of all values and those of least squared error."""
    low, high = np.mean([bounds.min_max(spread, number), bounds.least_squares(spread, number)], axis=0)
    return float(low), float(high)


class AdaBm(Static):
    """See ``quant.method.Method``."""

    def finish(self, draft: Draft, seed: int, progress: Progress | None = None) -> QuantizedGraph:
        """Bounds are trained; then the thresholds are taken from the pictures."""
        trained = super().finish(draft, seed, progress)
        low, high = np.percentile([density(picture) for picture in draft.pictures], [FEW, MANY])
        found = ByPicture(float(low), float(high), with_offset(trained, -1), with_offset(trained, 1))
        return replace(trained, by_picture=found)


def with_offset(quantized: QuantizedGraph, offset: int) -> QuantizedGraph:
    """The network with so many bits more in every tensor that may be trained, between the same ends; at most a byte."""
    graph, changed = quantized.graph, trained_groups(quantized)
    groups, formats = graph.quantizer_groups(), dict(quantized.formats)
    for node in graph.nodes:
        if groups[node.name] in changed:
            fmt = formats[node.name]
            formats[node.name] = of_bits(graph, node, fmt, Int(min(max(fmt.bits + offset, FEWEST_BITS), INT8.bits)))
    layers = dict(quantized.layers)
    for name, layer in quantized.layers.items():
        if isinstance(layer, LayerIntegers):
            source = graph[name].inputs[0]
            bias = layer.bias * (layer.scale.astype(np.float64) * quantized.formats[source].scale)
            layers[name] = layer_integers(layer.bits, layer.weight, layer.scale, bias, formats[source])
    return replace(quantized, formats=formats, layers=tied(graph, layers))
