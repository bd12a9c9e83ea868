"""Zip archives of unknown origin, as PyTorch writes its programs: their members, before torch reads them."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from hwmodels.errors import FileError

MOST_BYTES = 1 << 33
BAD = (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError, struct.error)
"""What a file that is no archive, or a damaged one, raises."""


def members(path: Path, otherwise: str, hint: str) -> dict[str, bytes]:
    """Name, without the archive's one outer folder -> content; of two members of one name the last.

    Args:
        otherwise: what a file is that is no such archive, "not an exported program"; ``hint``: how to save it again.
    Raises:
        FileError: it is none, is damaged, or larger than any network.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
            if total > MOST_BYTES or archive.testzip() is not None:
                raise FileError(f"{path}: a damaged archive, or one of {total} bytes")
            return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    except BAD as error:
        raise FileError(f"{path}: {otherwise}, or cut short ({error})", hint) from None
