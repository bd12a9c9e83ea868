"""The numbers of a device as a person reads them: dotted key, value with unit, citation, note."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from hwmodels.device.values import Quantity
from hwmodels.errors import UsageError, closest

Described = TypeVar("Described", bound=BaseModel)


class Fact(NamedTuple):
    """One number of a device as a person reads it. ``source`` is the citation, None for an assumption."""

    key: str
    value: str
    source: str | None
    note: str


def quantities(node: object, path: str) -> Iterator[tuple[str, Quantity]]:
    """Every ``Quantity`` below ``node`` with its dotted key, in the order of the tables; defaults are left out."""
    if isinstance(node, Quantity):
        yield path, node
    elif isinstance(node, BaseModel):
        for name in sorted(node.model_fields_set, key=list(type(node).model_fields).index):
            yield from quantities(getattr(node, name), f"{path}.{name}".lstrip("."))
    elif isinstance(node, Mapping):
        for name, value in node.items():
            yield from quantities(value, f"{path}.{name}")


def number(device: BaseModel, key: str) -> float:
    """The value at a dotted key of a device, defaults included.

    Raises:
        UsageError: the device has no number there.
    """
    node: object = device
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else getattr(node, part, None)
    if not isinstance(node, Quantity):
        raise UsageError(f"no number {key!r} in this device", closest(key, [path for path, _ in quantities(device, "")]))
    return node.value


def with_numbers(device: Described, values: Mapping[str, Quantity]) -> Described:
    """A copy of ``device`` with other numbers at these dotted keys (see ``number``); that they are in range is not checked."""
    for key, value in values.items():
        number(device, key)
        device = _replaced(device, key.split("."), value)
    return device


def _replaced(node: Any, path: list[str], value: Quantity) -> Any:
    if not path:
        return value
    if isinstance(node, Mapping):
        return {**node, path[0]: _replaced(node[path[0]], path[1:], value)}
    return node.model_copy(update={path[0]: _replaced(getattr(node, path[0]), path[1:], value)})


def human(key: str, value: float) -> str:
    """A number of a device file with its unit, which the key tells: ``human("memory.dram.bytes_per_s", 68e9)`` is ``68 GB/s``."""
    parts = key.split(".")
    leaf = parts[-1]
    if leaf == "bytes" or leaf.endswith("_bytes"):
        return _prefixed(value, "B", 1024, ("", "Ki", "Mi", "Gi", "Ti"))
    unit = next((unit for suffix, unit in _UNITS if leaf == suffix or leaf.endswith("_" + suffix)), "")
    if not unit:
        unit = next((_TABLE_UNITS[part] for part in parts if part in _TABLE_UNITS), "")
    if unit in ("", "cycles", "bits", "channels"):
        return f"{value:.6g} {unit}".strip()
    return _prefixed(value, unit, 1000, ("", "k", "M", "G", "T"))


_UNITS = (("bytes_per_s", "B/s"), ("j_per_byte", "J/B"), ("hz", "Hz"), ("s", "s"), ("w", "W"))
_TABLE_UNITS = {
    "rates": "MAC/s",
    "cuda_core_rates": "MAC/s",
    "j_per_mac": "J/MAC",
    "cycles_per_mac": "cycles",
    "cycles_per_unpacked_weight": "cycles",
    "cycles_per_element": "cycles",
    "output_cycles": "cycles",
    "stored_bits_per_weight": "bits",
    "channel_pad": "channels",
}
_SMALL = ("", "m", "u", "n", "p", "f")


def _prefixed(value: float, unit: str, base: int, names: tuple[str, ...]) -> str:
    power = 0
    while abs(value) >= base and power < len(names) - 1:
        value, power = value / base, power + 1
    while 0 < abs(value) < 1 and -power < len(_SMALL) - 1:
        value, power = value * 1000, power - 1
    prefix = names[power] if power >= 0 else _SMALL[-power]
    return f"{value:.4g} {prefix}{unit}"
