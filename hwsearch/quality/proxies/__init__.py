"""Quality proxies: what each choice of a width costs in output noise power, before any plan is measured.

One file is one proxy, with ``INFO = ProxyInfo(NAME, ...)``, by which it is found, and ``measure(calibration, samples, seed,
progress=None, task=None) -> Damage``; without a task the samples are pairs of pictures, enlarged. All of them start from the same
errors (see ``quality.errors``) and differ in how they carry them to the output. Modules are imported when they are used; listing
reads only what they declare.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hwmodels.parts.registry import Registry, declared_in, instances
from hwsearch.quality.proxy import OUTPUT_SQNR, ProxyInfo

__all__ = ["OUTPUT_SQNR", "PROXIES"]

_built_in = partial(declared_in, Path(__file__).parent, "INFO", ProxyInfo)

PROXIES: Registry[ProxyInfo] = Registry("proxy", "hwsearch.proxies", _built_in, instances(ProxyInfo, lambda info: info.name))
