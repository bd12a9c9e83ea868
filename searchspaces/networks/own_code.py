"""The code of a person's own network, as it is named: ``FILE.py:CALLABLE``, or ``FILE.py:CALLABLE(KEY=VALUE, ...)``.

The name is one text, so that whatever keeps it (a request, a plan, a command that is printed) keeps the arguments, too. Values
are Python's literals: they are read, never evaluated.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwmodels.errors import FileError, UsageError, closest
from hwmodels.parts.elsewhere import place_of
from hwmodels.parts.plugins import execute

if TYPE_CHECKING:
    from torch import nn

_NAMED = re.compile(r"(?P<file>.+\.py):(?P<name>[^:(]*)(?:\((?P<arguments>.*)\))?", re.DOTALL | re.IGNORECASE)
HOW = "Write it as path/to/file.py:callable, or path/to/file.py:callable(key=value)."


@dataclass(frozen=True)
class OwnCode:
    """A callable in a file, and what it is called with. ``str`` writes it as ``read`` reads it."""

    file: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> OwnCode | None:
        """The code that a text names; None where it names no Python file with a callable.

        Raises:
            UsageError: its arguments are not ``KEY=VALUE`` with literals for values.
        """
        named = _NAMED.fullmatch(text)
        if named is None:
            return None
        return cls(named["file"], named["name"], _literals(named["arguments"], text) if named["arguments"] else {})

    def __str__(self) -> str:
        return f"{self.file}:{self.call}" if self.arguments else f"{self.file}:{self.name}"

    @property
    def call(self) -> str:
        """``build(width=32)``: what is called, wherever its file lies."""
        return f"{self.name}({', '.join(f'{key}={_written(value)}' for key, value in self.arguments.items())})"

    def given(self, arguments: Mapping[str, Any]) -> OwnCode:
        """With further arguments.

        Raises:
            UsageError: one is given twice, with different values.
        """
        for key in arguments:
            if self.arguments.get(key, arguments[key]) != arguments[key]:
                raise UsageError(f"{self}: {key} is given twice, as {self.arguments[key]!r} and {arguments[key]!r}", "Keep one.")
        return replace(self, arguments={**self.arguments, **arguments})

    def executed(self) -> Any:
        """The callable. Its file is executed, as any Python module is when it is imported.

        Raises:
            UsageError: it has no such callable.
            FileError: there is no such file, or it fails.
        """
        if not Path(self.file).is_file():
            raise FileError(f"{self.file}: no such file")
        imported = execute(Path(self.file), Path(self.file).read_bytes(), f"_user_{Path(self.file).stem}")
        maker = getattr(imported, self.name, None)
        if not callable(maker):
            names = [name for name, value in vars(imported).items() if callable(value) and not name.startswith("_")]
            raise UsageError(f"{self.file} has no callable {self.name!r}", closest(self.name, names))
        return maker

    def module(self, maker: Any) -> nn.Module:
        """What the callable returns for the arguments; itself where it is a module.

        Raises:
            UsageError: it takes no such argument, or returns no module.
            FileError: it fails.
        """
        from torch import nn

        from searchspaces.networks.own_module import unwrapped

        if isinstance(maker, nn.Module):
            if self.arguments:
                raise UsageError(f"{self.file}: {self.name} is a module, which takes no arguments", "Name what makes it.")
            return unwrapped(maker, str(self))
        known = taken_by(maker)
        for key in self.arguments:
            if known is not None and key not in known:
                hint = f"{closest(key, known)} It takes {', '.join(known)}." if known else "Leave it out."
                raise UsageError(f"{self.file}: {self.name} has no argument {key!r}", hint)
        if lacking := [key for key in needed_by(maker) if key not in self.arguments]:
            given = " ".join(f"--arg {key}=VALUE" for key in lacking)
            raise UsageError(f"{self.file}: {self.name} needs {', '.join(lacking)}", f"Give a value: {given}.")
        try:
            made = maker(**self.arguments)
        except (Exception, SystemExit) as error:
            raise FileError(f"{place_of(error) or self.file}: {self.call} failed ({type(error).__name__}: {error})") from error
        if not isinstance(made, nn.Module):
            raise UsageError(f"{self.file}: {self.call} returned {type(made).__name__}, not a torch.nn.Module")
        return unwrapped(made, str(self))


def taken_by(maker: Callable[..., Any]) -> list[str] | None:
    """The names of the arguments that a callable takes; None where it takes any, or does not tell."""
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return None
    return [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]


def needed_by(maker: Callable[..., Any]) -> list[str]:
    """The names of the arguments without which a callable cannot be called, as far as it tells. What is wrapped in another one
    (``wraps`` of functools) may be given its arguments by that, and is not looked at."""
    try:
        parameters = inspect.signature(maker, follow_wrapped=False).parameters.values()
    except (TypeError, ValueError):
        return []
    named = (one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY))
    return [one.name for one in named if one.default is one.empty]


def is_same(asked: str, given: str) -> bool:
    """Whether two texts name the same callable with the same arguments, or both a model file; the files may lie elsewhere."""
    one, other = OwnCode.read(asked), OwnCode.read(given)
    if one is None or other is None:
        return one is other
    return (one.name, dict(one.arguments)) == (other.name, dict(other.arguments))


def check_same(source: object, asked: str | None, given: str, network: str) -> None:
    """Raise UsageError where ``source`` (a plan, a run) is not of the network that is named again.

    Args:
        asked: the code or model file that it is of; None: the built-in ``network``.
    """
    if asked is None:
        raise UsageError(f"{source} is of the network {network}, not of a file of code", "Leave --model out.")
    if not is_same(asked, given):
        code = OwnCode.read(asked)
        named = Path(asked).name if code is None else f"{Path(code.file).name}:{str(code).removeprefix(f'{code.file}:')}"
        raise UsageError(f"{source} is of the network {named}, not of {given}", f"Name it again: --model {shlex.quote(asked)}")


def _written(value: Any) -> str:
    """A literal; texts in double quotes, which a shell keeps as they are between single ones."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _literals(text: str, whole: str) -> dict[str, Any]:
    """``a=1, b="x"`` as a mapping."""
    try:
        call = ast.parse(f"_({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not isinstance(call.func, ast.Name):
            raise ValueError(text)
        keys = [keyword.arg for keyword in call.keywords]
        if None in keys or len(set(keys)) < len(keys):
            raise ValueError(text)
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        hint = "Arguments are KEY=VALUE, and values numbers, texts in quotes, True, False, None, or lists of these."
        raise UsageError(f"{whole!r}: ({text}) are no arguments", hint) from None
