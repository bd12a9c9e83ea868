"""Words that a program of unknown origin puts together, by hand: Python's own formatting follows attributes of what it is given
("{0.name}") and fills up to any width ("%09d").

Source of the meanings: PyTorch's TorchScript Language Reference, and what its interpreter gives.
"""

from __future__ import annotations

import re
from typing import Any

from hwsearch.formats.torchscript.fast_paths import Unfollowed

MOST_CHARACTERS = 10**5
"""No network needs words that are longer: they name modes, and faults."""
_FIELD = re.compile(r"%(.?)", re.DOTALL)


def formatted(text: str, *given: Any) -> str:
    """``aten::format``: each "{}" replaced by a value.

    Raises:
        Unfollowed: other fields, as many values as there are no fields, or values that are no numbers or words.
    """
    parts = text.split("{}")
    if any("{" in part or "}" in part for part in parts) or len(parts) != len(given) + 1:
        raise Unfollowed("words with other fields than {}")
    filled = [*map(_told, given), ""]
    return joined("", [piece for pair in zip(parts, filled, strict=True) for piece in pair])


def by_percent(text: str, given: Any) -> str:
    """``aten::percentFormat``: %s, %d, %i, %f and %% with neither width nor precision.

    Raises:
        Unfollowed: see ``formatted``.
    """
    values = [*given] if isinstance(given, tuple) else [given]
    pieces, end = [], 0
    for field in _FIELD.finditer(text):
        pieces.append(text[end : field.start()])
        end = field.end()
        if field[1] == "%":
            pieces.append("%")
            continue
        if field[1] not in ("s", "d", "i", "f") or not values:
            raise Unfollowed("words with other fields than %s, %d, %i and %f")
        value = values.pop(0)
        if field[1] != "s" and type(value) not in (int, float):
            raise Unfollowed("words in which a number is none")
        pieces.append(_told(value) if field[1] == "s" else f"{value:f}" if field[1] == "f" else str(int(value)))
    if values:
        raise Unfollowed("words with more values than fields")
    return joined("", [*pieces, text[end:]])


def joined(text: str, items: list[str]) -> str:
    """``aten::join``.

    Raises:
        Unfollowed: longer than ``MOST_CHARACTERS``.
    """
    if sum(map(len, items)) + len(text) * len(items) > MOST_CHARACTERS:
        raise Unfollowed("words without end")
    return text.join(items)


def _told(value: Any) -> str:
    """A value in words; lists of numbers too, such as sizes in the text of a fault."""
    if value is None or type(value) in (bool, int, float, str):
        return str(value)
    if type(value) is list and len(value) < MOST_CHARACTERS and all(type(item) in (bool, int, float) for item in value):
        return str(value)
    raise Unfollowed("words made of what is neither a number nor a word")
