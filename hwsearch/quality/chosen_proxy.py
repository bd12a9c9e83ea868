"""Which proxy is gone by: the one place where that is decided."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from hwsearch.documents.results import ProxyCheck
from hwsearch.quality.proxies import OUTPUT_SQNR, PROXIES
from hwsearch.quality.proxy import ProxyInfo
from hwsearch.quant.observe.work import macs_per_pixel
from searchspaces.data.pictures import SMALLEST_WINDOW
from searchspaces.ir.graph import Graph
from searchspaces.space import SearchSpace

DEFAULT = OUTPUT_SQNR
"""The proxy where none was asked for and none was checked: it ranks random plans best on every network that ships."""
SHORT = "noise_gain"
"""What takes its place where ``DEFAULT`` takes too long: one backward pass serves all choices, and errors of single values are
added as squares, so few pictures do."""
LONG = 2e12
"""Multiply-accumulates for all choices together from which on ``DEFAULT`` is left out: a minute on one core. MobileSR x4 takes a
fifth of it, HiT-SRF x4, which is for pictures of one size, twenty times as much."""


def best(checks: Iterable[ProxyCheck], among: Collection[str]) -> str:
    """The proxy of ``among`` that ranked random plans best; where none of them was checked, ``DEFAULT`` or else the first."""
    ranked = {check.name: check.spearman for check in checks if check.name in among}
    return max(ranked, key=ranked.__getitem__) if ranked else DEFAULT if DEFAULT in among else next(iter(among))


def measured(graph: Graph, space: SearchSpace, quick: bool = False) -> dict[str, ProxyInfo]:
    """The proxies that a search of a network measures, by name: without ``DEFAULT`` where that takes too long, and one alone in a
    hurry (``quick``) or for a network with state."""
    long = not graph.remembered and takes_long(graph, space)
    if quick or graph.remembered:
        return {name: PROXIES[name] for name in [SHORT if long else DEFAULT]}
    return {name: info for name, info in PROXIES.items() if info.searched and not (long and name == DEFAULT)}


def takes_long(graph: Graph, space: SearchSpace) -> bool:
    """Whether a network is too large to be run once for each choice, even on one picture of the smallest size."""
    height, width = graph.size or (SMALLEST_WINDOW, SMALLEST_WINDOW)
    choices = sum(len(space.choices(decision)) for decision in range(space.decisions))
    return choices * height * width * macs_per_pixel(graph, graph.channels) > LONG
