"""What there is for TorchScript, to be listed (see ``readers``)."""

from __future__ import annotations

import zipfile
from pathlib import Path

from hwsearch.formats.reading.members import BAD
from hwsearch.formats.reading.readers import ReaderInfo

OWN = (".ts", ".torchscript")
"""Endings that nothing else has."""


def is_program(path: Path) -> bool:
    """Whether a file is an archive with the sources of a program. Files of weights have two of the endings, and none."""
    if path.suffix.lower() in OWN:
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return any(is_source(name) for name in archive.namelist())
    except BAD:
        return False


def is_source(name: str) -> bool:
    """Whether a member of the archive is the source of modules."""
    return "/code/" in name and name.endswith(".py")


READERS = (
    ReaderInfo(
        "torchscript",
        "TorchScript programs",
        (*OWN, ".pt", ".pth"),
        "hwsearch.formats.torchscript.read",
        table="searchspaces.tracing.walker:HANDLERS",
        holds=is_program,
    ),
)
