"""Dotted names in docstrings: what ````module.name```` says is there.

A reference may begin anywhere on the way to a module (``exact.front``), at a class of ours (``Solver.minimum``) or at a name that
its own file uses (``request.run_dir``). What is neither of these nor a file is somebody else's, and listed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("hwmodels", "searchspaces", "hwsearch")
REFERENCE = re.compile(r"``([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\(\))?``")
FILES = {"c", "cc", "h", "json", "onnx", "py", "safetensors", "toml"}
FOREIGN = {
    "F", "Tensor", "coremltools", "nn", "numba", "numpy", "onnx", "torch",
    "ProfileJob", "job", "qai_hub",
    "add", "aten", "relu",  # calls in programs of torch
    "LAYER", "params_ema", "prefix", "upsample",  # weights by their names
}  # fmt: skip
"""First parts of names that are not ours."""
TABLES = {"limits", "overhead"}
"""Tables of device files that no module is named after."""

Module = tuple[str, ...]


@cache
def modules() -> dict[Module, ast.Module]:
    found = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[parts[:-1] if parts[-1] == "__init__" else parts] = ast.parse(path.read_text())
    return found


@cache
def classes() -> dict[str, list[ast.ClassDef]]:
    found: dict[str, list[ast.ClassDef]] = {}
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


def defined(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Names that statements define or import."""
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node
            case ast.Assign(targets=targets):
                yield from ((name.id, node) for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (((name.asname or name.name).partition(".")[0], node) for name in names)
            case ast.If(body=inner) | ast.Try(body=inner):
                yield from defined(inner)


def has(owner: ast.ClassDef, member: str) -> bool:
    """Whether a class, or one that it derives from, defines a member or sets it on ``self``."""
    for node in ast.walk(owner):
        if isinstance(node, ast.stmt) and member in dict(defined([node])):
            return True
        if is_own(node) and node.attr == member:  # type: ignore[attr-defined]
            return True
    bases = (ast.unparse(base).rpartition(".")[2] for base in owner.bases)
    return any(has(base, member) for name in bases for base in classes().get(name, ()) if base is not owner)


@cache
def members() -> set[str]:
    """Of all classes."""
    found = {name for owners in classes().values() for owner in owners for name, _ in defined(owner.body)}
    return found | {node.attr for tree in modules().values() for node in ast.walk(tree) if is_own(node)}  # type: ignore[attr-defined]


def is_own(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"


@cache
def literals() -> set[str]:
    """Groups of entry points, and whatever else is a dotted name without being one of Python."""
    nodes = (node for tree in modules().values() for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def resolves(parts: Module) -> bool:
    for module, tree in modules().items():
        for count in range(1, len(parts) + 1):
            if module[-count:] == parts[:count] and found_in(module, tree, parts[count:]):
                return True
    return any(has(owner, parts[1]) for owner in classes().get(parts[0], ()))


def found_in(module: Module, tree: ast.Module, rest: Module) -> bool:
    """Whether a module has a name, or is named after a table of device files with that key."""
    if not rest or (*module, rest[0]) in modules():
        return True
    found = dict(defined(tree.body)).get(rest[0])
    if found is None:
        sections = module[:3] == ("hwmodels", "device", "sections")
        return sections and any(has(node, rest[0]) for node in tree.body if isinstance(node, ast.ClassDef))
    return len(rest) == 1 or not isinstance(found, ast.ClassDef) or has(found, rest[1])


def variables(tree: ast.Module) -> set[str]:
    """Names of variables and arguments that a file uses."""
    nodes = [*ast.walk(tree)]
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {node.arg for node in nodes if isinstance(node, ast.arg)}


def attributes(tree: ast.Module) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def said(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every reference in a file: its line, and what it says."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((node.lineno, reference) for reference in REFERENCE.findall(node.value))


def dangling(tree: ast.Module) -> list[tuple[int, str]]:
    """References of a file that name nothing."""
    ours = {part for module in modules() for part in module}
    own = variables(tree)
    others = FOREIGN | TABLES | ((own | attributes(tree)) - ours)
    found = []
    for line, reference in said(tree):
        parts = tuple(reference.split("."))
        known = parts[0] in others or parts[-1] in FILES or reference in literals()
        if not known and not (parts[0] in own and parts[1] in members()) and not resolves(parts):
            found.append((line, reference))
    return found


def test_every_dotted_name_is_there() -> None:
    wrong = [f"{'/'.join(module)}.py:{line}: {name}" for module, tree in modules().items() for line, name in dangling(tree)]
    assert not wrong, "\n".join(wrong)


def test_a_name_that_is_gone_is_found() -> None:
    text = '"""See ``exact.front``, ``exact.gone``, ``Solver.minimum``, ``Solver.gone``, ``nowhere.at_all`` and ``run.json``."""'
    assert [name for _, name in dangling(ast.parse(text))] == ["exact.gone", "Solver.gone", "nowhere.at_all"]
