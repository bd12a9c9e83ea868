"""Published rules that give every layer its bits: what they choose, so that the exact solver can be compared with them.

One file is one rule, with ``INFO = AllocatorInfo(NAME, ...)``, by which it is found, and ``ladder(grounds) -> list of plans``.
Modules are imported when they are used; listing reads only what they declare.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hwmodels.parts.registry import Registry, declared_in, instances
from hwsearch.search.allocate.allocator import AllocatorInfo

_built_in = partial(declared_in, Path(__file__).parent, "INFO", AllocatorInfo)

ALLOCATORS: Registry[AllocatorInfo] = Registry(
    "allocator", "hwsearch.allocators", _built_in, instances(AllocatorInfo, lambda info: info.name)
)
