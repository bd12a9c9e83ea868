"""What a command says: a document for machines or a table for people on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwmodels.errors import HwsearchError
from hwsearch.documents import progress
from hwsearch.documents.files import jsonable
from hwsearch.documents.url import redacted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_WIDTH = 200
"""Columns for tables that go to a file or a pipe, where nobody can say how wide the reader's window is."""


@dataclass(frozen=True)
class Terminal:
    """Where a command speaks. ``as_json``: one document on stdout. ``quiet``: no progress and no remarks."""

    as_json: bool = False
    quiet: bool = False

    def show(self, document: Any, render: Callable[[Console], None]) -> None:
        """The result of a command: ``document`` for machines, or what ``render`` prints for people."""
        if self.as_json:
            write_document(document)
        else:
            render(people())

    def remark(self, text: str) -> None:
        """A sentence on stderr that is not the result."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def progress(self) -> AbstractContextManager[progress.Progress]:
        """The display of long work."""
        return progress.shown(self.quiet)


def people() -> Console:
    """A console on stdout: as wide as the terminal, or wide enough for any table where there is none."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            """A reader that has seen enough is no error: leave it to ``main``, where rich would exit with 1."""
            raise BrokenPipeError

    screen = Screen(highlight=False)
    return screen if screen.is_terminal else Screen(highlight=False, width=PIPE_WIDTH)


def write_document(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(jsonable(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None, left: Sequence[str] = ()) -> Table:
    """A table for people.

    Args:
        columns: headings; the first column and those named in ``left`` are text, the others are numbers, kept on one line.
        rows: cells, already in human units.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for i, column in enumerate(columns):
        text = i == 0 or column in left
        made.add_column(column, justify="left" if text else "right", overflow="fold", no_wrap=not text)
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return made


def report_error(error: HwsearchError, as_json: bool) -> None:
    """An error with what to do next: on stderr, or as the one document on stdout."""
    report(type(error).__name__, error.message, error.hint, error.exit_code, as_json)


def report(kind: str, message: str, hint: str, exit_code: int, as_json: bool, **more: Any) -> None:
    """As ``report_error``, for whatever is not an ``HwsearchError``; ``more`` are further members of the document. Passwords in
    addresses are not shown, whoever wrote the message."""
    message, hint = redacted(message), redacted(hint)
    if as_json:
        problem: Mapping[str, Any] = {"code": exit_code, "kind": kind, "message": message, "hint": hint, **more}
        write_document({"error": problem})
        return
    print(f"hwsearch: {message}", file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)
