"""Layers of a plan that the device's runtime hands to another processor, in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hwsearch.documents import units
from hwsearch.documents.results import LayerRow

NAMED = 3
"""How many layers are named; of the others there is a number."""


def sentences(layers: Sequence[LayerRow], latency_s: float) -> tuple[str, ...]:
    """Which operators run elsewhere, and their part of the latency; one sentence for each processor, none where all stay."""
    said = []
    for processor in dict.fromkeys(layer.runs_on for layer in layers if layer.runs_on):
        there = [layer for layer in layers if layer.runs_on == processor]
        kinds = ", ".join(f"{count} {op}" for op, count in Counter(layer.op for layer in there).items())
        named = ", ".join(layer.name for layer in there[:NAMED])
        more = f" and {len(there) - NAMED} more" if len(there) > NAMED else ""
        taken_s = sum(layer.latency_s for layer in there)
        said.append(
            f"{len(there)} of {len(layers)} layers run on the {processor} ({kinds}: {named}{more}): {units.seconds(taken_s)} of "
            f"{units.seconds(latency_s)}, with the way there and back and the restart behind each"
        )
    return tuple(said)
