"""The readers of this folder, found by their place."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

from hwsearch.boards.profiles.profile import Document, Profile, ProfileReader

MOST_STEPS = 50_000
"""Of a profile."""


@cache
def readers() -> tuple[ProfileReader, ...]:
    """What the files beside this one have under the name ``READER``."""
    names = sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem not in ("__init__", "found"))
    modules = (import_module(f"{__package__}.{name}") for name in names)
    return tuple(module.READER for module in modules if hasattr(module, "READER"))


def read(document: Document) -> Profile | None:
    """The profile that a document holds; None where no reader knows it.

    Raises:
        FileError: a known format, damaged or without a time.
    """
    for reader in readers():
        if reader.recognises(document):
            found = reader.read(document)
            if len(found.steps) > MOST_STEPS:
                raise document.refuse(f"{len(found.steps)} steps, and at most {MOST_STEPS} are taken")
            return found
    return None
