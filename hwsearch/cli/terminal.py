"""What a command says: a document for machines or a table for people on stdout, everything else on stderr.

Names and titles come from files of others. ``visible`` is the one place that makes them harmless: ``people``, ``table``, remarks
and errors pass through it, and nothing printed is read as markup, so that ``Board [v2]`` stays what it is and an escape sequence
is shown instead of obeyed. Our own emphasis is ``bold``.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from hwmodels.errors import HwsearchError
from hwsearch.documents import progress
from hwsearch.documents.files import jsonable
from hwsearch.documents.text import visible
from hwsearch.documents.url import redacted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

PIPE_WIDTH = 200
"""Columns for tables that go to a file or a pipe, where nobody can say how wide the reader's window is."""


LOGGED: set[str] = set()
"""What the packages have logged during this command, which is on stderr already."""


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
        """A sentence on stderr that is not the result; one that was logged when it was found is not said again."""
        if not self.quiet and text not in LOGGED:
            aside(text)

    def remarks(self, texts: Iterable[str]) -> None:
        """Several of them."""
        for text in texts:
            self.remark(text)

    def progress(self) -> AbstractContextManager[progress.Progress]:
        """The display of long work."""
        return progress.shown(self.quiet)


def bold(text: str, rest: str = "", *more: str) -> Text:
    """A line that begins in bold; of ``more``, every other part is bold too."""
    from rich.text import Text

    parts = (text, rest, *more)
    return Text.assemble(*((visible(part), "bold" if i % 2 == 0 else "") for i, part in enumerate(parts)))


def aside(text: str) -> None:
    """A line on stderr. Where nobody can read it, nothing is said."""
    with contextlib.suppress(OSError, AttributeError):
        print(visible(text), file=sys.stderr, flush=True)


def people() -> Console:
    """A console on stdout: as wide as the terminal, or wide enough for any table where there is none."""
    from rich.console import Console
    from rich.text import Text

    class Screen(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            """As rich does, and no text is markup."""
            super().print(*(Text(visible(part)) if isinstance(part, str) else part for part in objects), **options)

        def on_broken_pipe(self) -> None:
            """A reader that has seen enough is no error: leave it to ``main``, where rich would exit with 1."""
            raise BrokenPipeError

    screen = Screen(highlight=False)
    return screen if screen.is_terminal else Screen(highlight=False, width=PIPE_WIDTH)


_documents: list[TextIO] = []
"""The stdout of ``document_alone``, while it lasts."""


@contextmanager
def document_alone() -> Iterator[None]:
    """On stdout stands the document alone: what is printed meanwhile, by code of a person's own too, goes to stderr."""
    _documents.append(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _documents.pop()


def stdout() -> TextIO:
    """Where the result of a command goes."""
    return _documents[-1] if _documents else sys.stdout


def write_document(document: Any) -> None:
    """One JSON document on stdout."""
    plain = not (stdout().encoding or "").lower().startswith("utf")
    stdout().write(json.dumps(jsonable(document), indent=2, ensure_ascii=plain, allow_nan=False) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None, left: Sequence[str] = ()) -> Table:
    """A table for people.

    Args:
        columns: headings; the first column and those named in ``left`` are text, the others are numbers, kept on one line.
        rows: cells, already in human units.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=None if title is None else Text(visible(title)), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for i, column in enumerate(columns):
        text = i == 0 or column in left
        made.add_column(Text(visible(column)), justify="left" if text else "right", overflow="fold", no_wrap=not text)
    for row in rows:
        made.add_row(*(Text(visible(str(cell))) for cell in row))
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
    aside(f"hwsearch: {message}")
    if hint:
        aside(hint)


_PLAIN = str.maketrans("×–—−µ·“”’‘✓\u00a0", "x---u.\"\"''* ") | {
    ord(c): text for c, text in {"→": "->", "…": "...", "±": "+-", "τ": "tau", "ρ": "rho", "∞": "inf"}.items()
}
PLAIN = "hwsearch.plain"
"""Name of the error handler for streams that cannot write a character: the nearest in ASCII stands for it."""


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", errors="replace").decode("ascii"), error.end


codecs.register_error(PLAIN, _plain)


def settle_streams() -> None:
    """Streams that can write whatever a command says: in ASCII where they know no more, into nothing where there is none."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (as long as the process)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=PLAIN)
