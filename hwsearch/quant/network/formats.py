"""How one tensor is stored: a number format, and for integers the grid that gives their codes a meaning.

Codes are unsigned and live in the smallest container that holds them: ``q = clamp(rint(x / scale) + zero_point, qmin, qmax)``,
round half to even. ReLU, ReLU6 and widths below those of the container are nothing but ``qmin`` and ``qmax``. Symmetric formats
put the zero point in the middle of the container.

A format may have a decode table: of the codes of its container only some ``levels`` occur, no more than its bits can number. What
is stored then is the number of a level; whoever computes looks it up and has an ordinary code.

Or it is normalized (``network.normalized``): codes of 16 bits of which each channel of each picture keeps a few, evenly between
ends of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import BF16, FP8_E4M3, FP8_E5M2, FP16, FP32, INT8, Float, Int, NumberFormat
from hwsearch.quant.network.normalized import Normalized

_STORED_AS = {
    FP32: torch.float32,
    FP16: torch.float16,
    BF16: torch.bfloat16,
    FP8_E4M3: torch.float8_e4m3fn,
    FP8_E5M2: torch.float8_e5m2,
}
"""torch's type of each floating-point format: rounding to nearest even is its conversion."""


def rounded(x: Tensor, fmt: Float) -> Tensor:
    """What is left of real values (float32) in a floating-point format.

    Raises:
        KeyError: torch has no such type.
    """
    return x.to(_STORED_AS[fmt]).float()


def rounded_array(x: np.ndarray, fmt: Float) -> np.ndarray:
    """The same for an array of any precision, as float32. Half precision is rounded once, also from double."""
    if fmt == FP16:
        return x.astype(np.float16).astype(np.float32)
    return rounded(torch.from_numpy(x.astype(np.float32)), fmt).numpy()


def scaled_and_rounded(x: Tensor, fmt: Float, scale: float | Tensor) -> Tensor:
    """What is left of real values where a floating-point format stores ``x / scale``: as they are above a byte; below, values
    beyond the largest number become it, as runtimes convert to 8 bits."""
    if fmt.is_wide:
        return rounded(x, fmt)
    return rounded((x / scale).clamp(-fmt.largest, fmt.largest), fmt) * scale


def power_of_two_scale(reach: float, fmt: Float) -> float:
    """The least power of two with which ``reach`` is at most the largest number of a format; 1 above a byte, and for nothing.
    Of powers of two, because then scaling loses nothing, wherever it is done."""
    return 1.0 if fmt.is_wide or reach <= 0 else 2.0 ** math.ceil(math.log2(reach / fmt.largest))


@dataclass(frozen=True)
class TensorFormat:
    """How one tensor is stored.

    ``scale`` is exactly representable in float32, and of a floating-point ``number`` a power of two: above a byte 1, below what
    brings the range of the tensor to that of the format. The three codes belong to integers alone. ``levels``: shifted codes
    ``q - z`` that occur, ascending, zero among them; None: all of them. ``normalized``: how few of 16-bit codes a channel of a
    picture keeps; None: all.
    """

    number: NumberFormat
    scale: float = 1.0
    zero_point: int = 0
    qmin: int = 0
    qmax: int = INT8.last_code
    levels: tuple[int, ...] | None = None
    normalized: Normalized | None = None

    @property
    def bits(self) -> int:
        """What a value takes where it is stored."""
        return self.number.bits if self.normalized is None else self.normalized.number.bits

    @property
    def keeps_all(self) -> bool:
        """Whether every code between ``qmin`` and ``qmax`` is one that is stored."""
        return self.levels is None and self.normalized is None

    def projects(self, *, moved: bool) -> bool:
        """Whether what a node gives has to be ``projected``; what it only moves between normalized tensors (``moved``) was."""
        return not (self.keeps_all or (self.normalized is not None and moved))

    @property
    def is_float(self) -> bool:
        return self.number.is_float

    @property
    def is_wide(self) -> bool:
        """Whether a value takes more than the narrowest container."""
        return self.number.is_wide

    @property
    def is_wide_integer(self) -> bool:
        """``is_wide``, of integers alone."""
        return self.number.is_wide_integer

    @property
    def grid(self) -> Int:
        """The integers of a format that has them."""
        assert isinstance(self.number, Int), "a floating-point tensor has no codes"
        return self.number

    @property
    def is_symmetric(self) -> bool:
        """Whether zero is the code in the middle of the container, or of the width itself."""
        return self.zero_point in (self.grid.middle, self.grid.own_middle)

    @property
    def carrier(self) -> torch.dtype:
        """What the integer engine holds codes in: uint8 the codes ``q`` of a narrow container as they are, int16 *shifted* codes
        ``q - z`` where they fit; float32 otherwise, and for floating point."""
        if self.is_float:
            return torch.float32
        if not self.is_wide and min(self.qmin, self.zero_point) >= 0 and max(self.qmax, self.zero_point) <= INT8.last_code:
            return torch.uint8
        fits = self.qmax - self.zero_point < INT16_LIMIT and self.zero_point - self.qmin <= INT16_LIMIT
        return torch.int16 if fits else torch.float32

    @property
    def origin(self) -> int:
        """What the carrier holds where the real value is zero."""
        return self.zero_point if self.carrier == torch.uint8 else 0

    def carried(self, shifted: Tensor) -> Tensor:
        """Shifted codes, or the rounded values of floating point, in the carrier."""
        return (shifted + self.origin if self.origin else shifted).to(self.carrier)

    def shifted(self, carried: Tensor) -> Tensor:
        """The inverse of ``carried``: int16 from uint8, otherwise as they are."""
        return carried.to(torch.int16).sub_(self.origin) if self.carrier == torch.uint8 else carried

    def encode(self, x: Tensor) -> Tensor:
        """Real values to codes (float32 tensor holding integers), any shape."""
        # In place: a simulation of a transformer spends a third of its time here.
        codes = (x / self.scale).round_().add_(self.zero_point).clamp_(self.qmin, self.qmax)
        return codes if self.levels is None else self.projected(codes - self.zero_point) + self.zero_point

    def projected(self, shifted: Tensor) -> Tensor:
        """Shifted codes of the container to the nearest that the decode table has, the lower of two; any shape and type. Of a
        normalized tensor ``[N, C, H, W]`` to those that each channel keeps: once alone, where it is computed."""
        if self.normalized is not None:
            return self.normalized.projected(shifted)
        if self.levels is None:
            return shifted
        low = self.qmin - self.zero_point
        table = _projection(self.levels, low, self.qmax - self.zero_point)
        return table[(shifted - low).long()].to(shifted.dtype)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes to real values."""
        return (codes - self.zero_point) * self.scale

    def stored(self, x: Tensor) -> Tensor:
        """Real values as the engine and the simulation carry them: shifted codes, or the rounded values; float32."""
        if isinstance(self.number, Float):
            return scaled_and_rounded(x, self.number, self.scale)
        return self.encode(x).sub_(self.zero_point)

    def real(self, stored: Tensor) -> Tensor:
        """The real values of what ``stored`` gives."""
        return stored if self.is_float else stored * self.scale

    def fake(self, x: Tensor) -> Tensor:
        """What is left of real values after being stored in this format."""
        if isinstance(self.number, Float):
            return scaled_and_rounded(x, self.number, self.scale)
        codes = self.encode(x)
        return self.decode(codes if self.normalized is None else self.projected(codes - self.zero_point) + self.zero_point)


@lru_cache(maxsize=1024)
def _projection(levels: tuple[int, ...], low: int, high: int) -> Tensor:
    """The level nearest to each of ``low..high``, among those in there: ``int16[high - low + 1]``."""
    inside = np.array([level for level in levels if low <= level <= high])
    codes = np.arange(low, high + 1)
    return torch.from_numpy(inside[np.abs(codes[:, None] - inside).argmin(axis=1)].astype(np.int16))


INT16_LIMIT = 1 << 15
