"""The one exception tree of the three packages. Each class carries the exit code that the command line returns for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HwsearchError(Exception):
    """Something that the person at the terminal can put right.

    Args:
        message: what was given and why it cannot be used.
        hint: what is allowed, or what to do next; printed on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(HwsearchError):
    """A wrong argument: unknown name, impossible option, wrong unit."""

    exit_code = 2


class FileError(HwsearchError):
    """A file that cannot be used: device, plan, weights, picture, run directory."""

    exit_code = 3


class DeviceFileError(FileError):
    """A device file with mistakes; ``problems`` lists every one of them."""

    def __init__(self, path: str, problems: list[str]) -> None:
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        super().__init__(f"{path}: {count}\n{lines}", "The allowed keys are described by `hwsearch devices schema`.")


class UncountedError(HwsearchError):
    """A network has operations that could not be traced or priced; ``operations`` names every one, the message each kind once."""

    exit_code = 3

    def __init__(self, operations: list[str], hint: str) -> None:
        self.operations = operations
        kinds = grouped(operations)
        lines = "\n".join(f"  - {kind}" for kind in kinds)
        order = " (the first comes first: others may only follow from it)" if len(kinds) > 1 else ""
        super().__init__(f"these operations could not be traced or priced{order}:\n{lines}", hint)


def grouped(operations: Iterable[str]) -> list[str]:
    """``OPERATOR at PLACE`` or ``OPERATOR NAME`` texts, one line an operator in order of first appearance, with how often it
    occurs and where first."""
    kinds: dict[str, list[str]] = {}
    for operation in operations:
        name, _, place = operation.partition(" at ") if " at " in operation else operation.partition(" ")
        kinds.setdefault(f"{name} " if place else operation, []).append(operation)
    return [found[0] if len(found) == 1 else f"{len(found)} times, first: {found[0]}" for found in kinds.values()]


class BudgetError(HwsearchError):
    """No plan meets the budget; the message says the best value that can be reached."""

    exit_code = 4


class MismatchError(HwsearchError):
    """The exported file and the prediction, or two runtimes, disagree beyond the stated tolerance."""

    exit_code = 5


def closest(name: str, known: Iterable[str]) -> str:
    """``Did you mean ...?`` with the known names nearest to ``name``, or all of them when none is near."""
    known = sorted(set(known))
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Known: {', '.join(known)}."
