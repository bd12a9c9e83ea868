"""What every profiler's output comes down to, and what a reader of one is.

A reader is a file of this folder with ``READER``: it recognises a document by what stands in it, not by its name, and reads it.
Documents come from outside: whatever is wrong with one is a ``FileError`` that says where and what to do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hwmodels import impostors
from hwmodels.errors import FileError

LARGEST_BYTES = 64 * 2**20
"""Of a document; a profile of ten thousand steps takes a few megabytes."""


@dataclass(frozen=True)
class TimedOperation:
    """Something that the device executed for one inference.

    Attributes:
        name: as the tool writes it.
        parts: names of the network's operators that the tool says it executes, several where it fused them.
        between: a copy or change of layout that the tool added between operators.
        unit: where it ran ("NPU", "CPU"), where the tool says so.
    """

    name: str
    seconds: float
    parts: tuple[str, ...]
    between: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Profile:
    """A network on a device, as a tool timed it.

    Attributes:
        tool: what wrote it.
        total_s: of one inference.
        steps: in the order of execution; empty where the tool gives no more than the total.
        with_call: whether ``total_s`` holds the fixed time of an inference; False where it is the sum of the steps.
        macs: of the network, where the tool counts them.
        remarks: what a person should know of these figures.
    """

    tool: str
    total_s: float
    steps: tuple[TimedOperation, ...] = ()
    with_call: bool = True
    macs: int | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """A text file from outside."""

    path: Path
    text: str

    @cached_property
    def json(self) -> Any:
        """Its content where it is JSON, else None."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    def refuse(self, why: str, what_next: str = "Write it again with the tool, and pass the file as it is.") -> FileError:
        """The error for a document of a known tool that cannot be used."""
        return FileError(f"{self.path}: {why}", what_next)

    def seconds(self, value: object, unit_s: float, what: str) -> float:
        """A duration that stands in the document.

        Args:
            value: as it stands there, a number or the text of one. ``unit_s``: one of its units in seconds.
        Raises:
            FileError: not a number of zero or above.
        """
        try:
            number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if not (math.isfinite(number) and number >= 0):
            raise self.refuse(f"{what} is {value!r}, which is no time of 0 or above")
        return number * unit_s

    def total(self, seconds: float, what: str) -> float:
        """The time of a whole inference, which cannot be 0.

        Raises:
            FileError: it is.
        """
        if seconds <= 0:
            raise self.refuse(f"{what} is 0: nothing was timed", "Run the network on the device before writing the profile.")
        return seconds


def open_document(path: Path) -> Document:
    """Read a text, in UTF-8 or in UTF-16 as redirected output of Windows is.

    Raises:
        FileError: absent, too large, or no text.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise FileError(f"{path}: larger than {LARGEST_BYTES // 2**20} MiB", "A file of timings or a profile is far smaller.")
        data = path.read_bytes()
        impostors.check(path, data[: impostors.LOOKED_AT] or b" ", "timings")
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except FileNotFoundError:
        raise FileError(f"{path}: no such file", "`hwsearch devices calibrate --help` says which files it takes.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: {getattr(error, 'strerror', None) or 'not a text file in UTF-8'}") from None
    return Document(path, text)


@dataclass(frozen=True)
class ProfileReader:
    """How the output of one tool is read.

    Attributes:
        name: what the file is called in messages.
        recognises: whether a document is one, by its content.
        read: raises FileError where it is damaged, or holds no time.
    """

    name: str
    recognises: Callable[[Document], bool]
    read: Callable[[Document], Profile]
