"""How far a network enlarges pictures: found by the size of what it gives for one.

By a fraction, only some sizes are enlarged to whole pixels; for others a network gives a pixel more or less (a convolution with
stride rounds up, an interpolation down). So a fraction is believed where it is exact at multiples of its denominator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

from hwmodels.errors import UsageError
from searchspaces.data.scale import FINEST, LARGEST, Scale, normal, scale_text

Size = tuple[int, int]
Gives = Callable[[Size], tuple[int, ...] | None]
"""Height and width of a picture to the shape of what the network gives, None where it does not take that size."""
_PICTURE = "A network must return the picture, enlarged or of its own size, with as many channels as it reads."
_OTHER = "One that returns something else, such as the scores of classes, is asked for with --task classifier."


def found(gives: Gives, channels: int, size: Size, target: str, hint: str = "") -> Scale:
    """The scale of a network.

    Args:
        size: one that it takes; others are tried where it seems to enlarge by a fraction.
        target: what the network is called. hint: what to do where it is refused, if more is known than here.
    Raises:
        UsageError: it gives no picture of as many channels, or one that is not enlarged by a scale (see ``data.scale``).
    """
    shape = gives(size)
    says = f"{target}: a picture of {channels}x{size[0]}x{size[1]} (channels x height x width) becomes {shape}"
    if shape is None or len(shape) != 4 or shape[:2] != (1, channels) or 0 in shape:
        raise UsageError(says, hint or f"{_PICTURE} {_OTHER}")
    tall, wide = (Fraction(large, small) for large, small in zip(shape[2:], size, strict=True))
    if max(tall, wide) < 1:
        raise UsageError(f"{says}, which is smaller", hint or f"{_PICTURE} Quality of smaller pictures is not measured.")
    if tall == wide and tall.denominator == 1 and tall <= LARGEST:
        return tall.numerator
    for scale in _near(shape[2:], size):
        if _holds(scale, gives, size, exact=scale == tall == wide):
            return normal(scale)
    raise UsageError(
        f"{says}: {float(tall):.4g} times the height, {float(wide):.4g} times the width",
        hint
        or "A network must enlarge height and width by one factor, the same for pictures of every size: a whole number, or a "
        f"fraction such as 3/2 with a denominator of at most {FINEST}; {scale_text(LARGEST)} times at most.",
    )


def _near(large: tuple[int, ...], size: Size) -> Iterator[Fraction]:
    """Fractions that make ``size`` to ``large``, rounded up or down; coarse ones first."""
    for denominator in range(2, FINEST + 1):
        middle = large[0] * denominator // size[0]
        for numerator in (middle, middle + 1):
            scale = Fraction(numerator, denominator)
            alike = all(abs(scale * small - side) < 1 for small, side in zip(size, large, strict=True))
            if alike and scale.denominator == denominator and 1 <= scale <= LARGEST:
                yield scale


def _holds(scale: Fraction, gives: Gives, size: Size, *, exact: bool) -> bool:
    """Whether a scale is right at the first size that the network takes besides ``size`` and of which it makes whole pixels.

    Args:
        exact: it is right at ``size``, which is enough where the network takes no other.
    """
    height, width = (math.lcm(side, scale.denominator) for side in size)
    for other in ((height, width), (2 * height, width), (2 * height, 2 * width)):
        if other != size and (shape := gives(other)) is not None:
            return shape[2:] == tuple(side * scale for side in other)
    return exact
