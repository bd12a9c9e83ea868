"""Where tensors lie in a static arena: whoever is alive at the same time lies apart.

Largest first, each at the lowest free offset: the usual greedy heuristic for this packing problem (Pisarchyk and Lee, "Efficient
Memory Management for Deep Neural Net Inference", 2020, section 5.2). It is not always optimal; ``lower_bound`` tells how far off
it can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.pricing import placement

ALIGNMENT = 8


@dataclass(frozen=True)
class Life:
    """A buffer of ``size`` bytes that is in use from step ``first`` to step ``last``, both included."""

    name: str
    size: int
    first: int
    last: int


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def place(lives: Sequence[Life]) -> tuple[dict[str, int], int]:
    """Offsets in bytes by name, and the size of the arena; all of them multiples of ``ALIGNMENT``."""
    order = sorted(lives, key=lambda life: (life.first, life.name))
    sizes = np.array([aligned(life.size) for life in order], dtype=np.int64)
    steps = np.array([(life.first, life.last) for life in order], dtype=np.int64).reshape(-1, 2)
    offsets = placement.place(sizes, steps[:, 0].copy(), steps[:, 1].copy())
    return {life.name: int(start) for life, start in zip(order, offsets, strict=True)}, int(max(offsets + sizes, default=0))


def lower_bound(lives: Sequence[Life]) -> int:
    """Bytes in use at the busiest step: no placement needs less."""
    steps = {life.first for life in lives}
    return max((sum(aligned(life.size) for life in lives if life.first <= step <= life.last) for step in steps), default=0)
