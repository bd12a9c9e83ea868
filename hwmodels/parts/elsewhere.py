"""Code that is not ours: files that were executed because a person named them, installed packages that hold parts.

Where an error arose in such code, the person who wrote it is told the place (``place_of``): it is no error of hwsearch. What
such code gives back is looked at where it is given (``given``), before it does harm far away.
"""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from typing import TypeVar

from hwmodels.errors import FileError

T = TypeVar("T")

OURS = ("hwmodels", "searchspaces", "hwsearch")
_folders: set[Path] = set()
_packages: set[str] = set()


def executed(file: Path) -> None:
    """A file of a person is executed; what lies beside it is theirs, too."""
    _folders.add(file.resolve().parent)


def loaded(module: str) -> None:
    """A module of an installed package holds a part."""
    _packages.add(module.partition(".")[0])


def place_of(error: BaseException) -> str | None:
    """``FILE, line N``: the innermost place in such code that an error passed; None: it passed none."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if _is_theirs(frame.f_globals.get("__name__", ""), frame.f_code.co_filename):
            found = f"{frame.f_code.co_filename}, line {line}"
    return found


def failed(error: Exception, place: str) -> FileError:
    """What to say of an error that arose there."""
    return FileError(
        f"{place}: {type(error).__name__}: {error}",
        "That code is not hwsearch's. Set HWSEARCH_TRACEBACK=1 to see how it was called.",
    )


def reason(error: Exception) -> str:
    """What a person's own code raised, on one line, and where in it."""
    first = (str(error).strip().splitlines() or [""])[0]
    place = place_of(error)
    return f"{type(error).__name__}: {first}" + (f" ({place})" if place else "")


def given(value: T, kind: type, giver: str, check: str) -> T:
    """``value``, which a part gave.

    Args:
        kind: what it must be; a class, or a protocol that can be asked at run time.
        giver, check: what the part is called, and the function of ``hwsearch.contracts`` that judges such parts, for the message.
    Raises:
        FileError: it is none.
    """
    if not isinstance(value, kind):
        raise FileError(f"{giver} gave {type(value).__name__}, not {kind.__name__}", advice(check))
    return value


def advice(check: str) -> str:
    """What the author of a part does next."""
    return f"`hwsearch.contracts.{check}` says whether a part keeps its contract."


def _is_theirs(module: str, file: str) -> bool:
    root = module.partition(".")[0]
    if root in OURS:
        return False
    if root in _packages:
        return True
    path = Path(file)
    installed = any(path.is_relative_to(folder) for folder in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")))
    return not installed and any(path.is_relative_to(folder) for folder in _folders)
