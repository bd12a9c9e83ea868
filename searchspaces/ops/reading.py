"""Readers of single operators: one function for every operator of somebody else's vocabulary (a file format, ATen), entered in a
table by its name there.

The table says which canonical operators it can become; turned around (``OpTable``) it tells, for every canonical operator, which
operators of that vocabulary become it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from searchspaces.ops.base import Op
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.state import Remember, State
from searchspaces.ops.table import OpTable

Read = Callable[[Any, Any], Any]
"""``read(walk, call)`` gives the values that a call computes, and emits the nodes that compute them."""


class NotRead(Exception):
    """An operator that the canonical graph cannot express; the text says why. It is counted and named, never left out."""


@dataclass(frozen=True)
class OperatorReader:
    """How one foreign operator is read. ``becomes``: the canonical operators that it can become; empty: it only changes how
    values are written down."""

    name: str
    read: Read
    becomes: tuple[type[Op], ...]


def _where(read: Read) -> tuple[str, str]:
    """The function's file and its name there."""
    return read.__code__.co_filename, read.__qualname__


class OperatorReaders(Mapping[str, OperatorReader]):
    """Operator's name in a vocabulary -> its reader.

    Args:
        name: who reads, as messages call it: "the ONNX reader".
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._readers: dict[str, OperatorReader] = {}

    def register(self, *names: str, becomes: tuple[type[Op], ...] = ()) -> Callable[[Read], Read]:
        """Decorator: the function reads operators of these names.

        Raises:
            TypeError: one of them has another reader already. (A plug-in's file may be executed again: its functions are the
                same by name and file.)
        """

        def put(read: Read) -> Read:
            for name in names:
                known = self._readers.get(name)
                if known is not None and _where(known.read) != _where(read):
                    raise TypeError(f"{self.name} has two functions for {name}")
                self._readers[name] = OperatorReader(name, read, becomes)
            return read

        return put

    def table(self) -> OpTable[tuple[str, ...]]:
        """For every canonical operator the operators of a file that become it."""
        found: OpTable[tuple[str, ...]] = OpTable(self.name)
        found.lacks("no operator of such a file becomes it: what computes it there is read in other words", Op)
        found.lacks("it stands for what a file has and no other operator expresses", Unknown)
        found.lacks("networks of one input are read, that keep nothing from one picture to the next", State, Remember)
        found.put(("the file's input",), Input)
        by_class: dict[type[Op], list[str]] = {}
        for reader in self._readers.values():
            for cls in reader.becomes:
                by_class.setdefault(cls, []).append(reader.name)
        for cls, names in by_class.items():
            found.put(tuple(names), cls)
        return found

    def __getitem__(self, name: str) -> OperatorReader:
        return self._readers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)
