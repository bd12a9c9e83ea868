"""Gradient Knows Best: the quarter of the layers whose loss falls most with a bit gets one more, the opposite quarter one less.

Kim et al., CVPR 2026 (two readers' notes; no code). Around a base width everywhere, quantizers are ranked by the derivative of a
distillation loss by their bits (``quant.learn.bit_gradients``), from the largest to the smallest; rank r of K gives
``s = 2 r / (K - 1) - 1`` and ``round(s)`` bits more, weights and tensors apart. The mean width, not weighted, stays that of the
base. Prices do not enter. Reconstructed: bits stand still while gradients are taken; a bit is a step to the next width on offer;
a base for every width up to 8 bits makes the ladder; ranges are those of the calibration's method. The other half of the paper,
normalization of tensors at run time, is not part of an allocation.
"""

from __future__ import annotations

import numpy as np

from hwsearch.quant.learn.bit_gradients import bit_gradients
from hwsearch.search.allocate.allocator import AllocatorInfo, Grounds, bases, stepped
from searchspaces.space import PlanRow

INFO = AllocatorInfo(
    "gradient_rank",
    "around a base width, a bit more or less by the rank of a distillation loss's derivative",
    "Kim et al., CVPR 2026, Gradient Knows Best (notes)",
    "one backward pass per batch and base width, for all layers and tensors at once",
    reconstructed="the probe at rest, steps among the widths on offer, the ladder of bases",
    place=4,
)


def ladder(grounds: Grounds) -> list[PlanRow]:
    """A rung for every base width."""
    return [ranked(grounds, base) for base in bases(grounds.space)]


def ranked(grounds: Grounds, base: PlanRow) -> PlanRow:
    """The plan that the rank rule makes of a base plan."""
    space = grounds.space
    gradients = decision_gradients(grounds, base)
    layers = len(space.layer_names)
    steps: dict[int, int] = {}
    for kind in (range(layers), range(layers, space.decisions)):
        free = [decision for decision in kind if len(space.choices(decision)) > 1]
        steps |= dict(zip(free, offsets(gradients[free]).tolist(), strict=True))
    return stepped(base, steps)


def decision_gradients(grounds: Grounds, base: PlanRow) -> np.ndarray:
    """``dL/db float64[D]`` of every decision around a plan: the sum over what it rounds."""
    calibration, space = grounds.calibration, grounds.space
    layers, tensors = bit_gradients(calibration.draft(base), grounds.seed)
    groups = calibration.graph.width_groups()
    users = calibration.graph.weight_groups
    found = [sum(layers.get(user, 0.0) for user in users[name]) for name in space.layer_names]
    found += [sum(g for name, g in tensors.items() if groups[name] == group) for group in space.group_names]
    return np.array(found)


def offsets(gradients: np.ndarray) -> np.ndarray:
    """Steps ``int64[K]`` of -1, 0 or 1 by the rank of gradients ``float64[K]``; one alone keeps its width."""
    count = len(gradients)
    if count < 2:
        return np.zeros(count, dtype=np.int64)
    rank = np.empty(count)
    rank[np.argsort(-gradients, kind="stable")] = np.arange(count)
    return np.rint(2 * rank / (count - 1) - 1).astype(np.int64)
