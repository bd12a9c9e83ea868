"""What stands in a file that is not what its name says: a pointer of Git LFS, a web page, nothing.

Readers ask before they parse: what a parser says of such a file is true and helps nobody.
"""

from __future__ import annotations

import re
from pathlib import Path

from hwmodels.errors import FileError

LOOKED_AT = 1024
"""Bytes at the beginning of a file that tell."""
_PAGE = re.compile(r"<(!doctype html|html|head|\?xml|!--)")


def check_file(path: Path, what: str, *, may_be_empty: bool = False) -> None:
    """``check`` of a file that is there; what cannot be opened is left to whoever reads it, and an empty one if it ``may_be``."""
    try:
        with path.open("rb") as file:
            start = file.read(LOOKED_AT)
    except OSError:
        return
    if start or not may_be_empty:
        check(path, start, what)


def check(path: Path | str, start: bytes, what: str) -> None:
    """Refuse a file that holds something else by accident.

    Args:
        start: its first ``LOOKED_AT`` bytes, or all that it has.
        what: it should hold, in the plural or with an article: ``"weights"``, ``"a model"``.
    Raises:
        FileError: it is empty, a pointer or a web page.
    """
    if not start:
        raise FileError(f"{path}: the file is empty", "The download or the copy failed: fetch it again.")
    if start.startswith(b"version https://git-lfs"):
        hint = "Fetch the file itself: git lfs install, then git lfs pull in its repository; or download it from the website."
        raise FileError(f"{path}: a Git LFS pointer, which stands in place of {what}", hint)
    text = beginning(start)
    if text is not None and _PAGE.match(text.lower()) and "<svg" not in text:
        hint = "The address gave a page (a login, an error, a preview). Download the file itself, often under `raw` or `resolve`."
        raise FileError(f"{path}: a web page that was saved as {what}", hint)


def beginning(start: bytes) -> str | None:
    """The beginning of a file as text, without blanks before it; ``None`` when it is binary."""
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = start.decode(encoding, errors="strict" if len(start) < LOOKED_AT else "ignore")
    except UnicodeDecodeError:
        return None
    return text.strip() if all(c.isprintable() or c.isspace() for c in text) else None
