"""What a device file says that no device does: mostly numbers in another unit than the one that their key names.

Such a file is priced as it stands; who checks it is told. The bounds lie about two orders of magnitude, or more, beyond every
device that ships.
"""

from __future__ import annotations

from collections.abc import Iterator

from hwmodels.device.device import Device
from hwmodels.device.facts import human, quantities

BOUNDS = {
    "hz": (1e5, 1e11),
    "MAC/s": (1e5, 1e17),
    "B/s": (1e5, 1e14),
    "B": (1024.0, 1e14),
    "s": (0.0, 1.0),
    "J": (0.0, 1e-6),
}
"""Unit -> what is likely of a device."""
MEMORIES = ("onchip", "dram")
"""Where feature maps lie."""


def unlikely(device: Device) -> list[str]:
    """What is unlikely of a device, in sentences; empty where nothing is."""
    numbers = {key: quantity.value for key, quantity in quantities(device, "")}
    return [*_out_of_bounds(numbers), *_limits(device, numbers)]


def _out_of_bounds(numbers: dict[str, float]) -> Iterator[str]:
    for key, value in numbers.items():
        unit = _unit(key)
        if unit is None or value == 0:
            continue
        least, most = BOUNDS[unit]
        if not least <= value <= most:
            edge = f"below {human(key, least)}" if value < least else f"above {human(key, most)}"
            yield f"{key} is {human(key, value)}, {edge}: numbers are in SI units (hertz, bytes, seconds, joules)."


def _unit(key: str) -> str | None:
    """The unit of a number whose magnitude tells whether it is meant."""
    parts = key.split(".")
    leaf = parts[-1]
    if parts[0] == "rates":
        return "MAC/s"
    if parts[0] == "memory" and leaf in ("bytes", "bytes_per_s"):
        return "B" if leaf == "bytes" else "B/s"
    if parts[0] == "overhead" and leaf.endswith("_s"):
        return "s"
    if "j_per_mac" in parts or leaf == "j_per_byte":
        return "J"
    return "hz" if leaf.endswith("_hz") else None


def _limits(device: Device, numbers: dict[str, float]) -> Iterator[str]:
    room = [numbers[f"memory.{name}.bytes"] for name in MEMORIES if f"memory.{name}.bytes" in numbers]
    peak = numbers.get("limits.peak_activation_bytes")
    if peak is not None and room and peak > sum(room):
        have = human("bytes", sum(room))
        yield f"limits.peak_activation_bytes is {human('bytes', peak)}, and the memories of feature maps hold {have}."
    if device.kind == "mcu" and not {"limits.peak_activation_bytes", "limits.weight_bytes"} & numbers.keys():
        yield "[limits] names none: every network fits. Limits are not taken from the sizes of the memories."
