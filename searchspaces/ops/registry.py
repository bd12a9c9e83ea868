"""All operators by the names that files know, and operators as plain data.

In a file an operator is two things, ``op`` and ``attrs``: its kind (or the word of its family, with the kind among ``attrs``) and
those parameters that differ from their defaults. A fused activation is named under ``activation``, its parameters beside those of
the layer. So files stay as they were when a parameter is added.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError

import searchspaces.ops as folder
from hwmodels.errors import FileError, closest
from hwmodels.parts.registry import Part, Registry
from searchspaces.ops.base import Op
from searchspaces.ops.extent import BadExtent, check
from searchspaces.ops.maps.activation import Activation


def operators() -> Mapping[str, type[Op]]:
    """Kind -> class, of every file of this folder and those in it, in their order; then those of packages and plug-ins.

    Raises:
        FileError: two operators have one kind.
    """
    return OPERATORS


def _built_in() -> list[Part[type[Op]]]:
    names = [module.name for module in pkgutil.walk_packages(folder.__path__, f"{folder.__name__}.")]
    for name in names:
        import_module(name)
    return [Part(cls.kind, cls, cls.__module__) for cls in _below(Op) if cls.kind and cls.__module__ in names]


def _below(cls: type[Op]) -> Iterator[type[Op]]:
    for child in cls.__subclasses__():
        yield child
        yield from _below(child)


def _parts_in(name: str, held: object) -> Iterator[tuple[str, type[Op]]]:
    """An operator's class, or every one that a module defines."""
    for value in vars(held).values() if isinstance(held, ModuleType) else (held,):
        if isinstance(value, type) and issubclass(value, Op) and value.kind:
            yield value.kind, value


OPERATORS: Registry[type[Op]] = Registry("operator", "hwsearch.operators", _built_in, _parts_in)


def families() -> frozenset[str]:
    """Words under which files keep several operators."""
    return frozenset(cls.family for cls in operators().values() if cls.family)


def to_document(op: Op) -> tuple[str, dict[str, Any]]:
    """``op`` and ``attrs`` of an operator: plain data, as it stands in files."""
    attrs: dict[str, Any] = {"kind": op.kind} if op.family else {}
    for field in fields(op):
        value = getattr(op, field.name)
        if isinstance(value, Activation):
            attrs[field.name] = value.kind
            attrs |= {inner.name: _plain(getattr(value, inner.name)) for inner in fields(value)}
        elif field.name in _ALWAYS or field.default is MISSING or value != field.default:
            attrs[field.name] = _plain(value)
    return op.word, attrs


_ALWAYS = ("stride", "padding", "dilation", "groups")
"""Written even where they have their default: files of the first release have them."""


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    return str(value) if value in (float("inf"), float("-inf")) else value


def from_document(word: str, attrs: Mapping[str, Any]) -> Op:
    """The operator that ``to_document`` wrote; every parameter is checked.

    Raises:
        FileError: no such operator, or parameters that it does not take.
    """
    given = dict(attrs)
    kind = str(given.pop("kind", "")) if word in families() else word
    cls = operators().get(kind)
    if cls is None or (word in families() and cls.family != word):
        raise FileError(f"no operator {word if kind == word else f'{word} {kind}'!r}", closest(kind, operators()))
    names = {field.name for field in fields(cls)}
    if "activation" in names:
        given["activation"] = _activation(str(given.pop("activation", None) or "none"), given, names)
    if unknown := sorted(given.keys() - names):
        has = ", ".join(sorted(names)) or "none"
        raise FileError(f"operator {word!r} has no parameter {', '.join(unknown)}", f"It has: {has}.")
    try:
        op = _adapter(cls).validate_python(given)  # type: ignore[arg-type]  # a class is hashable, also to a cache
        for name in cls.extents:
            value = getattr(op, name)
            for extent in value if isinstance(value, tuple) else (value,):
                check(extent if extent is not None else 0)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FileError(f"operator {word!r}: {f'{where}: ' if where else ''}{first['msg']}") from None
    except BadExtent as error:
        raise FileError(f"operator {word!r}: {error}") from None
    return op


def _activation(kind: str, given: dict[str, Any], names: set[str]) -> Activation | None:
    """The fused activation; its parameters are taken out of ``given``."""
    if kind == "none":
        return None
    cls = operators().get(kind)
    if cls is None or not issubclass(cls, Activation):
        raise FileError(
            f"no activation {kind!r}", closest(kind, [k for k, c in operators().items() if issubclass(c, Activation)])
        )
    own = {field.name for field in fields(cls)} - names
    found = from_document(cls.family, {"kind": kind, **{name: given.pop(name) for name in sorted(own & given.keys())}})
    assert isinstance(found, Activation)
    return found


@cache
def _adapter(cls: type[Op]) -> TypeAdapter[Op]:
    return TypeAdapter(cls)
