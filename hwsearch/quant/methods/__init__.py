"""Quantization methods, one a file: a file that lies in one of the folders here, which tell what it mainly is about, is a method,
its name is the file's (see ``quant.method``). So is a plug-in with the same two names in it, and the module of an entry point in
``hwsearch.methods``, under the entry point's name. Names of several, with ``+`` between them, are a method, too: each layer and
tensor by one of them (``quant.mixture``).

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
SIGN = "+"
"""Between the names of methods that are mixed."""


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
    """The method of that name; ``mse+gptq``: of those names, mixed.

    Raises:
        UsageError: there is none, or methods that cannot be mixed.
    """
    parts = parts_of(name)
    if len(parts) == 1:
        return METHODS.named(name)()
    modules = {part: METHODS.named(part)() for part in parts}
    if len(modules) < len(parts):
        raise UsageError(f"the method {name} names a method twice", f"Write {SIGN.join(modules)}.")
    own = {part: module.INFO.family for part, module in modules.items()}
    if len(set(own.values())) > 1 or not all(own.values()):
        alone = [part for part, family in own.items() if not family] or list(own)
        known = "; or ".join(", ".join(alike) for alike in families())
        raise UsageError(
            f"{' and '.join(alone)} cannot be mixed layer by layer",
            f"Mixed with each other are {known}. To keep the better of several methods for each plan, repeat --method.",
        )
    if len({module.INFO.price for module in modules.values()}) > 1:
        raise UsageError(f"the methods of {name} cost different things at run time", "Mix methods of one price.")
    from hwsearch.quant.mixture import MixtureModule

    return MixtureModule(modules)


def parts_of(name: str) -> tuple[str, ...]:
    """The methods that the name of a mixture names; of any other method, itself."""
    return (name,) if name in METHODS else tuple(name.split(SIGN))


def is_mixture(name: str) -> bool:
    """Whether each layer and tensor is by one of several methods."""
    return len(parts_of(name)) > 1


def is_known(name: str) -> bool:
    """Whether ``load`` finds a method of that name."""
    try:
        load(name)
    except UsageError:
        return False
    return True


def families() -> list[list[str]]:
    """Methods that can be mixed with each other."""
    found: dict[str, list[str]] = {}
    for name in names():
        if family := load(name).INFO.family:
            found.setdefault(family, []).append(name)
    return [alike for alike in found.values() if len(alike) > 1]


def check(wanted: Iterable[str]) -> tuple[str, ...]:
    """The names, in the order given and each once.

    Raises:
        UsageError: there is no such method, some cannot be mixed, or none was given.
    """
    once = tuple(dict.fromkeys(wanted))
    if not once:
        raise UsageError("no quantization method given", f"Give one or several of {', '.join(names())}.")
    for name in once:
        if name not in METHODS:
            load(name)
    return once


def check_exported(wanted: Iterable[str]) -> None:
    """Raise UsageError where file formats do not carry what one of the methods makes, so that no plan can be handed over."""
    for name in wanted:
        if not load(name).INFO.exported:
            raise UsageError(
                f"the method {name} makes networks that no file format carries",
                f"See what it reaches with `hwsearch methods compare --method {name}`, and search with another.",
            )
