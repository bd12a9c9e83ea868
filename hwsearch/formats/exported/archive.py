"""The archive of an exported program, made harmless before torch loads it.

A .pt2 file is a graph in JSON with weights as plain bytes. But torch.export.load would also unpickle what it finds in it
(example inputs, tensors marked ``use_pickle``, objects), load compiled libraries, evaluate formulas of sizes as Python, execute
guards, and call whatever function of torch an operator names. A file of unknown origin must do none of that. So the archive is
taken apart and a new one is made of what was understood: operators of ``torch.ops.aten`` and arithmetic of sizes, formulas of
whole numbers and symbols, plain tensors. Anything else is refused and named; example inputs and guards are left out.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hwmodels.errors import FileError
from hwsearch.formats.reading.members import members

ARITHMETIC = ("getitem", "add", "sub", "mul", "floordiv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge", "truediv", "pow")
"""Functions of Python's ``operator`` that sizes are computed by."""
SYMBOLIC = ("torch.sym_max", "torch.sym_min", "torch.sym_int", "torch.sym_not")
FORBIDDEN = ("from_file", "set_", "_cuda", "_sparse")
"""Operators of aten that read files or reach into storage."""
FORMULAS = (
    "FloorDiv",
    "Mod",
    "PythonMod",
    "Max",
    "Min",
    "CeilDiv",
    "CleanDiv",
    "ModularIndexing",
    "IntTrueDiv",
    "FloatTrueDiv",
    "FloorToInt",
    "TruncToInt",
    "CeilToInt",
    "ToFloat",
    "Float",
    "Pow",
    "Symbol",
    "Integer",
    "Rational",
    "Add",
    "Mul",
    "Equality",
    "Unequality",
    "LessThan",
    "GreaterThan",
    "StrictLessThan",
    "StrictGreaterThan",
    "Not",
    "And",
    "Or",
    "true",
    "false",
)
MOST_GRAPHS = 1000
"""Graphs inside others."""
_BITS = 53
"""Of the factors by which a picture is resized: a number of many bits would take its memory."""
_SYMBOL = re.compile(r"[suz]+\d+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
KEPT_METADATA = ("nn_module_stack", "stack_trace")
SETTINGS = ("torch.ops.higher_order.wrap_with_set_grad_enabled", "torch.ops.higher_order.wrap_with_autocast")
"""Calls that compute a graph of their own under a setting of torch (``with torch.no_grad()``)."""


def safe(path: Path) -> io.BytesIO:
    """The archive at ``path`` with nothing in it that runs.

    Raises:
        FileError: it is none, is damaged, or has something that would have to run.
    """
    files = members(path, "not an exported program", "Save it again by torch.export.save.")
    models = [name for name in files if name.startswith("models/") and name.endswith(".json")]
    if len(models) != 1:
        raise FileError(f"{path}: {len(models)} programs in it where one is expected", "Save it by torch.export.save.")
    name = models[0].removeprefix("models/").removesuffix(".json")
    _refuse_other_members(path, files, name)
    weights, constants = (_document(path, files, f"data/{kind}/{name}_{kind}_config.json") for kind in ("weights", "constants"))
    program = _document(path, files, models[0])
    _check_payload(path, {**weights.get("config", {}), **constants.get("config", {})})
    program["guards_code"] = []
    inner: list[Any] = []
    for node in _nodes(path, program.get("graph_module"), inner):
        node["metadata"] = {key: text for key, text in node.get("metadata", {}).items() if key in KEPT_METADATA}
    _check_strings(path, program, inner)
    kept = {key: value for key, value in files.items() if key.startswith(("data/weights/", "data/constants/", "archive_"))}
    kept |= {models[0]: json.dumps(program).encode(), f"data/sample_inputs/{name}.pt": b""}
    return _written(kept)


def _refuse_other_members(path: Path, files: Mapping[str, bytes], name: str) -> None:
    expected = ("data/weights/", "data/constants/", "archive_", "byteorder", ".data/", "version", "extra/")
    known = {f"models/{name}.json", f"data/sample_inputs/{name}.pt", ""}
    other = [file for file in files if file not in known and not file.startswith(expected)]
    pickled = [file for file in files if file.startswith(("data/weights/", "data/constants/")) and file.endswith(".pt")]
    if other or pickled:
        shown = ", ".join((other + pickled)[:3])
        raise FileError(
            f"{path}: refused, because loading it could run code that is hidden in it: it holds {shown}",
            "Save it again by torch.export.save of a current PyTorch; compiled packages (AOTInductor) are not read.",
        )


def _document(path: Path, files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        found = json.loads(files[name])
    except (KeyError, ValueError, RecursionError):
        raise FileError(f"{path}: {name} is missing in it or damaged", "Save it again by torch.export.save.") from None
    if not isinstance(found, dict):
        raise FileError(f"{path}: {name} is damaged")
    return found


def _check_payload(path: Path, tensors: Mapping[str, Any]) -> None:
    for name, meta in tensors.items():
        plain = isinstance(meta, dict) and meta.get("use_pickle") is False and isinstance(meta.get("tensor_meta"), dict)
        place = str(meta.get("path_name", "")) if isinstance(meta, dict) else ""
        if not plain or not re.fullmatch(r"(weight|tensor)_\d+", place):
            raise FileError(
                f"{path}: refused, because loading it could run code that is hidden in it: {name} is pickled, or no tensor",
                "Weights must be plain dense tensors.",
            )


def _nodes(path: Path, holder: Any, inner: list[Any]) -> Iterator[dict[str, Any]]:
    """The calls of a graph and of those inside it, which are added to ``inner``; each is harmless.

    Raises:
        FileError: one is not, or there is no graph.
    """
    try:
        nodes: list[dict[str, Any]] = holder["graph"]["nodes"]
        targets = [str(node["target"]) for node in nodes]
        given = [[one["arg"] for one in node["inputs"]] for node in nodes]
    except (KeyError, TypeError):
        raise FileError(f"{path}: the program in it is damaged", "Save it again by torch.export.save.") from None
    for node, target, arguments in zip(nodes, targets, given, strict=True):
        yield node
        if target in SETTINGS and len(inner) < MOST_GRAPHS:
            for graph in [one["as_graph"] for one in arguments if isinstance(one, dict) and one.get("as_graph")]:
                inner.append(graph)
                yield from _nodes(path, graph, inner)
        elif not _harmless(target):
            raise FileError(
                f"{path}: refused, because it calls {target}", "Only operators of torch.ops.aten are read from such files."
            )


def _harmless(target: str) -> bool:
    if target in SYMBOLIC:
        return True
    if match := re.fullmatch(r"torch\.ops\.aten\.(\w+)\.(\w+)", target):
        return not any(word in match[1] for word in FORBIDDEN)
    return target.startswith("_operator.") and target.removeprefix("_operator.") in ARITHMETIC


def _walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    yield key, value
    if isinstance(value, dict):
        for inner_key, inner in value.items():
            yield from _walk(inner, str(inner_key))
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, key)


def _check_strings(path: Path, program: Mapping[str, Any], inner: Sequence[Any]) -> None:
    """Formulas are of numbers and symbols; there are no graphs inside nodes but those that were looked at, and no objects."""
    for key, value in _walk(program):
        if key == "as_graph" and any(value is graph for graph in inner):
            continue
        if key == "expr_str" and not (isinstance(value, str) and _is_formula(value)):
            raise FileError(f"{path}: refused, because a size in it is {str(value)[:60]!r}, which would have to run")
        if key in ("as_graph", "as_custom_obj", "as_script_object", "as_operator") and value:
            raise FileError(f"{path}: refused, because it holds a graph or an object inside an operator ({key})")


def _is_formula(text: str) -> bool:
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    allowed = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Compare, ast.cmpop, ast.Load)
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="precision", value=ast.Constant(value=bits)) if bits != _BITS:
                return False
            case ast.Constant(value=int() | float()) | ast.Call() | ast.keyword():
                continue
            case ast.Constant(value=str(name)) if _SYMBOL.fullmatch(name) or _NUMBER.fullmatch(name):
                continue
            case ast.Name(id=name) if _SYMBOL.fullmatch(name) or name in FORMULAS:
                continue
        if not isinstance(node, allowed):
            return False
    return all(isinstance(node.func, ast.Name) for node in ast.walk(tree) if isinstance(node, ast.Call))


def _written(files: Mapping[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    for name, content in files.items():
        writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    buffer.seek(0)
    return buffer
