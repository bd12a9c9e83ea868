"""Reading many files: what is wrong is told of all of them at once, so that nobody takes out one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from hwmodels.errors import FileError

T = TypeVar("T")
_LISTED = 8
"""Files that a refusal names."""


class SeveralError(FileError):
    """Several files that cannot be used; ``errors`` has one for each."""

    def __init__(self, errors: list[FileError]) -> None:
        self.errors = errors
        more = [f"and {len(errors) - _LISTED} more"] if len(errors) > _LISTED else []
        lines = "\n".join(f"  - {line}" for line in (*(error.message for error in errors[:_LISTED]), *more))
        hints = dict.fromkeys(error.hint for error in errors if error.hint)
        super().__init__(f"{len(errors)} pictures cannot be used:\n{lines}", " ".join(hints))


def each(error: FileError) -> list[FileError]:
    """One error for each file that an error is about."""
    return error.errors if isinstance(error, SeveralError) else [error]


def together(reads: Iterable[Callable[[], T]]) -> list[T]:
    """What every call gives, in order; all are called, whatever one of them raises.

    Raises:
        FileError: that of the one call that raised it; of several, one that lists them.
    """
    made, errors = [], []
    for read in reads:
        try:
            made.append(read())
        except FileError as error:
            errors += each(error)
    if errors:
        raise errors[0] if len(errors) == 1 else SeveralError(errors)
    return made
