"""Tracing a network once: its graph is kept by content in the user's cache directory, for the next command about it.

Tracing loads the compiler of PyTorch, which takes longer than most questions to a network. What a trace gives follows from the
classes of the module and its parts, their attributes and tensors, the sources of these packages and the version of PyTorch. All
are in the name of the file. A module of other people's classes, or with attributes that are no plain values, is traced every
time; so is one whose file is gone or damaged. Nothing in a file is executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from hwmodels.errors import FileError
from hwmodels.parts import settings
from hwsearch.documents.files import replacing
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.registry import from_document, to_document
from searchspaces.tracing import trace

KEPT = 50
"""Files that are kept, the newest; one takes as much as the network's weights."""
PACKAGES = ("hwmodels", "searchspaces")
"""Sources that decide what a trace gives."""
_KNOWN = ("torch.nn.", "searchspaces.networks.")
"""Modules whose classes are no more than torch's version and ``PACKAGES`` say."""
_DOCUMENT = "document"


def traced(module: nn.Module, channels: int, name: str, *, otherwise: tuple[int, int], keep: bool = True) -> Graph:
    """``trace.trace``, or the graph that it gave before.

    Args:
        keep: whether graphs are looked for, and kept.
    Raises:
        FileError: see ``trace.trace``.
    """
    place = settings.kept("graphs") if keep else None
    facts = None if place is None else _facts(module.eval())
    if place is None or facts is None:
        return trace.trace(module, channels, name, otherwise=otherwise)
    asked = repr((facts, channels, name, otherwise, torch.__version__, _sources()))
    file = place / f"{hashlib.sha256(asked.encode()).hexdigest()}.safetensors"
    with contextlib.suppress(OSError, SafetensorError, FileError, KeyError, ValueError, TypeError):
        return _read(file)
    graph = trace.trace(module, channels, name, otherwise=otherwise)
    if not graph.uncounted:
        with contextlib.suppress(OSError, FileError):
            _write(graph, file)
            for old in sorted(place.glob("*.safetensors"), key=lambda other: other.stat().st_mtime, reverse=True)[KEPT:]:
                old.unlink(missing_ok=True)
    return graph


def _facts(module: nn.Module) -> list[Any] | None:
    """All that decides what a module computes; None where something of it cannot be told."""
    facts: list[Any] = []
    for name, part in module.named_modules(remove_duplicate=False):
        kind = type(part)
        if not kind.__module__.startswith(_KNOWN):
            return None
        facts.append((name, kind.__module__, kind.__qualname__))
        for attribute, value in sorted(vars(part).items()):
            if attribute in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
                continue
            if not _plain(value):
                return None
            facts.append((attribute, value))
    for name, tensor in (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)):
        numbers = tensor.detach().cpu().contiguous().view(torch.uint8) if tensor.ndim else tensor.detach().cpu().reshape(1)
        facts.append((name, str(tensor.dtype), tuple(tensor.shape), hashlib.sha256(numbers.numpy().tobytes()).hexdigest()))
    return facts


def _plain(value: Any) -> bool:
    """Whether ``repr`` tells all of a value; hooks, which are code, are so only where there are none."""
    if isinstance(value, tuple | list):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str) or (isinstance(value, dict) and not value)


@cache
def _sources() -> str:
    digest, root = hashlib.sha256(), Path(__file__).parents[2]
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def _write(graph: Graph, file: Path) -> None:
    nodes, tensors = [], {}
    for number, node in enumerate(graph.nodes):
        word, attrs = to_document(node.op)
        entry = {"name": node.name, "op": word, "attrs": attrs, "inputs": node.inputs, "roles": [*node.weights]}
        nodes.append(entry | {"parameter": node.parameter})
        for role, weight in node.weights.items():
            tensors[f"{number}/{role}"] = weight.detach().contiguous().clone()
    document = {"name": graph.name, "nodes": nodes, "size": graph.size, "multiple": graph.multiple}
    text = json.dumps(document, allow_nan=False).encode()
    tensors[_DOCUMENT] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    data = save(tensors)
    with replacing(file) as temporary:
        temporary.write_bytes(hashlib.sha256(data).digest() + data)


def _read(file: Path) -> Graph:
    content = file.read_bytes()
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise ValueError(f"{file} is damaged")
    tensors = load(content[32:])
    document = json.loads(tensors[_DOCUMENT].numpy().tobytes())
    nodes = tuple(
        Node(
            entry["name"],
            from_document(entry["op"], entry["attrs"]),
            tuple(entry["inputs"]),
            {role: tensors[f"{number}/{role}"] for role in entry["roles"]},
            entry["parameter"],
        )
        for number, entry in enumerate(document["nodes"])
    )
    size = document["size"]
    return Graph(document["name"], nodes, (), None if size is None else (size[0], size[1]), document["multiple"])
