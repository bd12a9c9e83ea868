"""Dynamic activation normalization: the range of a tensor is that of each picture and channel, the ends in it are trained.

"Gradient Knows Best" (CVPR 2026; known from two readers' notes, no code) normalizes what it quantizes by the lowest and the
highest value of every channel of every picture, rounds it between two trained ends, and goes back. Its allocation of bits is a
rule of its own (``search.allocate.gradient_rank``) and a proxy (``bit_gradient``); here all tensors have the width of the plan.
Ends of weights and of tensors are trained in turn, 25 steps each, twice, for the mean absolute error of the output and ten times
the squared difference of unit features.

Reconstructed: it happens to integers of 16 bits (``network.normalized``), so that zero and sums are exact; weights begin at ends
of least squared error; who goes first; 100 steps of two windows, as many as two epochs of 100 pictures. Tensors that are no
pictures (tokens, means of channels) have one range of least squared error. All readers of a tensor see it so, additions too,
where the paper quantizes what convolutions read.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from hwmodels.numbers import INT16, Int
from hwsearch.quant.learn.distillation import Distillation, Phase
from hwsearch.quant.learn.features import of_units
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.normalized import Normalized
from hwsearch.quant.network.rewriting import Scales
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.ranges.ranges import wide_format
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach
from searchspaces.ir.graph import Node, execute
from searchspaces.ir.shapes import known_channel_axes

INFO = MethodInfo(
    title="Dynamic activation normalization",
    summary="tensors between the lowest and highest value of each picture and channel, ends in that range trained",
    source="Gradient Knows Best, CVPR 2026 (notes)",
    reconstructed="its integers; where weights begin; which ends are trained first; tokens keep one range",
    price="tensors written in 16 bits, read whole for their extremes (a barrier), then rounded; products of 16 bits",
    exported=False,
    trains=True,
)
DISTILLATION = Distillation(
    phases=tuple(Phase(what, 25, 1e-2, 1e-2) for _ in range(2) for what in ("weights", "tensors")),
    features=10.0,
    distance=of_units,
    batch=2,
)


def observe(seen: Observations) -> Dan:
    """See ``quant.method.MethodModule``."""
    return Dan(seen, bounds.least_squares, reach.least_squares, DISTILLATION)


class Dan(Static):
    """See ``quant.method.Method``."""

    @cached_property
    def pictured(self) -> frozenset[str]:
        """Quantizer groups whose tensors all are pictures of several pixels, with channels."""
        axes, groups, others = known_channel_axes(self.graph), self.graph.quantizer_groups(), set[str]()

        def see(node: Node, y: Tensor) -> None:
            if axes[node.name] != 1 or y.ndim != 4 or y.shape[2] * y.shape[3] == 1:
                others.add(groups[node.name])

        with torch.no_grad():
            execute(self.graph, self._seen.crops[0], see)
        return frozenset(groups.values()) - others

    def tensor(self, group: str, number: Int, scales: Scales) -> TensorFormat:
        """The whole of what each channel of a picture spans; one range where there is no such thing, and above a byte."""
        if number.is_wide or group not in self.pictured:
            return super().tensor(group, number, scales)
        spread = self._seen.spreads[group].spread(scales.factors)
        wide = wide_format(spread, INT16)
        return TensorFormat(wide.number, wide.scale, wide.zero_point, wide.qmin, wide.qmax, normalized=Normalized(number))
