"""The one reader of the JSON documents of runs and plans: read once, checked against a type, refused with what is wrong where.

Whatever stands in such a file, reading it ends in the document or in a ``FileError``. Code is never run from a document, and what
a document names beside itself is only opened where it lies in the document's own folder (``inside``).
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Hashable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from hwmodels import impostors
from hwmodels.errors import FileError, HwsearchError

T = TypeVar("T")
MOST_PROBLEMS = 8
"""Mistakes of one document that are listed."""
CHANGED = "It was written by another version, or changed by hand."


def parse(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, nests too deeply, or has a number that is none (``NaN``) or has thousands of digits.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no number")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def whole_lines(path: Path, read: Callable[[bytes], None], advice: str) -> int:
    """Give the lines of a file that is only appended to, one after the other, to ``read``, which raises ValueError or FileError
    for a damaged one. The last one may be: a process was killed while it wrote.

    Args:
        advice: what to do about a damaged line.
    Returns:
        How many bytes hold the lines that are whole.
    Raises:
        FileError: a line before the last one is damaged.
        OSError: the file cannot be read.
    """
    kept, lines = 0, path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("cut short")
            read(line)
        except (ValueError, FileError) as problem:
            if number == len(lines):
                break
            reason = problem.message.partition(":\n  - ")[2] if isinstance(problem, FileError) else str(problem)
            raise FileError(f"{path}: line {number} is damaged ({reason})", advice) from problem
        kept += len(line)
    return kept


CUT_SHORT = "the file may be cut short"
"""What to think of a damaged file of which nothing else is known."""
AGAIN = "remove it, and `hwsearch optimize --resume RUN` makes it again"
"""What to do with a damaged file of a run that follows from the others."""


def read_json(path: Path, what: str, mend: str = CUT_SHORT) -> dict[str, Any]:
    """The JSON object in ``path``.

    Args:
        mend: what to do, or think, where it is damaged.
    Raises:
        FileError: absent, unreadable, or not a JSON object; ``what`` says what it should have been.
    """
    impostors.check_file(path, what.partition(",")[0], may_be_empty=True)
    try:
        document = parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise FileError(f"{path}: {(error.strerror or str(error)).lower()}", f"Expected {what}.") from error
    except ValueError as error:
        raise FileError(f"{path} is not JSON: {error}", f"Expected {what}; {mend}.") from error
    if not isinstance(document, dict):
        raise FileError(f"{path} holds no JSON object", f"Expected {what}.")
    return document


def read(path: Path, kind: type[T], what: str, hint: str = CHANGED, mend: str = CUT_SHORT) -> T:
    """The document in ``path`` as ``kind``, a model of pydantic or a dataclass.

    Args:
        mend: see ``read_json``.

    Raises:
        FileError: as for ``read_json``; or values that are missing, unknown, of another type or out of bounds.
    """
    return checked(read_json(path, what, mend), kind, path, what, hint)


def checked(document: Any, kind: type[T], path: Path, what: str, hint: str = CHANGED) -> T:
    """A JSON value as ``kind``; ``path`` is where it stands.

    Raises:
        FileError: values that are missing, unknown, of another type or out of bounds; the first ``MOST_PROBLEMS`` are listed.
    """
    try:
        found: T = _adapter(cast(Hashable, kind)).validate_python(document)
        return found
    except ValidationError as error:
        problems = [_problem(problem["loc"], problem["msg"]) for problem in error.errors(include_url=False, include_input=False)]
    except HwsearchError as error:
        problems = [error.message]
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        problems = [str(error) or type(error).__name__]
    more = [f"and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
    lines = "\n".join(f"  - {problem}" for problem in [*problems[:MOST_PROBLEMS], *more])
    raise FileError(f"{path} is not {what}:\n{lines}", hint) from None


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def _problem(place: Iterable[str | int], message: str) -> str:
    """One mistake; keys of a damaged document may be of any length."""
    where = ".".join(str(part)[:60] for part in place)
    return f"{where}: {message[:300]}" if where else message[:300]


def inside(folder: Path, name: str, what: str) -> Path:
    """The path of ``name``, which a document in ``folder`` names, for reading.

    Raises:
        FileError: it would lie outside the folder: absolute, through ``..``, or through a symbolic link.
    """
    path, parts = folder, Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or "\0" in name:
        raise FileError(
            f"{folder}: {what} is {name!r}, outside this folder", "Only files inside it are opened: it was changed by hand."
        )
    for part in parts:
        path = path / part
        refuse_link(path)
    return path


def refuse_link(path: Path) -> None:
    """Raise FileError where ``path`` is a symbolic link, or what is neither a file nor a folder; absent is allowed."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise FileError(f"{path}: {(error.strerror or str(error)).lower()}", CHANGED) from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a folder"
        raise FileError(f"{path} is {kind}", "What stands in a run is never followed out of it: put the file itself there.")
