"""The archive of a TorchScript program, looked through before torch loads it.

Such a file holds the source of its modules, in a language that torch compiles and interprets. That language has no Python in it,
but operators that open, read and write files, and classes of loaded libraries. A file of unknown origin must reach none of them.
So every source is parsed first, and whatever is called in it must be an operator on tensors that knows no file, arithmetic of
sizes, or a function of the file's own. Anything else is refused and named, and nothing is loaded.
"""

from __future__ import annotations

import ast
import io
import re
import zipfile
from collections.abc import Mapping, Set
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
PICKLES = ("data.pkl", "constants.pkl")
PARTS = (*PICKLES, "version", ".data/version", "byteorder")
"""Members of an archive beside sources and tensors. Pickles of TorchScript are read by a parser without Python, for tensors and
classes of the sources."""
_TENSOR = re.compile(r"(data|constants)/\d+")
FORBIDDEN = ("set_", "_cuda", "from_file", "save", "load")
"""Beginnings of operators that read and write files, or reach into storage."""


def safe(path: Path) -> io.BytesIO:
    """The archive at ``path``, made anew of what was understood: sources as they were parsed, and tensors.

    Torch then reads nothing that was not looked at: neither a second member of one name, nor what its own parser might take a
    text for.

    Raises:
        FileError: it is none, is damaged, or calls what could reach out of it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
            if total > MOST_BYTES or archive.testzip() is not None:
                raise FileError(f"{path}: a damaged archive, or one of {total} bytes")
            files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
            sources = {name: content.decode() for name, content in files.items() if is_source(f"/{name}")}
    except BAD as error:
        raise FileError(f"{path}: no TorchScript program, or cut short ({error})", "Save it again by torch.jit.save.") from None
    if not sources:
        raise FileError(f"{path}: no TorchScript program", "Save it by torch.jit.save.")
    kept = {name: content for name, content in files.items() if name in PARTS or _TENSOR.fullmatch(name)}
    if any(b"torch.classes" in kept.get(name, b"") for name in PICKLES):
        raise _refused(path, "an object of a loaded library (torch.classes), as quantized modules and back ends are")
    for name, text in sources.items():
        kept[name] = _checked(path, name.removeprefix("code/"), text).encode()
    return _written(kept)


def _written(files: Mapping[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(f"archive/{name}", content)
    buffer.seek(0)
    return buffer


def _refused(path: Path, what: str) -> FileError:
    hint = "Save the network by torch.export.save (.pt2) or torch.onnx.export (.onnx)."
    return FileError(f"{path}: refused, because loading it could reach out of the network: it holds {what}", hint)


def _checked(path: Path, name: str, text: str) -> str:
    """The source as Python's parser has understood it, where nothing in it is harmful."""
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
    return f"{ast.unparse(tree)}\n"


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
    if isinstance(func, ast.Name):
        return None if func.id in BUILT_IN or func.id in own else func.id
    if words is None or words[0] not in ("torch", "ops"):  # a method: of a module of the file, a list, or a tensor
        method = func.attr if isinstance(func, ast.Attribute) else ""
        return None if method and not _knows_files(method) else method or "what is no name"
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
    """Whether some form of an operator of aten takes or gives tensors, and none knows a file."""
    items = [item for schema in _schemas(name) for item in (*schema.arguments, *schema.returns)]
    return not _knows_files(name) and any("Tensor" in str(item.type) for item in items)


def _knows_files(name: str) -> bool:
    """Whether an operator of aten reads or writes files, or reaches into storage."""
    arguments = [argument for schema in _schemas(name) for argument in schema.arguments]
    return name.startswith(FORBIDDEN) or any(a.name in FILES and "str" in str(a.type) for a in arguments)


def _schemas(name: str) -> list[Any]:
    """Of all forms of an operator of aten; none where there is no such operator."""
    packet = getattr(torch.ops.aten, name, None)
    return [] if packet is None else [getattr(packet, overload)._schema for overload in packet.overloads()]
