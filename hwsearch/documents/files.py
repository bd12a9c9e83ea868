"""Files that are written whole or not at all, and JSON as this project writes it.

A file is written beside its place, flushed to the disk and renamed, so a reader sees the old one or the new one, never half.
What the system answers to a failed write becomes a message with something to do.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from hwmodels.errors import FileError
from searchspaces.data.scale import spelled

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def jsonable(value: Any) -> Any:
    """Dataclasses, paths, tuples, mappings, scales and numpy scalars as plain JSON; a number that is not finite becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):
        return jsonable(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Fraction):
        return spelled(value)
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def file_error(error: OSError, path: Path) -> FileError:
    """What a person can do about a failed write or read of ``path``."""
    if error.errno in DISK_FULL:
        return FileError(
            f"{path}: the disk is full",
            "Nothing was half-written. Free some space and go on with --resume, or choose another place with --out.",
        )
    reason = (error.strerror or str(error)).lower()
    return FileError(f"{path}: {reason}", "Choose a place that you may write to, for example --out ./my-run.")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that takes ``path``'s place when the block ends well, and vanishes when it does not.

    Raises:
        FileError: the folder cannot be written to, or the disk is full.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
        _flush(path.parent)
    except OSError as error:
        raise file_error(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def scratch(folder: Path) -> Iterator[IO[bytes]]:
    """A file without a name in ``folder``, open for both ways and gone with the block: for what does not fit into memory.

    Raises:
        FileError: the folder cannot be written to, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
    except OSError as error:
        raise file_error(error, folder) from error


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that takes its place when the block ends well, and vanishes when it does not. What was
    there before is removed then; the caller has made sure that it may be.

    Raises:
        FileError: as for ``replacing``.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        yield temporary
        for file in temporary.iterdir():
            _flush(file)
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            with tempfile.TemporaryDirectory(prefix=f".{path.name}-old-", dir=path.parent) as old:
                path.replace(Path(old) / path.name)
                temporary.replace(path)
        else:
            temporary.replace(path)
        temporary = None
        _flush(path.parent)
    except OSError as error:
        raise file_error(error, path) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def size_bytes(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file or nothing; ``FileError`` as for ``replacing``."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> Path:
    """Write a whole file or nothing, and return ``path``; ``FileError`` as for ``replacing``."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


def write_json(path: Path, document: Any) -> None:
    """Write ``document`` (see ``jsonable``) as JSON, whole or not at all; ``FileError`` as for ``replacing``."""
    write_text(path, json.dumps(jsonable(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
