"""Quantization methods, one a file: a file that lies here is a method, its name is the file's (see ``quant.method``).

Nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import cast

from hwmodels.errors import UsageError, closest
from hwsearch.documents.earlier import USUAL_METHOD
from hwsearch.quant.method import MethodModule

USUAL = USUAL_METHOD
"""What quantizes where nobody says otherwise."""


def names() -> tuple[str, ...]:
    """Names of all methods, the usual one first."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(found, key=lambda name: (name != USUAL, name)))


def load(name: str) -> MethodModule:
    """The method of that name.

    Raises:
        UsageError: there is none.
    """
    check([name])
    return cast(MethodModule, importlib.import_module(f"{__name__}.{name}"))


def check(wanted: Iterable[str]) -> tuple[str, ...]:
    """The names, in the order given and each once.

    Raises:
        UsageError: there is no such method, or none was given.
    """
    once = tuple(dict.fromkeys(wanted))
    if not once:
        raise UsageError("no quantization method given", f"Give one or several of {', '.join(names())}.")
    for name in once:
        if name not in names():
            raise UsageError(f"there is no quantization method {name!r}", closest(name, names()))
    return once
