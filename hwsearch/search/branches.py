"""Which layers may get a low-rank branch, and of which rank.

A branch (``searchspaces.ir.branches``) takes some of the noise that the rounding of its layer brings, and costs time and bytes
for three more operations. So does a wider number format. A branch promises something where, at some exchange rate of noise for
price, layer and branch together cost less than the layer does at the width that is best for it at that rate: in Lagrange's terms,
where its point lies below the convex hull of the layer's own points. Rates are those of time alone, of bytes alone, and of both,
each in shares of what the whole network costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

PARTS = (0.5, 0.95)
"""Parts of what all branches promise."""
DIRECTIONS = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
"""What a price is: time, bytes, or both."""


@dataclass(frozen=True, eq=False)
class Offer:
    """A branch of one rank for one layer, over the W widths that the layer may have.

    Attributes:
        noise: ``float64[W]``, output noise power of the layer alone; ``left``: of the layer beside its branch.
        price: ``float64[W, 2]``, seconds and bytes of the layer alone, in shares of what the network costs; ``extra``:
            ``float64[2]``, what the branch adds.
    """

    layer: str
    rank: int
    noise: np.ndarray
    left: np.ndarray
    price: np.ndarray
    extra: np.ndarray

    @cached_property
    def promise(self) -> float:
        """Noise power that the branch saves at the exchange rate that is best for it, at equal price; 0: at none."""
        best = 0.0
        for direction in DIRECTIONS:
            price = self.price @ np.array(direction)
            dearer = price + self.extra @ np.array(direction)
            rates = np.concatenate([[0.0], _ties(self.noise, price), _ties(self.left, dearer)])[:, None]
            alone = (self.noise + rates * price).min(axis=1)
            beside = (self.left + rates * dearer).min(axis=1)
            best = max(best, float((alone - beside).max()))
        return best


def _ties(noise: np.ndarray, price: np.ndarray) -> np.ndarray:
    """The rates at which two widths are worth the same: between them what is best is a line, so what is saved is most at one."""
    dearer = price[:, None] - price
    rates = np.divide(noise - noise[:, None], dearer, out=np.zeros_like(dearer), where=dearer > 0)
    found: np.ndarray = rates[rates > 0]
    return found


def best(offers: Sequence[Offer]) -> list[Offer]:
    """Of every layer the rank that promises most, if one promises anything, in the order of what that is."""
    found: dict[str, Offer] = {}
    for offer in offers:
        if offer.promise > 0 and (offer.layer not in found or offer.promise > found[offer.layer].promise):
            found[offer.layer] = offer
    return sorted(found.values(), key=lambda offer: (-offer.promise, offer.layer))


def chain(ranked: Sequence[Offer]) -> list[dict[str, int]]:
    """Sets of branches (layer -> rank), each with more layers, the most promising first: the fewest that hold each of ``PARTS``
    of what all promise."""
    held = np.cumsum([offer.promise for offer in ranked])
    sizes = sorted({int(np.searchsorted(held, part * held[-1])) + 1 for part in PARTS} if ranked else set())
    return [{offer.layer: offer.rank for offer in ranked[:size]} for size in sizes]
