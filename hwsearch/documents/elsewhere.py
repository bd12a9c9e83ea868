"""Layers of a plan that the device's runtime hands to another processor, in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hwmodels.device.device import Device
from hwmodels.device.sections.npu import Npu
from hwsearch.documents import units
from hwsearch.documents.results import DeviceFacts, LayerRow

NAMED = 3
"""How many layers are named; of the others there is a number."""
UNCOMPARED = ", by counted instructions that no measurement was held against (intervals take twice and half of it)"
UNKNOWN = ", by its bytes alone: the device file does not say how fast that is ([npu.fallback])"


def seconds(layers: Sequence[LayerRow], device: Device | DeviceFacts) -> float:
    """What layers take that run elsewhere, where the figures that the device's prices were held against do not count them: those
    of a compiler, which estimates its array alone."""
    if isinstance(device, DeviceFacts):
        documented = any(fact.key.startswith("npu.array.") for fact in device.facts)
    else:
        documented = _array(device) is not None
    return sum(layer.latency_s for layer in layers if layer.runs_on) if documented else 0.0


def sentences(layers: Sequence[LayerRow], latency_s: float, device: Device) -> tuple[str, ...]:
    """Which operators run elsewhere, and their part of the latency; one sentence for each processor, none where all stay."""
    said = []
    array = _array(device)
    beyond = "" if array is None else UNKNOWN if array.fallback is None else UNCOMPARED
    for processor in dict.fromkeys(layer.runs_on for layer in layers if layer.runs_on):
        there = [layer for layer in layers if layer.runs_on == processor]
        kinds = ", ".join(f"{count} {op}" for op, count in Counter(layer.op for layer in there).items())
        named = ", ".join(layer.name for layer in there[:NAMED])
        more = f" and {len(there) - NAMED} more" if len(there) > NAMED else ""
        taken_s = sum(layer.latency_s for layer in there)
        said.append(
            f"{len(there)} of {len(layers)} layers run on the {processor} ({kinds}: {named}{more}): {units.seconds(taken_s)} of "
            f"{units.seconds(latency_s)}, with the way there and back and the restart behind each{beyond}"
        )
    return tuple(said)


def _array(device: Device) -> Npu | None:
    """What the device file says of a documented array; None for other devices."""
    return device.section if isinstance(device.section, Npu) and device.section.array is not None else None
