"""Which proxy is gone by: the one place where that is decided."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from hwsearch.documents.results import ProxyCheck
from hwsearch.quality.proxies import OUTPUT_SQNR, PROXIES
from hwsearch.quality.proxy import ProxyInfo

DEFAULT = OUTPUT_SQNR
"""The proxy where none was asked for and none was checked: it ranks random plans best on every network that ships."""


def best(checks: Iterable[ProxyCheck], among: Collection[str]) -> str:
    """The proxy of ``among`` that ranked random plans best; where none of them was checked, ``DEFAULT`` or else the first."""
    ranked = {check.name: check.spearman for check in checks if check.name in among}
    return max(ranked, key=ranked.__getitem__) if ranked else DEFAULT if DEFAULT in among else next(iter(among))


def measured(one: bool = False) -> dict[str, ProxyInfo]:
    """The proxies that a search measures, by name; ``one``: only the one that must do in a hurry or for a network with state."""
    return {name: info for name, info in PROXIES.items() if (name == DEFAULT if one else info.searched)}
