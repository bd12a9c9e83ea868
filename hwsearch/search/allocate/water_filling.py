"""Water-filling: the bits that make the output noise least at a given cost, in closed form, rounded to widths on offer.

Each bit quarters the noise of a layer or tensor (Lin, Talathi and Annapureddy, ICML 2016): k adds ``a_k 4^-b_k`` to the output
and costs ``c_k`` a bit. Least noise at ``sum c_k b_k = B``, with ``C = sum c_k``, has

    b_k = B / C + (log2(a_k / c_k) - sum_j c_j log2(a_j / c_j) / C) / 2

that is, the same level ``a_k 4^-b_k / c_k`` for every k. ``a_k`` is the noise measured at the output with k alone at one width,
the middle one on offer, times ``4^b``; ``c_k`` the slope of the real cost on the device between the widest and the narrowest
width, all else wide. As the level rises, k passes from a width to the next narrower one where ``b_k`` is half-way between them:
that is rounding to the nearest width, and rungs are those levels. Reconstructed: no source says how "SNR-driven" allocates.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from hwsearch.quality.proxies import OUTPUT_SQNR
from hwsearch.search.allocate.allocator import AllocatorInfo, Grounds, by_levels
from searchspaces.space import PlanRow, SearchSpace

INFO = AllocatorInfo(
    "water_filling",
    "bits in closed form for the least noise at a cost on the device, rounded",
    "after Lin et al., ICML 2016; SNR-driven mixed precision (press notice)",
    "one forward pass per picture, layer or tensor, and width",
    reconstructed="the gains, the costs and the rounding",
    place=3,
)


def ladder(grounds: Grounds) -> list[PlanRow]:
    """A rung for every level at which some width changes."""
    space, slopes = grounds.space, cost_slopes(grounds)
    noise = grounds.damage(OUTPUT_SQNR).noise
    level = np.full(space.allowed.shape, -np.inf)
    for decision in range(space.decisions):
        options, widths = space.choices(decision), _bits(space, decision)
        middle = options[len(options) // 2]
        with np.errstate(divide="ignore"):
            gain = np.log2(noise[decision, middle]) + 2.0 * widths[middle]
            for narrow, wide in pairwise(options):
                half_way = (widths[narrow] + widths[wide]) / 2
                # What saves nothing is narrowed at the very end.
                saves = slopes[decision] > 0
                level[decision, narrow] = gain - 2 * half_way - np.log2(slopes[decision]) if saves else np.inf
    return by_levels(space, level)


def _bits(space: SearchSpace, decision: int) -> np.ndarray:
    """Bits of the formats that a decision chooses from."""
    return np.array(space.weight_bits if decision < len(space.layer_names) else space.activation_bits)


def cost_slopes(grounds: Grounds) -> np.ndarray:
    """What a bit of every decision costs, ``float64[D]``: the difference between its ends over that of their bits."""
    space, problem = grounds.space, grounds.problem
    widest = np.array([space.choices(decision)[-1] for decision in range(space.decisions)])
    slopes = np.zeros(space.decisions)
    costs = problem.costs_of_changes(widest)[grounds.cost]
    present = float(problem.costs(widest[None])[grounds.cost][0])
    for decision, choice, cost in zip(*problem.changes, costs, strict=True):
        bits = _bits(space, decision)
        if choice == space.choices(decision)[0] and bits[choice] < bits[widest[decision]]:
            slopes[decision] = (present - cost) / (bits[widest[decision]] - bits[choice])
    return slopes
