"""What compiles the exported C for its microcontroller, as people type it."""

from __future__ import annotations

from hwmodels.device.sections.mcu import Mcu
from hwsearch.formats.writing.exporters import Handed


def compile_(handed: Handed) -> list[str]:
    """The objects to link with a program that calls the one function of the header."""
    section = None if handed.device is None else handed.device.section
    core = section.core if isinstance(section, Mcu) else ""
    arm = f"arm-none-eabi-gcc -mcpu={core.lower().replace('m0+', 'm0plus')} -mthumb"
    compiler = arm if core.startswith("Cortex-M") else "cc"
    return [
        f"cd {handed.name} && {compiler} -std=c99 -O3 -c *.c",
        "# link the objects with your program, which calls the function of the header",
    ]
