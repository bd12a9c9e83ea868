"""The one decorator that compiles functions of the three packages, and where their machine code is kept.

For each function numba asks only whether the file of that very function changed, not those of what it calls, inlines or takes
constants from. So the code of a function is kept under a digest of every source of the three packages that its file reaches by
imports: an edit of any of them makes another folder.
The folder lies in the user's cache directory, never beside the sources: what stays there after uninstalling is found by Python as
a package without ``__init__`` and hides the installed one. Numba's own keys (its version, processor, types) apply within.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, overload

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserProvidedCacheLocator

F = TypeVar("F", bound=Callable[..., Any])
PACKAGES = ("hwmodels", "searchspaces", "hwsearch")
KEPT = 200  # folders that stay whatever their age: about twenty for each of a few checkouts used in turn
UNUSED_S = 7 * 24 * 3600.0  # beyond these, a folder that no process has opened for so long goes

_log = logging.getLogger(__name__)


_IMPORT = re.compile(
    rf"^[ \t]*(?:from|import)[ \t]+((?:{'|'.join(PACKAGES)})(?:\.\w+)*)(?:[ \t]+import[ \t]+(\([^)]*\)|[^\n]*))?", re.MULTILINE
)


def imported(source: str) -> set[str]:
    """Dotted names that a source imports from the three packages: modules, and whatever it takes from them."""
    names = set()
    for module, taken in _IMPORT.findall(source):
        words = re.sub(r"#[^\n]*", "", taken).strip("() \t\n").split(",")
        names |= {module, *(f"{module}.{word.split()[0]}" for word in words if word.strip())}
    return names


def reached(file: Path, roots: Mapping[str, Path]) -> list[Path]:
    """Every source that ``file`` reaches by imports, itself included, sorted; ``roots`` are the folders of the packages."""
    found, waiting = set[Path](), [file]
    while waiting:
        source = waiting.pop()
        if source in found:
            continue
        found.add(source)
        for name in imported(_text(source)):
            package, *inner = name.split(".")
            if package in roots:
                place = roots[package].joinpath(*inner)
                waiting += [p for p in (place.with_suffix(".py"), place / "__init__.py") if _is_file(p)]
    return sorted(found)


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@cache
def _is_file(file: Path) -> bool:
    return file.is_file()


def digest(files: Iterable[Path]) -> str:
    """Of the names and contents of some sources; 16 hexadecimal digits."""
    total = sha256()
    for file in files:
        content = _text(file).encode()
        total.update(f"{file.name} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()[:16]


@cache
def package_roots() -> dict[str, Path]:
    """The folders of those of the three packages that are installed, by name; found without importing them."""
    specs = {name: find_spec(name) for name in PACKAGES}
    return {name: Path(place) for name, spec in specs.items() if spec for place in spec.submodule_search_locations or ()}


def cache_root() -> Path:
    """``hwsearch/compiled`` in the user's cache directory (XDG base directories). Raises RuntimeError where there is no home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    return base / "hwsearch" / "compiled"


def remove_stale(root: Path, now_s: float) -> None:
    """Removes folders that are neither among the ``KEPT`` last used nor used within ``UNUSED_S``.

    Several processes may do so at once: what another has removed meanwhile is no error.
    """
    used_s: dict[Path, float] = {}
    for folder in root.iterdir():
        try:
            if folder.is_dir():
                used_s[folder] = folder.stat().st_mtime
        except OSError:
            continue
    for folder in sorted(used_s, key=lambda other: used_s[other], reverse=True)[KEPT:]:
        if now_s - used_s[folder] > UNUSED_S:
            shutil.rmtree(folder, ignore_errors=True)


@cache
def root_folder() -> Path | None:
    """Where this process keeps compiled code; None, said once, where nothing can be written."""
    try:
        root = cache_root()
        root.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=root).close()
        remove_stale(root, time.time())
    except (OSError, RuntimeError) as error:
        _log.warning("compiled code is not kept, each start compiles again: %s (XDG_CACHE_HOME names another folder)", error)
        return None
    return root


@cache
def directory(file: Path) -> Path | None:
    """The folder for compiled functions of one source; None where nothing can be written."""
    root = root_folder()
    if root is None:
        return None
    try:
        folder = root / digest(reached(file, package_roots()))
        folder.mkdir(exist_ok=True)
        os.utime(folder)  # used now
    except OSError as error:
        _log.info("compiled code of %s is not kept: %s", file, error)
        return None
    return folder


class _Locator(UserProvidedCacheLocator):
    """Numba's place for a function: below ``directory`` of its file."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno
        folder = directory(Path(py_file))
        assert folder is not None  # from_function asked
        self._cache_path = str(folder / self.get_suitable_cache_subpath(py_file))  # type: ignore[no-untyped-call]  # numba annotates nothing

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator | None:
        if not os.path.exists(py_file) or directory(Path(py_file)) is None:
            return None
        locator = cls(py_func, py_file)
        try:
            locator.ensure_cache_path()  # type: ignore[no-untyped-call]  # numba annotates nothing
        except OSError:
            return None
        return locator


class _Place(CompileResultCacheImpl):
    _locator_classes: list[type[object]] = [_Locator]  # noqa: RUF012 - numba declares it so


class _Cache(FunctionCache):
    _impl_class = _Place

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps a compiled function; a full disk or a folder removed meanwhile costs a compilation next time, not this run."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]  # numba annotates nothing
        except OSError as error:
            _log.info("compiled code of %s is not kept: %s", self._name, error)


@overload
def compiled(function: F) -> F: ...
@overload
def compiled(*, inline: Literal["never", "always"]) -> Callable[[F], F]: ...
def compiled(function: F | None = None, *, inline: Literal["never", "always"] = "never") -> F | Callable[[F], F]:
    """The function compiled by numba, without Python's lock, its code kept for these sources alone. To its callers it is itself.

    ``@compiled`` or ``@compiled(inline="always")``: the latter puts its body into compiled callers.
    """
    if function is None:
        return lambda given: _compile(given, inline)
    return _compile(function, inline)


def _compile(function: F, inline: Literal["never", "always"]) -> F:
    dispatcher: Any = numba.njit(nogil=True, inline=inline)(function)
    if root_folder() is not None:
        try:
            dispatcher._cache = _Cache(function)  # type: ignore[no-untyped-call]  # what enable_caching() does, with our place
        except RuntimeError as error:  # no file behind the function, or its folder cannot be written
            _log.info("%s", error)
    return cast(F, dispatcher)
