"""Other numbers in the text of a device file, whose comments, order and layout stay as they are.

A number is found by its dotted key: a line ``bytes_per_s = ...`` below ``[memory.dram]``, or with part of the key before it, as
``dram.bytes_per_s = ...`` below ``[memory]``. A key that the file does not have is added to its table, or in a table of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from hwmodels.device.catalogue import load_text
from hwmodels.device.device import Device
from hwmodels.device.facts import number
from hwmodels.device.values import Quantity
from hwmodels.errors import FileError

_HEADER = re.compile(r"\s*\[([^\[\]]+)\]\s*(#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"-]+)\s*=")


def edited(text: str, origin: str, values: Mapping[str, Quantity], words: Mapping[str, str] | None = None) -> str:
    """``text`` with these numbers at their dotted keys, and these words at top-level keys.

    Raises:
        FileError: a number stands inside another value (an inline table), where it cannot be changed; or the result is no valid
            device file (``DeviceFileError``).
    """
    lines = text.splitlines()
    for key, word in (words or {}).items():
        lines = _set(lines, key, json.dumps(word, ensure_ascii=False))
    for key, value in values.items():
        lines = _set(lines, key, _written(value))
    made = "\n".join(lines) + "\n"
    loaded = load_text(made, origin)
    wrong = [key for key, value in values.items() if number(loaded, key) != float(_digits(value.value))]
    if wrong:
        raise FileError(
            f"{origin}: {', '.join(wrong)} cannot be changed where it stands", "Write its table as [table.name] lines."
        )
    return made


def _written(value: Quantity) -> str:
    note = f", note = {json.dumps(value.note, ensure_ascii=False)}" if value.note else ""
    source = f", source = {json.dumps(value.source)}" if value.source else ""
    return f"{{ value = {_digits(value.value)}{source}{note} }}"


def _digits(value: float) -> str:
    return f"{value:.5g}"


def _set(lines: list[str], key: str, written: str) -> list[str]:
    table, last = "", {"": 0}
    for i, line in enumerate(lines):
        if header := _HEADER.match(line):
            table = header[1].replace('"', "").strip()
        elif found := _KEY.match(line):
            here = f"{table}.{found[1]}".lstrip(".").replace('"', "")
            if here == key:
                return [*lines[:i], f"{line[: found.end()]} {written}{_comment(line)}", *lines[i + 1 :]]
        if line.strip():
            last[table] = i + 1
    parent, _, leaf = key.rpartition(".")
    if parent in last:
        return [*lines[: last[parent]], f"{leaf} = {written}", *lines[last[parent] :]]
    return [*lines, "", f"[{parent}]", f"{leaf} = {written}"]


def _comment(line: str) -> str:
    """The comment behind a value, whose strings may contain the sign of one."""
    quoted = False
    for i, letter in enumerate(line):
        if letter == '"' and line[i - 1] != "\\":
            quoted = not quoted
        elif letter == "#" and not quoted:
            return "  " + line[i:]
    return ""


def values_of(device: Device, keys: Mapping[str, str]) -> dict[str, Quantity]:
    """The numbers of ``device`` at these keys, each with its note: what ``edited`` takes."""
    return {key: Quantity(value=number(device, key), note=note) for key, note in keys.items()}
