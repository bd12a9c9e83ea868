"""Tensors whose range is that of each picture and channel: dynamic activation normalization, in integers.

"Gradient Knows Best" (CVPR 2026) takes the lowest and the highest value of every channel of every picture, brings what lies
between to -1..1, rounds it there to ``2^b`` codes between two trained ends, and goes back. Here all of that happens to integers
of 16 bits on a static grid, whole numbers ``c``:

    a = min c + (low (max c - min c) + 2^14) >> 15        the trained ends, in parts of 2^-15 of the channel's range
    e = min c + (high (max c - min c) + 2^14) >> 15
    q = round((c - a) n / (e - a)), between 0 and n = 2^b - 1       what is stored, beside a and e of the channel
    c' = a + round(q (e - a) / n)                                   what a reader multiplies

Divisions round halves up. So readers are ordinary layers of 16-bit tensors, sums are those of integers, and the zeros about a
picture are exact though zero is no code of a channel. The published sum instead, over codes of ``b`` bits with a scale for every
channel, needs each channel's part rescaled inside the sum: the same numbers up to the rounding of ``c'``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.numbers import Int

PARTS_BITS = 15
PARTS = 1 << PARTS_BITS
"""Parts of a channel's range in which its ends are told."""


@dataclass(frozen=True)
class Normalized:
    """How a tensor ``[N, C, H, W]`` is stored in few bits: ``number``, at most a byte, between the ends ``low < high``, in parts
    of ``PARTS`` of what each channel of each picture spans."""

    number: Int
    low: int = 0
    high: int = PARTS

    def ends(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """``a`` and ``e`` of whole numbers ``int64[N, C, H, W]``: ``[N, C, 1, 1]`` each."""
        lowest, highest = codes.amin(dim=(2, 3), keepdim=True), codes.amax(dim=(2, 3), keepdim=True)
        return tuple(lowest + ((part * (highest - lowest) + PARTS // 2) >> PARTS_BITS) for part in (self.low, self.high))  # type: ignore[return-value]

    def stored(self, codes: Tensor) -> Tensor:
        """The codes ``q`` of whole numbers ``int64[N, C, H, W]``."""
        low, high = self.ends(codes)
        span = (high - low).clamp_min(1)
        top = self.number.levels
        return (2 * (codes - low) * top + span).div(2 * span, rounding_mode="floor").clamp(0, top)

    def projected(self, codes: Tensor) -> Tensor:
        """What is left of whole numbers ``[N, C, H, W]`` of any type."""
        whole = codes.to(torch.int64)
        low, high = self.ends(whole)
        top = self.number.levels
        back = low + (2 * self.stored(whole) * (high - low) + top).div(2 * top, rounding_mode="floor")
        return back.to(codes.dtype)
