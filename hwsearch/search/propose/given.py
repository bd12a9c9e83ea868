"""The plan that a model file had already: what its search begins with, and has to beat."""

from __future__ import annotations

from collections.abc import Mapping

from searchspaces.space import PlanRow, SearchSpace

WIDEST = 32
"""Bits of what the file does not quantize: the widest that the device has."""


def plan(space: SearchSpace, widths: Mapping[str, int]) -> PlanRow | None:
    """The plan of the device nearest to a file's widths; None where it has none.

    Args:
        widths: bits of layers by name, of tensors by name behind an arrow (``-> name``).
    """
    if not widths:
        return None
    wanted = [widths.get(name, WIDEST) for name in space.layer_names]
    wanted += [widths.get(f"-> {name}", WIDEST) for name in space.group_names]
    return space.nearest(wanted)
