"""Names and titles that come from files of others, made harmless for whoever reads them as text: a terminal, a C comment."""

from __future__ import annotations

import unicodedata

_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of what is obeyed or hides itself: controls, formats (some reverse the direction), lone surrogates,
separators of lines and paragraphs."""


def visible(text: str) -> str:
    """``text`` with such characters written out, ``\\x1b`` for an escape; line feeds and tabs stay."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _HIDDEN else _written_out(c) for c in text)


def _written_out(character: str) -> str:
    return character.encode("unicode_escape", errors="surrogatepass").decode("ascii")
