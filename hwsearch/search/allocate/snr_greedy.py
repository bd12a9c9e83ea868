"""Greedy by output SQNR: whatever alone disturbs the output least is narrowed first.

Pandey et al. 2023 (arXiv 2302.05397): the signal-to-noise ratio at the network's output is measured with one layer or tensor
alone at one width. The list of all of them, sorted, is gone through from the top, each entry narrowing its own, until the budget
holds. Their signal is the same for all entries, so the noise power orders them alike; going through a sorted list is the same as
one threshold on what it is sorted by, which falls.
"""

from __future__ import annotations

from hwsearch.quality.proxies import OUTPUT_SQNR
from hwsearch.search.allocate.allocator import AllocatorInfo, Grounds, by_levels
from searchspaces.space import PlanRow

INFO = AllocatorInfo(
    "snr_greedy",
    "what alone lowers the output's signal to noise least is narrowed first",
    "Pandey et al. 2023, arXiv 2302.05397",
    "one forward pass per picture, layer or tensor, and width",
    place=2,
)


def ladder(grounds: Grounds) -> list[PlanRow]:
    """A rung for every entry of the sorted list."""
    return by_levels(grounds.space, grounds.damage(OUTPUT_SQNR).noise)
