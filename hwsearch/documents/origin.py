"""Which part of a search a plan came from, and how documents write it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator

LONGEST = 100_000
"""Characters."""


class FoundBy(StrEnum):
    """How a plan was found, as documents begin to write it; of some ways a detail follows."""

    EXACT = "exact"
    PROBE = "probe"
    """A random plan that checks the proxies."""
    REFINE = "refine"
    FILE = "widths of the file"
    """The plan that a model file had already."""
    UNIFORM = "uniform"
    """One precision everywhere; a reference. The detail is the precision, such as W8A8."""
    UNIFORM_REWRITTEN = "one width,"
    """The same of a network that was rewritten, hence no reference."""
    CHOSEN_AGAIN = "picked again,"
    """For another budget, once the run was finished. The detail is where the loss comes from."""


@dataclass(frozen=True)
class Origin:
    """How a plan was found. ``detail`` is "" for most ways, and for words of other versions of hwsearch ``found`` is None and
    ``detail`` all that they say."""

    found: FoundBy | None
    detail: str = ""

    @property
    def uniform(self) -> str | None:
        """The precision of a reference plan, such as W8A8; None for all others."""
        return self.detail if self.found is FoundBy.UNIFORM else None

    def __str__(self) -> str:
        return " ".join(part for part in (self.found, self.detail) if part)

    @classmethod
    def read(cls, text: object) -> Origin:
        """The origin that a document writes as ``text``; an ``Origin`` is given back as it is.

        Raises:
            ValueError: ``text`` is no text, or a very long one.
        """
        if isinstance(text, Origin):
            return text
        if not isinstance(text, str) or len(text) > LONGEST:
            raise ValueError(f"an origin is a text of at most {LONGEST} characters")
        for found in FoundBy:
            if text == found or text.startswith(f"{found} "):
                return cls(found, text[len(found) + 1 :])
        return cls(None, text)


OriginText = Annotated[Origin, PlainValidator(Origin.read), PlainSerializer(str, return_type=str)]
"""An ``Origin`` that a document writes as text."""
