"""The classes of hardware that device files may describe, found by their files in this folder."""

from __future__ import annotations

import importlib
import pkgutil

from hwmodels.device import sections
from hwmodels.device.sections.section import Section

LISTED_FIRST = ("npu", "gpu", "mcu", "cpu")
"""The order in which they are named to people; others follow, sorted."""


def _found() -> dict[str, type[Section]]:
    classes: dict[str, type[Section]] = {}
    for file in pkgutil.iter_modules(sections.__path__):
        module = importlib.import_module(f"{sections.__name__}.{file.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Section) and getattr(value, "kind", None) == file.name:
                classes[file.name] = value
    return {kind: classes[kind] for kind in (*LISTED_FIRST, *sorted(classes.keys() - set(LISTED_FIRST)))}


SECTIONS = _found()
"""kind -> the class of the table that a device of this kind describes itself in."""
