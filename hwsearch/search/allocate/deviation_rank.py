"""AdaBM's layer offsets: tensors that vary most get one more bit, those that vary least one less.

Hong and Lee, "AdaBM" (CVPR 2024): the standard deviation of what a layer reads, the mean over pictures, ranks the layers; the
lowest 30 % get an offset of -1, the highest 30 % of +1, and weights keep the base width. This is where its static offsets begin.
Left out: the training of the offsets, and the second offset for every picture, which follows from how much of it is edges: that
one is a method (``quant.methods.learned.adabm``), because it makes widths a matter of run time.
"""

from __future__ import annotations

import numpy as np
import torch

from hwsearch.search.allocate.allocator import AllocatorInfo, Grounds, bases, stepped
from searchspaces.ir.graph import Node, execute
from searchspaces.space import PlanRow

INFO = AllocatorInfo(
    "deviation_rank",
    "around a base width, a bit more or less for tensors by the rank of their standard deviation",
    "AdaBM, CVPR 2024; its repository",
    "one forward pass per picture",
    reconstructed="its static offsets alone, as they begin; steps among the widths on offer, the ladder of bases",
    place=5,
)
SHARE = 0.3


def ladder(grounds: Grounds) -> list[PlanRow]:
    """A rung for every base width."""
    space = grounds.space
    free = [d for d in range(len(space.layer_names), space.decisions) if len(space.choices(d)) > 1]
    steps = dict(zip(free, offsets(deviations(grounds)[free]).tolist(), strict=True))
    return [stepped(base, steps) for base in bases(space)]


def deviations(grounds: Grounds) -> np.ndarray:
    """Standard deviation of what layers read, ``float64[D]``: the mean over pictures, the largest of a width group; 0 where no
    layer with weights reads it, and for weights."""
    space, graph = grounds.space, grounds.calibration.graph
    groups = graph.width_groups()
    column = {name: len(space.layer_names) + i for i, name in enumerate(space.group_names)}
    read = {node.inputs[0] for node in graph.convs}
    sums: dict[str, float] = dict.fromkeys(read, 0.0)

    def see(node: Node, value: torch.Tensor) -> None:
        if node.name in read:
            sums[node.name] += float(value.double().std()) / len(grounds.samples)

    with torch.no_grad():
        for sample in grounds.samples:
            execute(graph, sample.low, see)
    found = np.zeros(space.decisions)
    for name, deviation in sums.items():
        at = column[groups[name]]
        found[at] = max(found[at], deviation)
    return found


def offsets(values: np.ndarray) -> np.ndarray:
    """Steps ``int64[K]``: -1 for the lowest ``SHARE`` of values ``float64[K]``, 1 for the highest, 0 between."""
    count = int(SHARE * len(values))
    order = np.argsort(values, kind="stable")
    found = np.zeros(len(values), dtype=np.int64)
    found[order[:count]] = -1
    found[order[len(values) - count :]] = 1
    return found
