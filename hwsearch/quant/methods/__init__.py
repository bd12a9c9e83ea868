"""Quantization methods, one a file: a file that lies in one of the folders here, which tell what it mainly is about, is a method,
its name is the file's (see ``quant.method``). So is a plug-in with the same two names in it, and the module of an entry point in
``hwsearch.methods``, under the entry point's name.

Nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import cast

from hwmodels.errors import UsageError
from hwmodels.parts.registry import Part, Registry
from hwsearch.documents.earlier import USUAL_METHOD
from hwsearch.quant.method import MethodInfo, MethodModule

Loader = Callable[[], MethodModule]

USUAL = USUAL_METHOD
"""What quantizes where nobody says otherwise."""


def _built_in() -> list[Part[Loader]]:
    """The files of the folders here, the usual one first."""
    files = [file for file in Path(__file__).parent.glob("*/*.py") if file.name != "__init__.py"]
    files.sort(key=lambda file: (file.stem != USUAL, file.stem))
    return [Part(file.stem, partial(_import, file.parent.name, file.stem), str(file)) for file in files]


def _import(folder: str, name: str) -> MethodModule:
    return cast(MethodModule, importlib.import_module(f"{__name__}.{folder}.{name}"))


def _parts_in(name: str, held: object) -> Iterator[tuple[str, Loader]]:
    """A module that has what a method file has."""
    if isinstance(getattr(held, "INFO", None), MethodInfo) and callable(getattr(held, "observe", None)):
        yield name, lambda: cast(MethodModule, held)


METHODS: Registry[Loader] = Registry("quantization method", "hwsearch.methods", _built_in, _parts_in)


def names() -> tuple[str, ...]:
    """Names of all methods, the usual one first."""
    return tuple(METHODS)


def load(name: str) -> MethodModule:
    """The method of that name.

    Raises:
        UsageError: there is none.
    """
    return METHODS.named(name)()


def check(wanted: Iterable[str]) -> tuple[str, ...]:
    """The names, in the order given and each once.

    Raises:
        UsageError: there is no such method, or none was given.
    """
    once = tuple(dict.fromkeys(wanted))
    if not once:
        raise UsageError("no quantization method given", f"Give one or several of {', '.join(names())}.")
    for name in once:
        METHODS.named(name)
    return once


def check_exported(wanted: Iterable[str]) -> None:
    """Raise UsageError where file formats do not carry what one of the methods makes, so that no plan can be handed over."""
    for name in wanted:
        if not load(name).INFO.exported:
            raise UsageError(
                f"the method {name} makes networks that no file format carries",
                f"See what it reaches with `hwsearch methods compare --method {name}`, and search with another.",
            )
