"""An end to what a program of unknown origin computes with numbers and lists.

Operators on tensors are not counted by their work: what is bounded here is what the language does beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hwsearch.formats.torchscript.fast_paths import Unfollowed

MOST = 250_000
"""Nodes that a run takes, and items and characters that it puts together. So many take about two seconds, and a program is run
again for every size that is tried; a network with as many operators on tensors could not be searched anyway."""
_INT64 = range(-(2**63), 2**63)


class Budget:
    """What one run has left."""

    def __init__(self) -> None:
        self.left = MOST

    def spend(self, count: int) -> None:
        """Raises Unfollowed where nothing is left."""
        self.left -= count
        if self.left < 0:
            raise Unfollowed(f"more than {MOST} steps: a loop without end, or a list that grows without one")

    def computed(self, name: str, function: Callable[..., Any], given: list[Any]) -> Any:
        """What a function of numbers, words and lists gives.

        Raises:
            Unfollowed: more than is left, or a whole number beyond 64 bits.
        """
        if name == "pow":
            return power(*given)
        self.spend(_length(name, given))
        found = function(*given)
        if type(found) is int and found not in _INT64:
            raise Unfollowed("a whole number beyond 64 bits")
        if isinstance(found, list | tuple | str | dict) and not any(found is item for item in given):
            self.spend(len(found))
        return found


def power(base: Any, exponent: Any) -> Any:
    """``aten::pow`` of numbers: in floating point as the language has it, of whole numbers too."""
    if isinstance(base, complex) or isinstance(exponent, complex):
        return base**exponent
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
    except ValueError:
        if base == 0:
            raise ZeroDivisionError("0 to a negative power") from None
        return math.nan  # a root of a negative number


def _length(name: str, given: list[Any]) -> int:
    """Of what would be made by those whose result may be far longer than what they are given."""
    match name, given:
        case "mul", [list() | str() as items, int(times)] | [int(times), list() | str() as items]:
            return len(items) * max(times, 0)
        case "rangelist", _:
            return len(range(*given))
        case "extend", [_, items]:
            return len(items)
    return 0
