"""Published rules that give every layer its bits: what they choose, so that the exact solver can be compared with them.

One file is one rule, with ``INFO = AllocatorInfo(NAME, ...)``, by which it is found, and ``ladder(grounds) -> list of plans``.
Modules are imported when they are used; listing reads only what they declare.
"""

from __future__ import annotations

from pathlib import Path

from hwmodels.parts.registry import Part, Registry, declared, instances
from hwsearch.search.allocate.allocator import AllocatorInfo


def _built_in() -> list[Part[AllocatorInfo]]:
    found = []
    for file in Path(__file__).parent.glob("*.py"):
        info = declared(file, "INFO", AllocatorInfo)
        if info is not None:
            found.append(Part(info.name, info, str(file)))
    return sorted(found, key=lambda part: (part.value.place, part.name))


ALLOCATORS: Registry[AllocatorInfo] = Registry(
    "allocator", "hwsearch.allocators", _built_in, instances(AllocatorInfo, lambda info: info.name)
)
