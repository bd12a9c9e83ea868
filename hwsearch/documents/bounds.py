"""Types of the fields of documents: every number has its bounds, every name its length, whoever wrote the file.

A document comes back from a disk, and may be damaged, edited, or somebody else's. What lies within these bounds can be computed
with: no size overflows 64 bits, no name leaves its folder, no number is not finite.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator

from hwmodels.errors import UsageError
from hwmodels.numbers import FORMAT_NAMES, format_of
from searchspaces.data import scale

LONGEST_NAME = 100
"""Characters: a file name with its ending stays below the 255 bytes of common file systems."""


def check_name(name: str) -> str:
    """``name``, where it can name a file beside others.

    Raises:
        ValueError: it is empty, too long, or says something to a file system or a terminal.
    """
    if not 0 < len(name) <= LONGEST_NAME or len(name.encode(errors="replace")) > 2 * LONGEST_NAME:
        raise ValueError(f"a name has 1 to {LONGEST_NAME} characters")
    if name[0] in ". " or name[-1] == " " or any(letter in '/\\:*?"<>|' or not letter.isprintable() for letter in name):
        raise ValueError("a name has no separator of folders, no control character and no dot in front")
    return name


def check_inside(path: str) -> str:
    """``path``, where it stays below the folder that it is relative to (links apart: see ``reading.inside``).

    Raises:
        ValueError: it does not.
    """
    parts = path.split("/")
    if len(path) > 10 * LONGEST_NAME or any(part in ("", ".", "..") for part in parts) or "\\" in path or not path.isprintable():
        raise ValueError("a path stays inside the folder of its document")
    return path


def check_format(name: str) -> str:
    """``name`` of a number format as it is written.

    Raises:
        ValueError: it names none.
    """
    try:
        return str(format_of(name))
    except UsageError:
        raise ValueError(f"allowed: {FORMAT_NAMES}") from None


def check_scale(given: Any) -> scale.Scale:
    """The scale that a value of a document, or of a request, stands for.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(given, int | float | str | Fraction):
        raise ValueError("a scale is a number")
    try:
        return scale.exact(given)
    except UsageError as error:
        raise ValueError(". ".join(filter(None, (error.message, error.hint)))) from None


Name = Annotated[str, AfterValidator(check_name)]
Inside = Annotated[str, AfterValidator(check_inside)]
Text = Annotated[str, Field(max_length=100_000)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$|^$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Many = Annotated[int, Field(ge=0, le=10**9)]
Side = Annotated[int, Field(ge=1, le=99_999)]
Scale = Annotated[scale.Scale, PlainValidator(check_scale), PlainSerializer(scale.spelled, when_used="json")]
"""A whole number, or a text such as ``1.5`` or ``4/3`` (see ``searchspaces.data.scale``)."""
Bits = Annotated[int, Field(ge=1, le=32)]
Width = Bits | Annotated[str, AfterValidator(check_format)]
"""How a number format is written (see ``hwmodels.numbers.Width``)."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e30, le=1e30)]
Amount = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e30)]
Rate = Annotated[float, Field(allow_inf_nan=False, gt=0, le=1e30)]
