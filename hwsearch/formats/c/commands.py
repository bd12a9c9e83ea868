"""What compiles the exported C for its microcontroller, as people type it."""

from __future__ import annotations

from hwmodels.device.sections.mcu import Mcu
from hwsearch.formats.c import emulator
from hwsearch.formats.writing.exporters import Handed

FLAGS = {
    **{board.core: board.flags for board in emulator.BOARDS.values()},
    "cortex-m33": ("-mcpu=cortex-m33", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
}
"""Cores with floating-point units, which are what their prices are of; Helium is off without."""


def compile_(handed: Handed) -> list[str]:
    """The objects to link with a program that calls the one function of the header."""
    section = None if handed.device is None else handed.device.section
    core = section.core.lower() if isinstance(section, Mcu) else ""
    flags = FLAGS.get(core, (f"-mcpu={core.replace('m0+', 'm0plus')}",))
    compiler = [emulator.COMPILER, *flags, "-mthumb"] if core.startswith("cortex-m") else ["cc"]
    return [
        f"cd {handed.name} && {' '.join([*compiler, *emulator.LANGUAGE])} {emulator.OPTIMIZATION} -c *.c",
        "# link the objects, and -lm, with your program, which calls the function of the header",
    ]
