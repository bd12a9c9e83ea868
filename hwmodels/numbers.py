"""Number formats of a layer, written W4A8 (weight bits, activation bits), FP16 or FP32: the only parser of that notation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from hwmodels.errors import UsageError

_NOTATION = re.compile(r"[Ww](\d{1,2})[Aa](\d{1,2})")
WEIGHT_BITS = (*range(1, 9), 16)
ACTIVATION_BITS = (*range(1, 9), 16)


@total_ordering
@dataclass(frozen=True)
class Precision:
    """The widths in which a layer is executed.

    Integers (``W4A8``): weights of ``weight_bits``, activations of ``activation_bits``.
    Floating point (``FP16``, ``FP32``): both widths equal, ``is_float`` true.
    """

    weight_bits: int
    activation_bits: int
    is_float: bool = False

    def __str__(self) -> str:
        return f"FP{self.weight_bits}" if self.is_float else f"W{self.weight_bits}A{self.activation_bits}"

    def __lt__(self, other: Precision) -> bool:
        def key(p: Precision) -> tuple[int, int, bool]:
            return (p.weight_bits, p.activation_bits, p.is_float)

        return key(self) < key(other)

    def holds(self, other: Precision) -> bool:
        """Whether hardware of this precision can execute ``other`` without losing bits."""
        if other.is_float and not self.is_float:
            return False
        return self.weight_bits >= other.weight_bits and self.activation_bits >= other.activation_bits

    @classmethod
    def parse(cls, text: str) -> Precision:
        """Read ``W4A8``, ``FP16`` or ``FP32`` (any case).

        Raises:
            UsageError: the text is none of these.
        """
        word = text.strip()
        if word.upper() in ("FP16", "FP32"):
            bits = int(word[2:])
            return cls(bits, bits, is_float=True)
        match = _NOTATION.fullmatch(word)
        if match:
            weight, activation = int(match[1]), int(match[2])
            if weight in WEIGHT_BITS and activation in ACTIVATION_BITS:
                return cls(weight, activation)
        raise UsageError(
            f"{text!r} is not a precision",
            "Write weight and activation bits as W4A8 (1 to 8, or 16 bits each), or FP16, or FP32.",
        )
