"""A table by operator: who has something for a class of operators, and the written reason of who has not.

An engine, an exporter or a reader has one table and asks it, instead of comparing names. A class without an entry of its own
takes that of its nearest base class. Nothing is missing silently: a test demands an entry or a reason for every operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from searchspaces.ops.base import Op

T = TypeVar("T")
F = TypeVar("F")


class OpTable(Generic[T]):
    """Class of operators -> what ``name`` has for it, or why it has nothing.

    Args:
        name: whose table it is, as messages call it: "the integer engine", "TFLite".
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._has: dict[type[Op], T] = {}
        self._lacks: dict[type[Op], str] = {}

    def copy(self, name: str) -> OpTable[T]:
        """A table of its own with the same entries and reasons."""
        found: OpTable[T] = OpTable(name)
        found._has, found._lacks = dict(self._has), dict(self._lacks)
        return found

    def register(self, *classes: type[Op]) -> Callable[[F], F]:
        """Decorator: what it decorates is the entry of these classes."""

        def put(entry: F) -> F:
            self.put(entry, *classes)  # type: ignore[arg-type]  # F keeps the type of a function that is a T
            return entry

        return put

    def put(self, entry: T, *classes: type[Op]) -> None:
        """The entry of these classes."""
        for cls in classes:
            self._has[cls] = entry
            self._lacks.pop(cls, None)

    def lacks(self, reason: str, *classes: type[Op]) -> None:
        """Why there is nothing for these classes: a clause that ends a sentence."""
        for cls in classes:
            self._lacks[cls] = reason
            self._has.pop(cls, None)

    def _nearest(self, cls: type[Op]) -> type[Op] | None:
        return next((base for base in cls.__mro__ if base in self._has or base in self._lacks), None)

    def get(self, op: Op | type[Op]) -> T | None:
        """What there is for an operator; None where there is nothing."""
        cls = self._nearest(op if isinstance(op, type) else type(op))
        return None if cls is None else self._has.get(cls)

    def reason(self, op: Op | type[Op]) -> str | None:
        """Why there is nothing; None where there is something, or where nobody has said why."""
        cls = self._nearest(op if isinstance(op, type) else type(op))
        return None if cls is None else self._lacks.get(cls)

    def missing(self, ops: Iterable[Op]) -> list[str]:
        """One sentence for each kind of operator for which there is nothing."""
        found = {op.describe(): self.reason(op) or "nobody has written it" for op in ops if self.get(op) is None}
        return [f"{self.name} has no {name}: {reason}" for name, reason in found.items()]
