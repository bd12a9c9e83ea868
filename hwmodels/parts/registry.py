"""Parts of one kind by name: those that come with the packages, those of installed packages, those of plug-ins.

A registry looks for its parts when it is first asked, in three places:

1. built in: the function ``built_in`` says what lies in the folder of such parts;
2. installed packages with an entry point in the registry's ``group`` (``hwsearch.networks``, ...);
3. the plug-ins in use (see ``plugins``).

What an entry point or a plug-in holds is judged by ``parts_in``. Two parts of one name are refused with the places of both: which
of them is meant must not depend on an order.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from hwmodels.errors import FileError, UsageError, closest
from hwmodels.parts import elsewhere, plugins

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
_log = logging.getLogger(__name__)

PartsIn = Callable[[str, object], Iterable[tuple[str, T]]]
"""(name of an entry point, or stem of a file; the object or module that it holds) -> names and parts."""


@dataclass(frozen=True)
class Part(Generic[T]):
    """A part, and where it is from: a file or an installed package."""

    name: str
    value: T
    origin: str


class Registry(Mapping[str, T]):
    """Parts of one kind, by name: those built in first, in their order, then those of packages, then those of plug-ins.

    Args:
        kind: what such a part is called in messages, such as "network".
        group: of entry points.
        built_in: the parts that come with the packages; called once, at the first question.
        parts_in: which parts an object of somebody else holds.
    Raises:
        FileError: (by every question) two parts have one name, or a plug-in cannot be used.
    """

    def __init__(self, kind: str, group: str, built_in: Callable[[], Iterable[Part[T]]], parts_in: PartsIn[T]) -> None:
        self._kind, self._group, self._built_in, self._parts_in = kind, group, built_in, parts_in
        self._lasting: dict[str, Part[T]] | None = None
        self._all: dict[str, Part[T]] = {}
        self._plugins: tuple[plugins.Plugin, ...] = ()

    def named(self, name: str) -> T:
        """The part of that name.

        Raises:
            UsageError: there is none; the closest names are given.
        """
        found = self._found()
        if name not in found:
            raise UsageError(f"no {self._kind} is called {name!r}", closest(name, found))
        return found[name].value

    def origin(self, name: str) -> str:
        """Where a part is from: the path of a file, or the name of an installed package."""
        return self._found()[name].origin

    def __getitem__(self, name: str) -> T:
        return self._found()[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def _found(self) -> dict[str, Part[T]]:
        if self._lasting is None:
            lasting: dict[str, Part[T]] = {}
            self._add(lasting, self._built_in())
            self._add(lasting, self._of_packages())
            self._all = self._lasting = lasting
        if self._plugins != plugins.in_use():
            everything = dict(self._lasting)
            self._add(everything, self._of_plugins(plugins.in_use()))
            self._all, self._plugins = everything, plugins.in_use()
        return self._all

    def _add(self, found: dict[str, Part[T]], parts: Iterable[Part[T]]) -> None:
        for part in parts:
            other = found.setdefault(part.name, part)
            if other.value is not part.value:
                raise FileError(
                    f"two {self._kind} parts are called {part.name!r}: {other.origin} and {part.origin}",
                    "Rename one of them, or leave its plug-in or package out.",
                )

    def _of_packages(self) -> Iterator[Part[T]]:
        for entry in _entry_points(self._group):
            origin = f"package {entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
            elsewhere.loaded(entry.module)
            try:
                held = list(self._parts_in(entry.name, entry.load()))
            except (Exception, SystemExit) as error:  # nobody named this package for this command: the others must stay usable
                _log.warning("%s: its %s %r cannot be used (%s: %s)", origin, self._kind, entry.name, type(error).__name__, error)
                continue
            if not held:
                _log.warning("%s: its entry point %r in %s holds no %s", origin, entry.name, self._group, self._kind)
            yield from (Part(name, value, origin) for name, value in held)

    def _of_plugins(self, used: Iterable[plugins.Plugin]) -> Iterator[Part[T]]:
        for plugin in used:
            held = self._parts_in(plugin.path.stem, plugin.content)
            yield from (Part(name, value, str(plugin.path)) for name, value in held)


def instances(kind: type[T], name_of: Callable[[T], str]) -> PartsIn[T]:
    """Parts are values of a class: the object itself, or every one that stands in a module."""

    def parts_in(name: str, held: object) -> Iterator[tuple[str, T]]:
        values = vars(held).values() if isinstance(held, ModuleType) else (held,)
        seen: list[T] = []
        for value in (inner for outer in values for inner in (outer if isinstance(outer, tuple) else (outer,))):
            if isinstance(value, kind) and not any(value is other for other in seen):
                seen.append(value)
                yield name_of(value), value

    return parts_in


def declared(file: Path, name: str, kind: Callable[..., T]) -> T | None:
    """What a Python file declares as ``NAME = KIND(...)`` with literal arguments, without executing it; None: nothing.

    So listing parts does not wait for what they import. ``INFO = ProxyInfo("fisher", "...", searched=True)`` is one.
    """
    for statement in ast.parse(file.read_text(encoding="utf-8"), str(file)).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Call() as call) if found == name:
                arguments = [ast.literal_eval(argument) for argument in call.args]
                keywords: dict[str, Any] = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
                return kind(*arguments, **keywords)
    return None


class Placed(Protocol):
    """A part that says what it is called and where it is listed."""

    @property
    def name(self) -> str: ...
    @property
    def place(self) -> int: ...


P = TypeVar("P", bound=Placed)


def declared_in(folder: Path, name: str, kind: Callable[..., P]) -> list[Part[P]]:
    """What the Python files of a folder declare so (see ``declared``), as parts in the order of their places."""
    found = [(info, file) for file in folder.glob("*.py") if (info := declared(file, name, kind)) is not None]
    return [Part(info.name, info, str(file)) for info, file in sorted(found, key=lambda one: (one[0].place, one[0].name))]


@cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    from importlib import metadata  # a tenth of the time that `hwsearch --help` takes

    return tuple(sorted(metadata.entry_points(group=group), key=lambda entry: (entry.name, entry.value)))
