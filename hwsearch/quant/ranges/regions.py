"""Two regions: a fine grid where most values lie, a coarse one for the few beyond, and a table that decodes both.

"Outlier-aware post-training quantization" for super-resolution (ICCV 2025, arXiv 2511.00682) splits the range of a tensor at
+-bp. With b bits the dense region [-bp, bp] has ``2^(b-1) - 1`` points and each tail ``2^(b-2) - 1``, all of them evenly spaced.
Where nothing lies below -bp (behind a ReLU) there is one tail; dense region and tail then have half of the codes each.

The released code divides otherwise, and its "b bits" number ``2^(b+1)`` codes. Here bits are always those that are stored: its b
are ``b + 1``. In ``n`` stored bits it has ``2^(n-1)`` integers in the dense region, ``-2^(n-2) .. 2^(n-2) - 1`` with a step of
``2 bp / (2^(n-1) - 1)``, and ``2^(n-2)`` points in each tail, or ``2^(n-1)`` in each of the two regions; tails begin with bp
itself. So the rules differ by half a dense step with two sides, and by one point of the tail with one.

Ours: points of the tails are rounded to whole multiples of the dense step. So every code stands for an integer of at most a byte,
products of such integers are summed as ever, and zero is a code. What is stored has b bits; what is multiplied has 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from hwmodels.numbers import INT8, Int
from hwsearch.quant.network.formats import TensorFormat

FEWEST_BITS = 3
"""With 2 bits no code is left for a tail."""
_NOISE = 1e-4
"""Steps that a breakpoint between two integers may be off, because the step is rounded to single precision: it is the upper."""


class Rule(Enum):
    """How codes are divided among regions."""

    PAPER = "paper"
    CODE = "released code"

    def dense_steps(self, number: Int, two_sided: bool) -> float:
        """Steps of the dense region: from zero to its end, or all of them where it has one side."""
        if not two_sided:
            return (1 << (number.bits - 1)) - 1
        return most_dense(number) + (0.5 if self is Rule.CODE else 0.0)

    def tail_steps(self, number: Int, two_sided: bool) -> int:
        """Steps of each tail, from the breakpoint to the end."""
        return (1 << (number.bits - 2)) - 1 if two_sided else (1 << (number.bits - 1)) - (self is Rule.CODE)


@dataclass(frozen=True)
class Regions:
    """Ends and breakpoint of a tensor, real values: ``low <= 0 <= high``, ``point > 0``."""

    low: float
    point: float
    high: float
    rule: Rule = Rule.PAPER

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
        dense, tail = self.rule.dense_steps(number, self.two_sided), self.rule.tail_steps(number, self.two_sided)
        span = 2 * max(self.high, -self.low) if symmetric else self.high - self.low
        step = float(np.float32(max((self.point if self.two_sided else self.point - self.low) / dense, span / (INT8.levels - 1))))
        high = round(self.high / step)
        if self.two_sided:
            half = math.floor(self.point / step + 0.5 + _NOISE)
            inner = range(-half, min(half, most_dense(number)) + 1)
            found = [*_tail(half, round(-self.low / step), tail, -1), *inner, *_tail(half, high, tail, 1)]
        else:
            last = round(self.point / step)
            found = [*range(round(self.low / step), last + 1), *_tail(last, high, tail, 1)]
        return tuple(sorted(set(found))), step


def most_dense(number: Int) -> int:
    """The largest integer of a dense region with two sides."""
    return (1 << (number.bits - 2)) - 1


def _tail(start: int, end: int, steps: int, sign: int) -> list[int]:
    """Integers evenly from ``start`` to ``end``, ``steps`` of them behind it; none where there is no tail."""
    if end <= start:
        return []
    return [sign * round(start + j * (end - start) / steps) for j in range(steps + 1)]
