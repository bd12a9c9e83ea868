"""Plug-ins: files of other people's parts that somebody named for this process.

A plug-in is a Python file, which is executed as any module is when it is imported, or a device file (``.toml``), which is only
read. A file is executed because a person named it: on the command line (``--plugin FILE``), or by the folder that holds it (see
``settings``). Nothing that a run directory, a plan or a study says is ever executed: they record which plug-ins were in use
(``record``), and ask for them (``ask``).

Executing waits until a registry looks for its parts, so that commands that need none stay quick.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from hwmodels.errors import FileError, UsageError
from hwmodels.parts import elsewhere

ENDINGS = (".py", ".toml")


@dataclass(frozen=True)
class Plugin:
    """A file that was named; ``source`` is what was read when it was, and what ``sha256`` is the digest of."""

    path: Path
    sha256: str
    source: bytes = field(repr=False, compare=False)

    @classmethod
    def read(cls, path: Path) -> Plugin:
        """Read a plug-in without executing it.

        Raises:
            UsageError: neither Python nor a device file.
            FileError: not there, or not readable.
        """
        if path.suffix not in ENDINGS:
            raise UsageError(f"{path} is no plug-in", "A plug-in is a Python file (.py) or a device file (.toml).")
        try:
            source = path.read_bytes()
        except OSError as error:
            raise FileError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})", "Check the path.") from None
        return cls(path.resolve(), hashlib.sha256(source).hexdigest(), source)

    @property
    def content(self) -> ModuleType | Path:
        """The executed module; of a device file its path.

        Raises:
            FileError: it fails while it is executed.
        """
        if self.path.suffix == ".toml":
            return self.path
        if self not in _executed:
            _executed[self] = execute(self.path, self.source, f"_plugin_{self.path.stem}_{self.sha256[:12]}")
        return _executed[self]


_executed: dict[Plugin, ModuleType] = {}
_in_use: tuple[Plugin, ...] = ()


def use(paths: Iterable[Path]) -> None:
    """From now on the plug-ins of this process are these files, each once; folders stand for the files in them.

    Raises as ``Plugin.read`` does.
    """
    global _in_use  # noqa: PLW0603  which plug-ins there are is a property of the process, as is what it has imported
    files = (file for path in paths for file in (_inside(path) if path.is_dir() else (path,)))
    _in_use = tuple({plugin.path: plugin for plugin in map(Plugin.read, files)}.values())


def in_use() -> tuple[Plugin, ...]:
    """The plug-ins of this process, in the order in which they were named."""
    return _in_use


def record() -> list[dict[str, str]]:
    """Name and digest of every plug-in in use, for documents."""
    return [{"name": plugin.path.name, "sha256": plugin.sha256} for plugin in _in_use]


def ask(recorded: Iterable[Mapping[str, Any]], where: object) -> None:
    """Refuse to go on with what was made with plug-ins that are not in use, or are not what they were.

    Args:
        recorded: what ``record`` said then.
        where: what was made, for the message.
    Raises:
        UsageError: lists every one that is missing or has changed.
    """
    here = {plugin.sha256 for plugin in _in_use}
    names = {plugin.path.name for plugin in _in_use}
    missing = [one for one in recorded if one["sha256"] not in here]
    if missing:
        lines = "\n".join(
            f"  - {one['name']} (sha256 {one['sha256'][:12]}) {'has changed since' if one['name'] in names else 'is not given'}"
            for one in missing
        )
        wanted = " ".join(f"--plugin {one['name']}" for one in missing)
        raise UsageError(
            f"{where} was made with plug-ins:\n{lines}",
            f"No file is executed because a run names it. Name those that you trust: hwsearch {wanted} COMMAND ...",
        )


def execute(path: Path, source: bytes, name: str) -> ModuleType:
    """Execute a Python file as the module ``name``; it can import what lies beside it.

    Raises:
        FileError: it fails.
    """
    elsewhere.executed(path)
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up while they are made
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # a script ends the process where it is done
        del sys.modules[name]
        place = elsewhere.place_of(error) or path
        raise FileError(f"{place}: cannot be imported ({type(error).__name__}: {error})", _advice(error)) from error
    finally:
        sys.path.pop(0)
    return module


def _advice(error: BaseException) -> str:
    """What to do about a script, or about a field that another version of a class had."""
    if isinstance(error, SystemExit):
        return 'It ends the process while it is imported: put what it runs under `if __name__ == "__main__":`.'
    found = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    return f"If {found[1]} is hwsearch's: this version of it has no {found[2]}; leave that out." if found else ""


def _inside(folder: Path) -> list[Path]:
    """The plug-ins of a folder; what begins with a dot or an underscore is none."""
    return sorted(file for file in folder.iterdir() if file.suffix in ENDINGS and file.name[0] not in "._")
