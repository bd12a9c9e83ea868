"""Number formats: how one value is represented, and the pair of them in which a layer is executed.

A format is an integer of some bits (``int8``, ``int4``; ``int4g32`` with a scale for every 32 weights) or a floating-point number
of some exponent and mantissa bits (``fp16``, ``bf16``, ``fp8e4m3``). Everything that follows from that stands here and nowhere
else: what a format takes in memory, in which container its codes live, which other formats it holds without losing anything.
Whoever needs a new format writes one more value, and names it in a device file.

Names follow the literature: OCP's 8-bit floating point (E4M3, E5M2; "8-bit Floating Point Specification", 2023), bfloat16, and
IEEE 754 half and single precision.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import total_ordering
from typing import Any

from hwmodels.errors import UsageError

CONTAINERS = (8, 16, 32)
"""Bits of the containers in which integer runtimes keep the codes of a tensor."""
BYTE = 8


class _Stored:
    """What a value takes in memory, whatever its bits mean."""

    @property
    def whole_bytes(self: NumberFormat) -> int:  # type: ignore[misc]  # the two formats are its only classes
        """Bytes of a value where none shares a byte with another."""
        return math.ceil(self.bits / BYTE)

    @property
    def packed_bytes(self: NumberFormat) -> float:  # type: ignore[misc]  # as above
        """Bytes of a value where those narrower than a byte share one; wider ones take whole bytes."""
        return self.bits / BYTE if self.bits < BYTE else self.whole_bytes


@total_ordering
@dataclass(frozen=True)
class Int(_Stored):
    """An integer of ``bits`` bits. A grid of them has a scale and, where the runtime knows such, a zero point.

    ``group``: of weights, how many of an output channel share a scale (as GPTQ, AWQ and ONNX's blocked quantization store them);
    None: all of them. Sums over groups are no integers any more, so such weights are computed with in floating point.
    """

    bits: int
    group: int | None = None

    def __str__(self) -> str:
        return f"int{self.bits}" if self.group is None else f"int{self.bits}g{self.group}"

    def __lt__(self, other: NumberFormat) -> bool:
        return _order(self) < _order(other)

    @property
    def is_float(self) -> bool:
        return False

    @property
    def container_bits(self) -> int:
        """Bits of the smallest container that holds a code.

        Raises:
            ValueError: none does.
        """
        for bits in CONTAINERS:
            if self.bits <= bits:
                return bits
        raise ValueError(f"no container holds {self.bits} bits")

    @property
    def is_wide(self) -> bool:
        """Whether codes need more than the narrowest container: such tensors have kernels and rules of their own everywhere."""
        return self.container_bits > CONTAINERS[0]

    @property
    def is_wide_integer(self) -> bool:
        """``is_wide``, of integers alone: what needs integer arithmetic of more than 8 bits."""
        return self.is_wide

    @property
    def last_code(self) -> int:
        """The largest unsigned code of the container: 255, 65535."""
        return (1 << self.container_bits) - 1

    @property
    def middle(self) -> int:
        """The code in the middle of the container, where a grid without zero points has its zero: 128, 32768."""
        return 1 << (self.container_bits - 1)

    @property
    def own_middle(self) -> int:
        """The code in the middle of the width itself, whatever its container: 2 for 2 bits, 8 for 4 bits."""
        return 1 << (self.bits - 1)

    @property
    def narrow_limit(self) -> int:
        """The largest magnitude of the narrow range, which is symmetric about zero: 127 for 8 bits."""
        return (1 << (self.bits - 1)) - 1

    @property
    def weight_codes(self) -> tuple[int, int]:
        """The lowest and the highest integer of a weight: the narrow range in 8 bits, as runtimes want it, and all of two's
        complement in fewer, which is stored with room or packed."""
        return -self.narrow_limit - (self.bits < INT8.bits), self.narrow_limit

    @property
    def levels(self) -> int:
        """Steps between the first code and the last: 255 for 8 bits."""
        return (1 << self.bits) - 1

    def scales(self, inputs: int) -> int:
        """How many scales an output channel of ``inputs`` weights has."""
        return 1 if self.group is None else math.ceil(inputs / self.group)

    def holds(self, other: NumberFormat) -> bool:
        """Whether every value of ``other`` has a code here (up to the scale, which is free; but one scale is not many)."""
        return isinstance(other, Int) and self.bits >= other.bits and other.group in (None, self.group)


@total_ordering
@dataclass(frozen=True)
class Float(_Stored):
    """A floating-point number: sign, ``exponent`` bits, ``mantissa`` bits behind the leading one."""

    exponent: int
    mantissa: int

    def __str__(self) -> str:
        return _FLOAT_NAMES.get(self, f"fp{self.bits}e{self.exponent}m{self.mantissa}")

    def __lt__(self, other: NumberFormat) -> bool:
        return _order(self) < _order(other)

    @property
    def bits(self) -> int:
        return 1 + self.exponent + self.mantissa

    @property
    def is_float(self) -> bool:
        return True

    @property
    def container_bits(self) -> int:
        return self.bits

    @property
    def largest(self) -> float:
        """The largest finite number; of E4M3 the one below its only code for what is no number."""
        if (self.exponent, self.mantissa) == (4, 3):
            return 448.0
        return (2.0 - 2.0**-self.mantissa) * 2.0 ** ((1 << (self.exponent - 1)) - 1)

    @property
    def is_wide(self) -> bool:
        return self.bits > CONTAINERS[0]

    @property
    def is_wide_integer(self) -> bool:
        return False

    def holds(self, other: NumberFormat) -> bool:
        """Whether every value of ``other`` is one here: integers that the mantissa spells out, floats of no more of both."""
        if isinstance(other, Float):
            return self.exponent >= other.exponent and self.mantissa >= other.mantissa
        # A scale is free, the leading one is implied, and an integer's sign is this format's sign.
        return self.mantissa + 2 >= other.bits


NumberFormat = Int | Float

FP32, FP16, BF16 = Float(8, 23), Float(5, 10), Float(8, 7)
FP8_E4M3, FP8_E5M2 = Float(4, 3), Float(5, 2)
INT2, INT4, INT8, INT16 = Int(2), Int(4), Int(8), Int(16)

_FLOAT_NAMES = {FP32: "fp32", FP16: "fp16", BF16: "bf16", FP8_E4M3: "fp8e4m3", FP8_E5M2: "fp8e5m2"}
_NAMED = {name: fmt for fmt, name in _FLOAT_NAMES.items()}
_INTEGERS = (*range(1, 9), 16)
"""Widths of integers that people may write: up to a byte, and 16."""
_NOTATION = re.compile(r"w(\d{1,2})(?:g([1-9]\d{0,3}))?a(\d{1,2})")
_INTEGER = re.compile(r"int(\d{1,2})(?:g([1-9]\d{0,3}))?")
FORMAT_PATTERN = rf"^(int[1-8](g[1-9][0-9]{{0,3}})?|int16|{'|'.join(_NAMED)})$"
"""Names of formats as a regular expression, for schemas."""
FORMAT_NAMES = f"int1 to int8, int16, {', '.join(_NAMED)}, or int4g32 for weights in groups of 32 with a scale each"

Width = int | str
"""How a format is written among those on offer: an integer up to a byte, and the format that 16 bits mean on a device (see
``Offered.wide``), by its bits; every other one by its name."""


def _order(fmt: NumberFormat) -> tuple[int, bool, int]:
    """Ascending in bits; at equal bits integers first, those with one scale a channel before groups; then by range."""
    return (fmt.bits, fmt.is_float, fmt.exponent if isinstance(fmt, Float) else fmt.group or 0)


def format_of(text: str) -> NumberFormat:
    """A format by its name: ``int8``, ``fp16``, ``bf16``, ``fp8e4m3``.

    Raises:
        UsageError: there is none of that name.
    """
    word = text.strip().lower()
    if word in _NAMED:
        return _NAMED[word]
    match = _INTEGER.fullmatch(word)
    if match and (bits := int(match[1])) in _INTEGERS and (match[2] is None or bits <= CONTAINERS[0]):
        return Int(bits, int(match[2]) if match[2] else None)
    raise UsageError(f"{text!r} is not a number format", f"Write {FORMAT_NAMES}.")


def formats_of(widths: Iterable[Width | NumberFormat], wide: NumberFormat) -> tuple[NumberFormat, ...]:
    """The formats that widths mean; ``wide``: what its bits mean, if they are more than a byte.

    Raises:
        UsageError: a name is that of no format.
    """
    return tuple(_meant(width, wide) for width in widths)


def _meant(width: Width | NumberFormat, wide: NumberFormat) -> NumberFormat:
    if isinstance(width, str):
        return format_of(width)
    if isinstance(width, int):
        return wide if CONTAINERS[0] < width == wide.bits else Int(width)
    return width


def bits_of(width: Width) -> int:
    """Bits of a format as it is written.

    Raises:
        UsageError: a name is that of no format.
    """
    return width if isinstance(width, int) else format_of(width).bits


class Offered:
    """What offers formats for weights and for tensors, each once, ascending. There may be several of as many bits."""

    weight_formats: tuple[NumberFormat, ...]
    tensor_formats: tuple[NumberFormat, ...]

    @property
    def weight_bits(self) -> tuple[int, ...]:
        return tuple(fmt.bits for fmt in self.weight_formats)

    @property
    def activation_bits(self) -> tuple[int, ...]:
        return tuple(fmt.bits for fmt in self.tensor_formats)

    @property
    def wide(self) -> NumberFormat | None:
        """What more than a byte means here: the first such format, of tensors before weights; None where none is offered."""
        return next((fmt for fmt in (*self.tensor_formats, *self.weight_formats) if fmt.is_wide), None)

    @property
    def weight_widths(self) -> tuple[Width, ...]:
        """The formats of weights as they are written."""
        return tuple(map(self.width, self.weight_formats))

    @property
    def tensor_widths(self) -> tuple[Width, ...]:
        """The formats of tensors as they are written."""
        return tuple(map(self.width, self.tensor_formats))

    def width(self, fmt: NumberFormat) -> Width:
        """How a format on offer is written."""
        named_by_bits = fmt == self.wide if fmt.is_wide else fmt == Int(fmt.bits)
        return fmt.bits if named_by_bits else str(fmt)


@dataclass(frozen=True)
class Formats(Offered):
    """Formats on offer, and nothing else."""

    weight_formats: tuple[NumberFormat, ...]
    tensor_formats: tuple[NumberFormat, ...]


@total_ordering
@dataclass(frozen=True)
class Precision:
    """The formats in which a layer is executed, written ``W4A8`` for integers (``W4G32A8`` with weights in groups of 32), else by
    the name of the one format: ``FP16``; of two, ``FP8E4M3/FP16``."""

    weights: NumberFormat
    activations: NumberFormat

    def __str__(self) -> str:
        if isinstance(self.weights, Int) and isinstance(self.activations, Int):
            group = "" if self.weights.group is None else f"G{self.weights.group}"
            return f"W{self.weights.bits}{group}A{self.activations.bits}"
        names = dict.fromkeys(str(fmt).upper() for fmt in (self.weights, self.activations))
        return "/".join(names)

    def __lt__(self, other: Precision) -> bool:
        def key(p: Precision) -> tuple[Any, ...]:
            return (p.weights.bits, p.activations.bits, p.is_float, _order(p.weights), _order(p.activations))

        return key(self) < key(other)

    @property
    def weight_bits(self) -> int:
        return self.weights.bits

    @property
    def activation_bits(self) -> int:
        return self.activations.bits

    @property
    def is_float(self) -> bool:
        """Whether products are formed in floating point: one operand that is suffices."""
        return self.weights.is_float or self.activations.is_float

    def holds(self, other: Precision) -> bool:
        """Whether hardware of this precision can execute ``other`` without losing bits."""
        return self.weights.holds(other.weights) and self.activations.holds(other.activations)

    @classmethod
    def integers(cls, weight_bits: int, activation_bits: int) -> Precision:
        return cls(Int(weight_bits), Int(activation_bits))

    @classmethod
    def floating(cls, fmt: Float) -> Precision:
        return cls(fmt, fmt)

    @classmethod
    def parse(cls, text: str) -> Precision:
        """Read ``W4A8``, ``FP16``, ``FP32``, ``BF16``, ... (any case).

        Raises:
            UsageError: the text is none of these.
        """
        word = text.strip().lower()
        if word in _NAMED:
            return cls(_NAMED[word], _NAMED[word])
        match = _NOTATION.fullmatch(word)
        if match:
            weight, activation = int(match[1]), int(match[3])
            if weight in _INTEGERS and activation in _INTEGERS:
                return cls(Int(weight, int(match[2]) if match[2] else None), Int(activation))
        raise UsageError(
            f"{text!r} is not a precision",
            "Write weight and activation bits as W4A8 (1 to 8, or 16 bits each), or FP16, or FP32.",
        )


def smallest(native: tuple[Precision, ...], wanted: Precision) -> Precision | None:
    """What stored formats run as: the first of the ascending ``native`` precisions that loses none of their bits. The only
    place of this rule."""
    return next((precision for precision in native if precision.holds(wanted)), None)
