"""Sizes that depend on the picture: whole numbers, or a formula in the height ``h`` and the width ``w`` of the network's input.

A reshape in a transformer says "rows of windows", which is another number for every picture. Such a size is written as the text
of a formula, ``"(h + 7) // 8"``, of whole numbers, ``h``, ``w``, ``+ - * //`` and parentheses, and nothing else: it can stand in
a file and is never executed as code.
"""

from __future__ import annotations

import ast
from functools import lru_cache

Extent = int | str
"""A size, or the formula of one."""

_LONGEST = 300


class BadExtent(ValueError):
    """Not a formula of whole numbers, ``h``, ``w``, ``+ - * //``."""


@lru_cache(maxsize=4096)
def evaluate(extent: Extent, height: int, width: int) -> int:
    """The size for an input of ``height`` x ``width``.

    Raises:
        BadExtent: the text is no such formula, or divides by zero.
    """
    if isinstance(extent, int):
        return extent
    try:
        if len(extent) > _LONGEST:
            raise BadExtent(f"a size of {len(extent)} characters")
        return _value(ast.parse(extent, mode="eval").body, height, width)
    except (SyntaxError, ZeroDivisionError, RecursionError, MemoryError) as error:
        raise BadExtent(f"{extent!r} is no size: {error}") from None


def check(extent: Extent) -> None:
    """Raise ``BadExtent`` unless the formula can be read."""
    evaluate(extent, 1 << 16, 1 << 16)


def _value(node: ast.expr, height: int, width: int) -> int:
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            return number
        case ast.Name(id="h"):
            return height
        case ast.Name(id="w"):
            return width
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, height, width)
        case ast.BinOp(left=left, op=operator, right=right):
            a, b = _value(left, height, width), _value(right, height, width)
            match operator:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv():
                    return a // b
    raise BadExtent(f"{ast.unparse(node)!r} is no size: only whole numbers, h, w, + - * // and parentheses")
