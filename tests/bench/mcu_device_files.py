"""Write counted instructions into the files of devices that run the exported C: instructions times cycles per instruction.

    python tests/bench/mcu_device_files.py

Reads ``hwmodels/devices/mcu_instructions.json`` (``mcu_instructions.py --write``) and each file's own ``cycles_per_instruction``.
Only both rates and lines of ``[mcu]`` that are counted are changed; tables of cycles per element are written anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hwmodels.device import catalogue, device
from hwmodels.device.facts import number

FOLDER = Path(device.__file__).parents[1] / "devices"
CORES = {"Cortex-M33": "cortex-m4"}
"""Cores that run the same instructions as a counted one."""
ELEMENTS = {"mcu.cycles_per_element": "per_element", "mcu.wide.cycles_per_element": "wide_per_element"}


def line(key: str, instructions: float, each: float, rest: str = "") -> str:
    note = f"{instructions:.4g} instructions x {each:g}{rest}"
    return f'{key} = {{ value = {instructions * each:.4g}, source = "counts", note = "{note}" }}'


def keyed(counted: dict[str, Any]) -> dict[str, float]:
    """Instructions by the dotted key that they belong to."""
    units = counted["per_unit"]
    found = {
        "output_requant": units["requant"], "depthwise_output": units["depthwise_output"],
        "depthwise_pixel": units["depthwise_pixel"], "im2col_byte": units["im2col"],
        "im2col_row": units["im2col_row"], "layer": units["layer"], "call": counted["per_call"],
    }  # fmt: skip
    found |= {f"mac.{op}": units[op] for op in ("conv", "pointwise", "depthwise")}
    found |= {f"unpacked_weight.{bits}": units[f"unpack_{bits}"] for bits in range(2, 8)}
    wide = {"output_requant": units["wide_requant"], "depthwise_output": units["wide_depthwise_output"],
            "depthwise_pixel": units["wide_depthwise_pixel"]}  # fmt: skip
    wide |= {f"mac.{op}": units[f"wide_{op}"] for op in ("conv", "pointwise", "depthwise")}
    narrow = {f"mcu.cycles_per_{key}": value for key, value in found.items()}
    return narrow | {f"mcu.wide.cycles_per_{key}": value for key, value in wide.items()}


def changed(old: str, dotted: str, counted: dict[str, Any], clock: float, each: float) -> str:
    """A line of a device file with what was counted."""
    values, units = keyed(counted), counted["per_unit"]
    derived = {
        "rates.W8A8": f"{clock / units['conv'] / each / 1e6:.4g}e6",
        "rates.W8A16": f"{clock / units['wide_conv'] / each / 1e6:.4g}e6",
        "mcu.cycles_per_mac.linear": f"{units['pointwise'] * each:.4g}",
        "mcu.wide.cycles_per_mac.linear": f"{units['wide_pointwise'] * each:.4g}",
    }
    if dotted in derived:
        return re.sub(r"value = [^,]*", f"value = {derived[dotted]}", old)
    if dotted not in values:
        return old
    said = re.search(r'note = "[^"]*?instructions x [0-9.]+([^"]*)"', old)
    return line(old.split(" = ", maxsplit=1)[0], values[dotted], each, said[1] if said else "")


def rewritten(text: str, counted: dict[str, Any], clock: float, each: float) -> Iterator[str]:
    """The lines of a device file with the constants of its core."""
    table = ""
    for old in text.splitlines():
        if found := re.fullmatch(r"\[(.*)\]", old):
            table = found[1]
        dotted = f"{table}.{old.split(' = ')[0]}"
        if old == "[sources]":
            for name, words in ELEMENTS.items():
                yield f"[{name}]"
                yield from (line(op, instructions, each) for op, instructions in counted[words].items())
                yield ""
        if table in ELEMENTS or dotted == "mcu.cycles_per_call":
            continue
        yield changed(old, dotted, counted, clock, each)
        if dotted == "mcu.cycles_per_layer":
            yield line("cycles_per_call", counted["per_call"], each, ", of a step that is no convolution")


def main() -> None:
    cores = {core["core"]: core for core in json.loads((FOLDER / "mcu_instructions.json").read_text(encoding="utf-8"))["cores"]}
    for target in map(catalogue.load, catalogue.names()):
        if target.mcu is None or not target.runtime.startswith("exported C99"):
            continue
        path = FOLDER / f"{target.name}.toml"
        counted = cores[CORES.get(target.mcu.core, target.mcu.core.lower())]
        clock, each = number(target, "mcu.clock_hz"), number(target, "mcu.cycles_per_instruction")
        lines = rewritten(path.read_text(encoding="utf-8"), counted, clock, each)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
