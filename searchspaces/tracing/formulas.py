"""Sizes that depend on the picture, found by comparing two traces of one module.

A traced reshape has the numbers of one picture. The module is traced at a second size, with two pictures at once; where a number
differs, the formula in ``h`` and ``w`` is sought that gives both: a multiple or part of a side, of the area, or of a side rounded
up to a window, or what is missing up to it, or both sides behind one another. Axis that grows with the number of pictures: -1,
whatever is left over. That the formulas are right is not assumed: the graph is executed at further sizes (``compared.check``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import torch

from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op, Shape
from searchspaces.ops.extent import Extent
from searchspaces.ops.moves.move import Expand, Reshape
from searchspaces.ops.moves.pad import Pad

WINDOWS = (1, 8, 16, 4, 2, 32, 64, 7, 6, 12, 24, 3, 5, 9, 10, 14, 20, 28, 40, 48, 56, -2)
"""Multiples to which networks round the sides of a picture (see ``joined``)."""
_OFFSET = 64
_Side = tuple[str, int, int]
"""A formula and what it is for both samples."""


class Differs(Exception):
    """The two traces are not one graph with other sizes; the message says where.

    Attributes:
        for_any_count: so they are for any number of pictures at once.
    """

    def __init__(self, where: str, for_any_count: bool = False) -> None:
        super().__init__(where)
        self.for_any_count = for_any_count


@dataclass(frozen=True)
class TraceSize:
    """Height and width of the picture of a trace, and how many pictures at once."""

    height: int
    width: int
    count: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        return (self.height, self.width)


def depends_on_size(nodes: Sequence[Node]) -> bool:
    """Whether a traced graph has numbers that may be those of the picture."""
    return any(isinstance(value, int | tuple) for node in nodes for value in _sizes(node.op))


def holds_sizes(nodes: Sequence[Node]) -> bool:
    """The same, where formulas may stand in place of numbers."""
    return any(True for node in nodes for _ in _sizes(node.op))


def _sizes(op: Op) -> Iterator[Any]:
    for name in op.extents:
        value = getattr(op, name)
        if value is not None and not _is_cut_of_channels(op):
            yield value


def _is_cut_of_channels(op: Op) -> bool:
    return getattr(op, "axis", None) == 1 and not isinstance(op, Reshape | Expand)


def joined(
    first: Sequence[Node], second: Sequence[Node], samples: tuple[TraceSize, TraceSize], window: int, *, own: bool = False
) -> list[Node]:
    """The first trace with formulas where the second has other numbers.

    Args:
        window: multiple to which sides may be rounded. Negative: padding and cuts that are what sides have beyond whole windows,
            or lack up to them, in both traces are that and no constants.
        own: padding and cuts of rows come from the height, those of columns from the width, whichever way that is rounded; else
            from what is rounded up, of either.
    Raises:
        Differs: another number of nodes, another operator, another constant, or a number without a formula.
    """
    if len(first) != len(second):
        raise Differs("the number of operations")
    return [_joined(a, b, samples, window, own) for a, b in zip(first, second, strict=True)]


def _joined(a: Node, b: Node, samples: tuple[TraceSize, TraceSize], window: int, own: bool) -> Node:
    if type(a.op) is not type(b.op) or a.inputs != b.inputs or a.weights.keys() != b.weights.keys():
        raise Differs(f"the operation {a.name}")
    for role, weight in a.weights.items():
        if not torch.equal(weight, b.weights[role]):
            of_sides = b.weights[role].numel() not in (weight.numel(), weight.numel() * samples[1].count // samples[0].count)
            raise Differs(f"a constant of {a.name}", for_any_count=of_sides)
    changed: dict[str, Any] = {}
    for field in fields(a.op):
        one, two = getattr(a.op, field.name), getattr(b.op, field.name)
        if field.name in a.op.extents:
            found = _sizes_of(a.op, one, two, samples, window, own)
            if found is None:
                raise Differs(f"a size of {a.name}, {one} and {two}")
            changed[field.name] = found[0]
        elif one != two:
            raise Differs(f"{field.name} of {a.name}")
    return a.with_op(**changed) if changed else a


def _sizes_of(op: Op, one: Any, two: Any, samples: tuple[TraceSize, TraceSize], window: int, own: bool) -> tuple[Any] | None:
    """The field of an operator, wrapped; None where no formula gives both."""
    if one is None or not isinstance(one, tuple):
        if one is None or two is None:
            return (None,) if one is two else None
        found = formula(one, two, samples, abs(window))
        return None if found is None else (found,)
    if len(one) != len(two):
        return None
    if isinstance(op, Reshape):
        return _reshape(one, two, samples, abs(window))
    items: list[Extent] = []
    for place, (x, y) in enumerate(zip(one, two, strict=True)):
        found = _missing(x, y, samples, window, across=place < _ACROSS, own=own) if isinstance(op, Pad) else None
        found = formula(x, y, samples, abs(window)) if found is None else found
        if found is None and isinstance(op, Expand) and x in (1, -1):
            found = -1  # more pictures at once
        if found is None:
            return None
        items.append(found)
    return (tuple(items),)


def _reshape(one: Shape, two: Shape, samples: tuple[TraceSize, TraceSize], window: int) -> tuple[Any] | None:
    """Sizes with -1 on the one axis that grows with the number of pictures."""
    plain = [formula(x, y, samples, window) for x, y in zip(one, two, strict=True)]
    count = samples[1].count
    for axis, (x, y) in enumerate(zip(one, two, strict=True)):
        rest = [found for place, found in enumerate(plain) if place != axis]
        if -1 in (x, y):
            return (one,) if one == two else None
        if y % count == 0 and None not in rest and formula(x, y // count, samples, window) is not None:
            return (tuple(-1 if place == axis else found for place, found in enumerate(plain)),)
    return None


def formula(one: int, two: int, samples: tuple[TraceSize, TraceSize], window: int) -> Extent | None:
    """What is ``one`` for the first picture and ``two`` for the second; None where nothing simple is."""
    if one == two:
        return one
    (h0, w0), (h1, w1) = (sample.shape for sample in samples)
    plain = [("h", h0, h1), ("w", w0, w1)]
    whole = [[_rounded(side, window, up) for side in plain] for up in (True, False)] if window > 1 else []
    for tall, wide in (plain, *whole):
        both = (f"{tall[0]} * {wide[0]}", tall[1] * wide[1], tall[2] * wide[2])
        total = (f"({tall[0]} + {wide[0]})", tall[1] + wide[1], tall[2] + wide[2])
        for text, x, y in (tall, wide, both):
            if one and x and y and Fraction(one, x) == Fraction(two, y):
                return _scaled(text, Fraction(one, x))
        for ratio in _OF_TOTAL:
            if one == ratio * total[1] and two == ratio * total[2]:
                return _scaled(total[0], ratio)
    for sides in whole:
        if (gap := _gap(one, two, plain, sides)) is not None:
            return gap
    if one < 0 and two < 0:  # so much is cut off
        inner = formula(-one, -two, samples, window)
        return None if inner is None else f"-({inner})"
    if (part := _part(one, two, plain)) is not None:
        return part
    grown: list[tuple[int, str]] = []
    for side, x, y in (*plain, *(side for sides in whole for side in sides)):
        slope = Fraction(two - one, y - x) if y != x else Fraction(0)
        offset = one - slope * x
        simple = slope.numerator in (1, 2, 3, 4) and slope.denominator in (1, 2, 3, 4, 8) and offset.denominator == 1
        if simple and abs(offset) <= (_OFFSET if slope.denominator == 1 else max(_BORDERS)):
            text = f"{_scaled(side, slope)} + {offset}" if offset > 0 else f"{_scaled(side, slope)} - {-offset}"
            grown.append((abs(int(offset)), text))
    if grown:  # where height and width differ by as much in both pictures, the nearer of them is meant
        return min(grown, key=lambda found: found[0])[1]
    return _product(one, two, samples)


_OF_TOTAL = (Fraction(1), Fraction(2), Fraction(4), Fraction(1, 2), Fraction(1, 4))
"""Of height and width behind one another (means of rows and of columns, as coordinate attention has them)."""
_PARTS = [Fraction(top, bottom) for bottom in (2, 3, 4, 8) for top in range(1, 2 * bottom) if math.gcd(top, bottom) == 1]


def _part(one: int, two: int, plain: Sequence[_Side]) -> str | None:
    """A part of a side, rounded down or up: ``h * 3 // 2``."""
    for side, x, y in plain:
        for part in _PARTS:
            top, bottom = part.numerator, part.denominator
            for more in (0, bottom - 1):
                if (one, two) == ((x * top + more) // bottom, (y * top + more) // bottom):
                    return _scaled(side, part) if not more else f"({_scaled(side, Fraction(top))} + {more}) // {bottom}"
    return None


_RATIOS = (Fraction(1), Fraction(1, 2), Fraction(2), Fraction(1, 4), Fraction(1, 8), Fraction(4), Fraction(3), Fraction(1, 3))
_BORDERS = (1, 2, -1, -2, 3, 4, -3, -4, 0)
"""What padding and windows add to a side or take off it."""


def _product(one: int, two: int, samples: tuple[TraceSize, TraceSize]) -> str | None:
    """The area of a picture whose sides have grown or shrunk by a border: ``(h // 2 + 1) * (w // 2 + 1)``."""
    (h0, w0), (h1, w1) = (sample.shape for sample in samples)
    for ratio in _RATIOS:
        for more in _BORDERS:
            tall, other = (ratio * h0 + more, ratio * h1 + more), (ratio * w0, ratio * w1)
            if min(tall) <= 0 or any(side.denominator != 1 for side in tall) or one % tall[0] or two % tall[1]:
                continue
            rest = (one // tall[0] - other[0], two // tall[1] - other[1])
            if rest[0] == rest[1] and rest[0].denominator == 1 and abs(rest[0]) <= max(_BORDERS):
                return f"({_scaled('h', ratio)} + {more}) * ({_scaled('w', ratio)} + {rest[0]})".replace("+ -", "- ")
    return None


_ACROSS = 2
"""So many amounts of a padding, the first ones, are columns."""


def _missing(
    one: int, two: int, samples: tuple[TraceSize, TraceSize], window: int, *, across: bool, own: bool = False
) -> Extent | None:
    """What a side lacks up to whole windows, or has beyond them: of a padding, the likeliest formula. By chance it may be a count
    of windows, too. ``across``: of columns. ``own``: see ``joined``."""
    if (one == two and (window > 0 or not one)) or window == 1:
        return None
    if max(one, two) <= 0:  # so much is cut off
        inner = _missing(-one, -two, samples, window, across=across, own=own)
        return None if inner is None else f"-({inner})"
    (h0, w0), (h1, w1) = (sample.shape for sample in samples)
    plain = [("h", h0, h1), ("w", w0, w1)]
    plain = plain[::-1] if across else plain
    ways = [(side, up) for up in (True, False) for side in plain]
    for side, up in ways if not own else sorted(ways, key=lambda way: plain.index(way[0])):
        if (gap := _gap(one, two, [side], [_rounded(side, abs(window), up)])) is not None:
            return gap
    return None


_MOST = 16
"""What pictures are enlarged by at most, and so what is cut off them is a multiple of."""


def _gap(one: int, two: int, plain: Sequence[_Side], rounded: Sequence[_Side]) -> Extent | None:
    """A multiple of the difference between a side and what it is rounded to, or a half of it that is whole."""
    for (text, x, y), (side, a, b) in zip(rounded, plain, strict=True):
        missing = (x - a, y - b)
        ratios = {Fraction(value, gap) for value, gap in zip((one, two), missing, strict=True) if gap}
        none = all(value == 0 for value, gap in zip((one, two), missing, strict=True) if not gap)
        if none and len(ratios) == 1 and abs(min(ratios)) <= _MOST:
            return _scaled(f"({text} - {side})", ratios.pop())
        for more in (0, 1):
            if any(missing) and (one, two) == tuple((gap + more) // 2 for gap in missing):
                return f"({text} - {side}{' + 1' if more else ''}) // 2"
    return None


def _rounded(side: _Side, step: int, up: bool) -> _Side:
    """A side rounded to whole windows, as text and for both samples."""
    text, one, two = side
    if up:
        return f"(({text} + {step - 1}) // {step} * {step})", -(-one // step) * step, -(-two // step) * step
    return f"({text} // {step} * {step})", one // step * step, two // step * step


def _scaled(text: str, ratio: Fraction) -> str:
    scaled = text if ratio.numerator == 1 else f"{text} * {ratio.numerator}"
    if ratio.numerator < 0:
        scaled = f"{text} * ({ratio.numerator})"
    return scaled if ratio.denominator == 1 else f"{scaled} // {ratio.denominator}"
