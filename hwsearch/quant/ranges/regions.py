"""Two regions: a fine grid where most values lie, a coarse one for the few beyond, and a table that decodes both.

"Outlier-aware post-training quantization" for super-resolution (ICCV 2025, arXiv 2511.00682) splits the range of a tensor at
+-bp. With b bits the dense region [-bp, bp] has ``2^(b-1) - 1`` points and each tail ``2^(b-2) - 1``, all of them evenly spaced.
Where nothing lies below -bp (behind a ReLU) there is one tail; dense region and tail then have half of the codes each.

Ours: points of the tails are rounded to whole multiples of the dense step. So every code stands for an integer of at most a byte,
products of such integers are summed as ever, and zero is a code. What is stored has b bits; what is multiplied has 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodels.numbers import INT8, Int
from hwsearch.quant.network.formats import TensorFormat

FEWEST_BITS = 3
"""With 2 bits no code is left for a tail."""


@dataclass(frozen=True)
class Regions:
    """Ends and breakpoint of a tensor, real values: ``low <= 0 <= high``, ``point > 0``."""

    low: float
    point: float
    high: float

    @property
    def two_sided(self) -> bool:
        """Whether there are values below the dense region."""
        return self.low < -self.point

    def format(self, number: Int, *, symmetric: bool = False) -> TensorFormat:
        """The format with a decode table. ``symmetric``: the zero point must be in the middle of the container.

        Raises:
            ValueError: fewer bits than ``FEWEST_BITS``, or more than a byte.
        """
        if not FEWEST_BITS <= number.bits <= INT8.bits:
            raise ValueError(f"{number} cannot be split in two regions")
        levels, step = self._levels(number, symmetric)
        zero = INT8.middle if symmetric else -levels[0]
        ends = (0, INT8.last_code) if symmetric else (0, levels[-1] - levels[0])
        return TensorFormat(number, step, zero, *ends, levels)

    def _levels(self, number: Int, symmetric: bool) -> tuple[tuple[int, ...], float]:
        """The integers that codes stand for, ascending, and the real value of one."""
        dense, tail = dense_steps(number, self.two_sided), tail_points(number, self.two_sided)
        span = 2 * max(self.high, -self.low) if symmetric else self.high - self.low
        step = float(np.float32(max((self.point if self.two_sided else self.point - self.low) / dense, span / (INT8.levels - 1))))
        if self.two_sided:
            half = round(self.point / step)
            low, high = round(-self.low / step), round(self.high / step)
            found = [*_tail(half, low, tail, -1), *range(-half, half + 1), *_tail(half, high, tail, 1)]
        else:
            first = round(self.low / step)
            last = round(self.point / step)
            found = [*range(first, last + 1), *_tail(last, round(self.high / step), tail, 1)]
        return tuple(sorted(set(found))), step


def dense_steps(number: Int, two_sided: bool) -> int:
    """Steps of the dense region: from zero to its end, or all of them where it has one side."""
    return (1 << (number.bits - 2)) - 1 if two_sided else (1 << (number.bits - 1)) - 1


def tail_points(number: Int, two_sided: bool) -> int:
    """Points of each tail."""
    return (1 << (number.bits - 2)) - 1 if two_sided else 1 << (number.bits - 1)


def _tail(start: int, end: int, points: int, sign: int) -> list[int]:
    """``points`` integers evenly from behind ``start`` to ``end``; none where there is no tail."""
    if end <= start:
        return []
    return [sign * round(start + j * (end - start) / points) for j in range(1, points + 1)]
