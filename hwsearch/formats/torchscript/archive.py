"""The archive of a TorchScript program, looked through before torch loads it.

Such a file holds the source of its modules, in a language that torch compiles and interprets. That language has no Python in it,
but operators that open, read and write files, and classes of loaded libraries. A file of unknown origin must reach none of them.
So every source is parsed first, and whatever is called in it must be an operator on tensors that knows no file, arithmetic of
sizes, or a function of the file's own. Anything else is refused and named, and nothing is loaded.
"""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Set
from pathlib import Path
from typing import Any

import torch

from hwmodels.errors import FileError
from hwsearch.formats.torchscript.offers import BAD, is_source

MOST_BYTES = 1 << 33
BUILT_IN = (
    *("int", "float", "bool", "len", "range", "min", "max", "list", "annotate", "unchecked_cast", "uninitialized", "isinstance"),
    *("str", "enumerate", "zip", "abs", "tuple", "getattr"),
)
"""Functions of the language itself."""
PRIMITIVES = (
    "NumToTensor",
    "data",
    "device",
    "dtype",
    "min",
    "max",
    "rangelist",
    "layout",
    "RaiseException",
    "type",
    "requires_grad",
)
"""Of ``prim``: what has no effect."""
ARITHMETIC = (
    *("add", "sub", "mul", "div", "floordiv", "remainder", "neg", "pow", "eq", "ne", "lt", "le", "gt", "ge", "floor", "ceil"),
    *("__is__", "__isnot__", "__not__", "__and__", "__or__", "__contains__", "__getitem__", "__range_length", "__derive_index"),
    *(
        "append",
        "len",
        "list",
        "format",
        "warn",
        "Int",
        "Float",
        "Bool",
        "ScalarImplicit",
        "IntImplicit",
        "FloatImplicit",
        "select",
    ),
    *("device", "extend", "copy", "insert", "pop", "reverse", "mathremainder", "sqrt", "log", "round", "fabs", "size", "dim"),
)
"""Of sizes, lists and conditions. (``warn`` prints.)"""
FILES = ("filename", "file", "path")
"""What operators call the name of a file."""
FORBIDDEN = ("set_", "_cuda", "from_file", "save", "load")
"""Beginnings of operators that read and write files, or reach into storage."""


def safe(path: Path) -> bytes:
    """The archive at ``path``.

    Raises:
        FileError: it is none, is damaged, or calls what could reach out of it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
            if total > MOST_BYTES or archive.testzip() is not None:
                raise FileError(f"{path}: a damaged archive, or one of {total} bytes")
            names = archive.namelist()
            sources = {name: archive.read(name).decode() for name in names if is_source(name)}
            pickles = b"".join(archive.read(name) for name in names if name.endswith(".pkl") and "/code/" not in name)
    except BAD as error:
        raise FileError(f"{path}: no TorchScript program, or cut short ({error})", "Save it again by torch.jit.save.") from None
    if not sources:
        raise FileError(f"{path}: no TorchScript program", "Save it by torch.jit.save.")
    if b"torch.classes" in pickles:
        raise _refused(path, "an object of a loaded library (torch.classes), as quantized modules and back ends are")
    for name, text in sources.items():
        _check(path, name.partition("/code/")[2], text)
    return path.read_bytes()


def _refused(path: Path, what: str) -> FileError:
    hint = "Save the network by torch.export.save (.pt2) or torch.onnx.export (.onnx)."
    return FileError(f"{path}: refused, because loading it could reach out of the network: it holds {what}", hint)


def _check(path: Path, name: str, text: str) -> None:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FileError(f"{path}: {name} in it is damaged", "Save it again by torch.jit.save.") from None
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    own = _own_functions(tree)
    for func in called:
        if (what := _harmful(func, own)) is not None:
            raise _refused(path, f"a call of {what}, in {name}")
    inside = {id(part) for func in called for part in ast.walk(func)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Global | ast.Lambda):
            raise _refused(path, f"{type(node).__name__}, in {name}")
        if isinstance(node, ast.Name) and node.id == "ops" and id(node) not in inside:
            raise _refused(path, f"an operator that is not called, in {name}")
        if isinstance(node, ast.Call) and any(isinstance(given, ast.Name) and given.id == "torch" for given in node.args):
            raise _refused(path, f"torch itself as a value, in {name}")
        if isinstance(node, ast.Attribute) and node.attr == "classes":
            raise _refused(path, f"a class of a loaded library, in {name}")


def _own_functions(tree: ast.Module) -> set[str]:
    """Variables that stand for functions of the file's own: never for one of torch."""
    given: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    given.setdefault(target.id, []).append(node.value)
    roots = {name: {(_dotted(value) or [""])[0] for value in values} for name, values in given.items()}
    return {name for name, found in roots.items() if "__torch__" in found and not found & {"torch", "ops"}}


def _harmful(func: ast.expr, own: Set[str] = frozenset()) -> str | None:
    """What is called, where it is not known to be harmless. ``own``: variables that stand for functions of the file's own."""
    words = _dotted(func)
    if words is None or words[0] not in ("torch", "ops"):  # a function of the file's own, or of a value
        name = func.id if isinstance(func, ast.Name) else ""
        return None if not name or name in BUILT_IN or name in own else name
    if words[0] == "ops" and words[1:2] == ["prim"]:
        return None if words[2:] and (words[2] in PRIMITIVES or words[2].startswith("is_")) else ".".join(words)
    name = words[-1]
    known = len(words) == (2 if words[0] == "torch" else 3) and (words[0] == "torch" or words[1] == "aten")
    return None if known and (name in ARITHMETIC or name.startswith("is_") or _on_tensors(name)) else ".".join(words)


def _dotted(func: ast.expr) -> list[str] | None:
    words: list[str] = []
    while isinstance(func, ast.Attribute):
        words.insert(0, func.attr)
        func = func.value
    return [func.id, *words] if isinstance(func, ast.Name) else None


def _on_tensors(name: str) -> bool:
    """Whether some form of an operator of aten takes or gives tensors, and none the name of a file."""
    packet = getattr(torch.ops.aten, name, None)
    schemas = [getattr(packet, overload)._schema for overload in packet.overloads()] if packet is not None else []
    if name.startswith(FORBIDDEN) or any(_is_file(a) for schema in schemas for a in schema.arguments):
        return False
    return any("Tensor" in str(item.type) for schema in schemas for item in (*schema.arguments, *schema.returns))


def _is_file(argument: Any) -> bool:
    return argument.name in FILES and "str" in str(argument.type)
