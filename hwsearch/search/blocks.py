"""Which blocks of a network may be left out together.

Each block that may go (``searchspaces.networks.adapted.blocks``) is left out once, and what the network then loses is measured
in floating point: on a few samples, and on all of them where that leaves it in question (``Looks``). From the blocks that lose
least for the weights that they hold a chain of smaller networks is built, each without one more of them. Nothing is trained: what
a training would win back is not known to the search.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from searchspaces.networks.adapted.blocks import inside

FAR = 1.5
"""What loses so many times more than may be lost on a few samples, or by the sum of what its blocks lose, is not looked at on all
samples."""
FINALISTS = 3
"""Blocks that are looked at on all samples."""

Losses = Callable[[tuple[str, ...]], float]
"""What the network loses without a set of blocks, in floating point, dB."""


@dataclass(frozen=True)
class Block:
    """A block that may go: its name, what the network loses without it in floating point, and the weights that it holds."""

    name: str
    loss_db: float
    weights: int


class Looks:
    """What the network loses without sets of blocks, each asked for once: ``few`` on a ``share`` of the samples, ``rest`` on the
    others."""

    def __init__(self, few: Losses, rest: Losses, share: float, most_db: float) -> None:
        self._few, self._rest, self._share, self._most_db = functools.cache(few), functools.cache(rest), share, most_db

    def __call__(self, names: tuple[str, ...]) -> float:
        """Without ``names``: on all samples, or on a few where that is far too much or those are all."""
        found = self._few(names)
        if found > FAR * self._most_db or self._share == 1:
            return found
        return self._share * found + (1 - self._share) * self._rest(names)

    def blocks(self, weights: Mapping[str, int]) -> list[Block]:
        """Each block left out once, on all samples those that promise most; ``weights``: what each of them holds."""
        known = [Block(name, self._few((name,)), held) for name, held in weights.items()]
        finalists = sorted(known, key=_cost)[:FINALISTS]
        return [replace(block, loss_db=self((block.name,))) if block in finalists else block for block in known]


def _cost(block: Block) -> tuple[float, str]:
    """What a weight that goes costs in quality."""
    return max(block.loss_db, 0.0) / block.weights, block.name


def chain(blocks: Sequence[Block], loss_db: Losses, most_db: float, count: int) -> list[tuple[str, ...]]:
    """Up to ``count`` sets of blocks to leave out, each with one more, in the order of what a weight that goes costs in quality.

    A block inside of one that goes, or around one, is passed over; so is one with which more than ``most_db`` are lost. What
    ``blocks`` lose may be of a few samples: only ``loss_db`` decides.
    """
    found: list[tuple[str, ...]] = []
    gone: tuple[str, ...] = ()
    lost_db = 0.0
    for block in sorted(blocks, key=_cost):
        if len(found) == count:
            break
        if lost_db + block.loss_db > FAR * most_db or any(
            inside(block.name, other) or inside(other, block.name) for other in gone
        ):
            continue
        found_db = loss_db((*gone, block.name))
        if found_db > most_db:
            continue
        gone, lost_db = (*gone, block.name), max(found_db, 0.0)
        found.append(gone)
    return found
