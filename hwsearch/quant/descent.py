"""One of several forms for each part of a network: the forms that are best all at once, then better ones part by part.

Errors of few bits do not add up: what an error does depends on those that it meets. So a form is judged beside the others as they
are by then (coordinate descent), and what comes out is at least as good as the best of the sets that were given, by the same
measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def descended(
    forms: Mapping[str, Mapping[str, T]], harm: Callable[[Mapping[str, T]], float], same: Callable[[T, T], bool]
) -> dict[str, str]:
    """Part -> who made its form. Of equals the first named is taken; forms that are the ``same`` are measured once.

    Args:
        forms: part -> maker -> form; the parts in the order in which they are decided, every one with the same makers.
        harm: what forms of all parts do together, the less the better.
    """
    makers = list(next(iter(forms.values()), {}))
    alike = {part: _first_alike(own, same) for part, own in forms.items()}
    starts = {maker: {part: first[maker] for part, first in alike.items()} for maker in makers}
    different = list({tuple(start.values()): start for start in reversed(starts.values())}.values())[::-1]

    def measured(taken: Mapping[str, str]) -> float:
        return harm({part: forms[part][maker] for part, maker in taken.items()})

    if len(different) <= 1:
        return dict(different[0]) if different else {}
    least, taken = min(((measured(start), start) for start in different), key=lambda found: found[0])
    taken = dict(taken)
    for part, first in alike.items():
        found = {taken[part]: least}
        for maker in dict.fromkeys(first.values()):
            if maker not in found:
                found[maker] = measured({**taken, part: maker})
        least = min(found.values())
        taken[part] = next(maker for maker in makers if found.get(maker) == least)
    return taken


def _first_alike(own: Mapping[str, T], same: Callable[[T, T], bool]) -> dict[str, str]:
    """Maker -> the first maker of the same form."""
    found: dict[str, str] = {}
    for maker, form in own.items():
        found[maker] = next((other for other in dict.fromkeys(found.values()) if same(own[other], form)), maker)
    return found
