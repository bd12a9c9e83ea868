"""The factor by which a network enlarges height and width: an exact number, whole or a fraction.

A fraction keeps no side of a picture for certain: 3/2 of 15 pixels are no pixels. So small pictures have sides that are multiples
of the denominator, large ones of the numerator. Whole factors are of type ``int``, with which nothing of that is asked.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from hwmodels.errors import UsageError

Scale = int | Fraction
"""``int`` where it is whole, else a fraction in lowest terms; at least 1. Both have a ``numerator`` and a ``denominator``."""
LARGEST = 64
FINEST = 16
"""Largest denominator: sides of all pictures, crops and windows are multiples of it."""
_TEXT = re.compile(r"[+-]?[0-9]{1,9}([.][0-9]{1,9}|/[0-9]{1,9})?")
"""Not all that Python takes for a number: ``1e999999999`` would take its memory."""
_DECIMALS = 1000
"""A fraction of this is written as a decimal number, another as a fraction."""
_ALLOWED = (
    f"Allowed: 1 to {LARGEST}, whole or a fraction of whole numbers such as 1.5 or 4/3, whose denominator is at most {FINEST}."
)


def exact(given: int | float | str | Fraction) -> Scale:
    """The scale that a number or a text (``2``, ``1.5``, ``3/2``) stands for; a decimal number is what its digits say.

    Raises:
        UsageError: it is none, or too small, too large or too fine.
    """
    text = given.strip() if isinstance(given, str) else str(given)
    words = f"scale {text[:30]!r}"
    try:
        if isinstance(given, bool) or (isinstance(given, str) and not _TEXT.fullmatch(text)):
            raise ValueError
        found = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{words}: no number", _ALLOWED) from None
    if found < 1:
        why = "a network must enlarge pictures, or leave their size" if found > 0 else "not above 0"
        raise UsageError(f"{words}: {why}", _ALLOWED)
    if found > LARGEST:
        raise UsageError(f"{words}: too large", _ALLOWED)
    if found.denominator > FINEST:
        near = found.limit_denominator(FINEST)
        raise UsageError(f"{words}: too fine ({found})", f"{_ALLOWED} Is {scale_text(normal(near))} meant?")
    return normal(found)


def normal(found: Fraction) -> Scale:
    """The same number, as an ``int`` where it is whole."""
    return found.numerator if found.denominator == 1 else found


def between(large: int, small: int) -> Scale:
    """``large`` over ``small``, of any size."""
    return normal(Fraction(large, small))


def scale_text(scale: Scale) -> str:
    """As people read it, and as documents spell a fraction: ``2``, ``1.5``, ``4/3``."""
    decimal = isinstance(scale, Fraction) and _DECIMALS % scale.denominator == 0
    return f"{float(scale):g}" if decimal else str(scale)


def spelled(scale: Scale) -> int | str:
    """As documents hold it: whole numbers as they are, fractions as ``scale_text``."""
    return scale if isinstance(scale, int) else scale_text(scale)


def enlarged(side: int, scale: Scale) -> int:
    """``side`` pixels, enlarged.

    Raises:
        ValueError: they are no whole number of pixels.
    """
    found = normal(Fraction(side) * scale)
    if not isinstance(found, int):
        raise ValueError(f"{scale_text(scale)} times {side} pixels are no whole number of pixels")
    return found


def shrunk(side: int, scale: Scale) -> int:
    """The largest whole number of pixels whose ``scale``-fold is whole, too, and at most ``side``."""
    return side // scale.numerator * scale.denominator


def at_least(side: int, scale: Scale) -> int:
    """The smallest number of pixels from ``side`` on whose ``scale``-fold is whole."""
    return -(-side // scale.denominator) * scale.denominator


def border(scale: Scale) -> int:
    """Pixels at the rim of an enlarged picture that the literature leaves out: the scale, rounded up."""
    return math.ceil(scale)


def network_text(network: str, scale: Scale) -> str:
    """A network and by how much it enlarges, as titles have it: "fsrcnn x2"."""
    return f"{network} x{scale_text(scale)}"
