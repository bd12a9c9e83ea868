"""What there is for C, to be listed (see ``exporters`` and ``runtimes``); modules are imported when they are used."""

from __future__ import annotations

from hwsearch.formats.running.runtimes import RuntimeInfo
from hwsearch.formats.writing.capability import Holds
from hwsearch.formats.writing.exporters import ExporterInfo

C = "hwsearch.formats.c.calls:LOWERS"

EXPORTERS = (
    ExporterInfo(
        "c",
        "C99 for microcontrollers: a folder of source, weights packed to their widths, a static arena, no allocation",
        "",
        "hwsearch.formats.c.write",
        holds=Holds(half=False),
        sized=True,
        folder=True,
        table=C,
        check="hwsearch.formats.c.calls:check",
        place=14,
        serves=("exported C99",),
        commands="hwsearch.formats.c.commands:compile_",
    ),
)

RUNTIMES = (
    RuntimeInfo("qemu", "C on an emulated Cortex-M4", "hwsearch.formats.c.qemu", place=6),
    RuntimeInfo("qemu-m7", "Cortex-M7", "hwsearch.formats.c.qemu", arguments={"core": "cortex-m7"}, place=7),
    RuntimeInfo("qemu-m55", "Cortex-M55 with Helium", "hwsearch.formats.c.qemu", arguments={"core": "cortex-m55"}, place=8),
)
