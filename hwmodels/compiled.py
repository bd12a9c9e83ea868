"""The one decorator that compiles functions of the three packages, and where their machine code is kept.

For each function numba asks only whether the file of that very function changed, not those of what it calls, inlines or takes
constants from. So the code is kept under a digest of every Python source of the three packages: any edit makes another folder.
The folder lies in the user's cache directory, never beside the sources: what stays there after uninstalling is found by Python as
a package without ``__init__`` and hides the installed one. Numba's own keys (its version, processor, types) apply within.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserProvidedCacheLocator

PACKAGES = ("hwmodels", "searchspaces", "hwsearch")
KEPT = 8  # folders of other digests that stay whatever their age: a few checkouts used in turn
UNUSED_S = 7 * 24 * 3600.0  # beyond these, a folder that no process has opened for so long goes

_log = logging.getLogger(__name__)


def digest(roots: Iterable[Path]) -> str:
    """Of the names and contents of all Python sources below ``roots``, wherever in them a file lies; 16 hexadecimal digits."""
    total = sha256()
    for root in roots:
        for file in sorted(root.rglob("*.py")):
            content = file.read_bytes()
            total.update(f"{root.name}/{file.relative_to(root).as_posix()} {len(content)}\n".encode())
            total.update(content)
    return total.hexdigest()[:16]


def package_roots() -> list[Path]:
    """The folders of those of the three packages that are installed; found without importing them."""
    specs = [find_spec(name) for name in PACKAGES]
    return [Path(place) for spec in specs if spec for place in spec.submodule_search_locations or ()]


def cache_root() -> Path:
    """``hwsearch/compiled`` in the user's cache directory (XDG base directories). Raises RuntimeError where there is no home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    return base / "hwsearch" / "compiled"


def remove_stale(root: Path, current: str, now_s: float) -> None:
    """Removes folders of other digests that are neither among the ``KEPT`` last used nor used within ``UNUSED_S``.

    Several processes may do so at once: what another has removed meanwhile is no error.
    """
    used_s: dict[Path, float] = {}
    for folder in root.iterdir():
        try:
            if folder.name != current and folder.is_dir():
                used_s[folder] = folder.stat().st_mtime
        except OSError:
            continue
    for folder in sorted(used_s, key=lambda other: used_s[other], reverse=True)[KEPT:]:
        if now_s - used_s[folder] > UNUSED_S:
            shutil.rmtree(folder, ignore_errors=True)


@cache
def directory() -> Path | None:
    """Where this process keeps compiled code; None, said once, where nothing can be written."""
    try:
        root, current = cache_root(), digest(package_roots())
        folder = root / current
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        os.utime(folder)  # used now
        remove_stale(root, current, time.time())
    except (OSError, RuntimeError) as error:
        _log.warning("compiled code is not kept, each start compiles again: %s (XDG_CACHE_HOME names another folder)", error)
        return None
    return folder


class _Locator(UserProvidedCacheLocator):
    """Numba's place for a function: a folder for each source folder, below ``directory()``."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno
        folder = directory()
        assert folder is not None  # from_function asked
        self._cache_path = str(folder / self.get_suitable_cache_subpath(py_file))

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator | None:
        if directory() is None or not os.path.exists(py_file):
            return None
        locator = cls(py_func, py_file)
        try:
            locator.ensure_cache_path()
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
            super().save_overload(sig, data)
        except OSError as error:
            _log.info("compiled code of %s is not kept: %s", self._name, error)


def compiled(function: Callable[..., Any] | None = None, *, inline: Literal["never", "always"] = "never") -> Any:
    """The function compiled by numba, without Python's lock, its code kept for these sources alone.

    ``@compiled`` or ``@compiled(inline="always")``: the latter puts its body into compiled callers.
    """
    if function is None:
        return lambda given: compiled(given, inline=inline)
    dispatcher: Any = numba.njit(nogil=True, inline=inline)(function)
    if directory() is not None:
        try:
            dispatcher._cache = _Cache(function)  # what enable_caching() does, with our place
        except RuntimeError as error:  # no file behind the function, or its folder cannot be written
            _log.info("%s", error)
    return dispatcher
