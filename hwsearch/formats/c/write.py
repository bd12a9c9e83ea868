"""A folder of C99: one function that enlarges a picture, tile or frame of one fixed size, in integers, without allocation.

    NAME.h            sizes, number formats, RAM and flash, hash of the integers
    NAME.c            constants, packed to their widths, and the calls
    hws*.c, hws*.h    the kernels, the same for every network
    CMakeLists.txt

Arithmetic is that of TensorFlow Lite for Microcontrollers and CMSIS-NN (rule "gemmlowp"), whatever rule the plan was
measured with. Feature maps lie in a static arena by their live ranges; the input and output buffers belong to the caller, and so
do two for each state that a network keeps between the frames of a video: what a call keeps in one is handed to the next call.
Weights of 8 bits are read where they lie; narrower ones are unpacked to the arena once per call of a layer, which costs
memory for the largest such layer but no time in the inner loop.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwmodels.errors import UsageError
from hwsearch.documents.files import replacing_folder
from hwsearch.documents.text import visible
from hwsearch.documents.versions import __version__
from hwsearch.formats.c import calls
from hwsearch.formats.c.arena import Life, place
from hwsearch.formats.writing import check
from hwsearch.quant.network import storage
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ops.state import Remember, State

if TYPE_CHECKING:
    from jinja2 import Environment

KERNEL_SOURCES = ("hws_conv.c", "hws_curves.c", "hws_maps.c", "hws_matmul.c", "hws_moves.c", "hws_norms.c", "hws_reductions.c")
KERNEL_HEADERS = ("hws.h", "hws_dots.h", "hws_requant.h", "hws_windows.h")
KEYWORDS = {
    *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float", "for"),
    *("goto", "if", "inline", "int", "long", "main", "register", "restrict", "return", "short", "signed", "sizeof", "static"),
    *("struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while"),
}
RULE = calls.RULE
TILE = (48, 64)
"""Height and width of the input where nothing else is said: what fits the RAM of a microcontroller."""
LARGEST_TENSOR = 2**31 - 1
"""Offsets in the kernels are ``int32_t``."""
PER_LINE = 16


@dataclass(frozen=True)
class Program:
    """A network as C: its steps, where its tensors lie, and what it needs.

    Attributes:
        offsets: name of a tensor, or of a step followed by " scratch" -> offset in the arena, bytes.
        arena_bytes, weight_bytes, flash_bytes: RAM; packed weights; all constants.
        lowering: shapes of the tensors.
    """

    qgraph: QuantizedGraph
    lowering: calls.Lowering
    steps: list[calls.LoweredNode]
    offsets: dict[str, int]
    arena_bytes: int
    weight_bytes: int
    flash_bytes: int

    @property
    def states(self) -> tuple[str, ...]:
        """Tensors that the caller hands on from call to call, in the order of the function's arguments."""
        return tuple(node.name for node in self.qgraph.graph.states)


def lower(qgraph: QuantizedGraph, height: int, width: int) -> Program:
    """Decide everything about the exported C, for inputs of ``height`` x ``width`` pixels.

    Raises:
        UsageError: operations that the kernels do not have, or an impossible size.
        FileError: values that make no correct integers.
    """
    if height < 1 or width < 1:
        raise UsageError(f"an input of {height}x{width} pixels is empty")
    calls.check(qgraph)
    check.check(qgraph)
    lowering = calls.Lowering(qgraph, height, width)
    for name in lowering.shapes:
        if lowering.tensor_bytes(name) > LARGEST_TENSOR:
            raise UsageError(
                f"tensor {name!r} has {lowering.tensor_bytes(name)} bytes at {height}x{width}", "Use a smaller tile."
            )
    steps = list(lowering.steps())
    offsets, arena_bytes = place(lives(lowering, steps))
    constants = [
        (constant.name, constant.values.size * type_bytes(constant.kind)) for step in steps for constant in step.constants
    ]
    return Program(
        qgraph,
        lowering,
        steps,
        offsets,
        arena_bytes,
        sum(size for name, size in constants if name == "weights"),
        sum(size for _, size in constants),
    )


def lives(lowering: calls.Lowering, steps: list[calls.LoweredNode]) -> list[Life]:
    """When each buffer of the arena is in use; what the caller gives is not in it."""
    given = {lowering.qgraph.graph.output.name, *(node.name for node in lowering.qgraph.graph.remembered.values())}
    last = {name: index for index, step in enumerate(steps) for name in step.node.inputs}
    found = []
    for index, step in enumerate(steps):
        if step.scratch_bytes:
            found.append(Life(f"{step.node.name} scratch", step.scratch_bytes, index, index))
        if step.node.name not in given:
            name = step.node.name
            found.append(Life(name, lowering.tensor_bytes(name), index, last.get(name, index)))
    return found


def identifier(name: str) -> str:
    """``name`` as a C identifier in lower case."""
    plain = re.sub(r"[^0-9a-z_]+", "_", name.lower()).strip("_") or "network"
    if plain[0].isdigit() or plain in KEYWORDS or plain.startswith(("hws", "_")):
        plain = f"net_{plain}"
    return plain


def export(
    qgraph: QuantizedGraph,
    path: str | Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    size: tuple[int, int] | None = None,
    name: str | None = None,
) -> Path:
    """Write the folder ``path``, whole or not at all.

    Args:
        metadata: provenance for the header (plan, network, target, ...).
        size: (height, width) of the pictures or tiles that the function takes; ``TILE`` by default.
        name: prefix of the function and the files; by default the plan's name in ``metadata``, or the folder's.
    Raises:
        UsageError: operations that the kernels do not have, an impossible size, or a folder with other files in it.
        FileError: values that make no correct integers, or ``path`` cannot be written.
    """
    facts = dict(metadata or {})
    chosen = identifier(name or str(facts.get("plan") or Path(path).name))
    return export_program(lower(qgraph, *(size or TILE)), Path(path), chosen, facts)


def export_program(program: Program, path: Path, name: str, facts: Mapping[str, Any]) -> Path:
    """Write the folder ``path`` of what was lowered, whole or not at all.

    Args:
        name: prefix of the function and the files, an identifier. facts: provenance for the header.
    Raises:
        UsageError: a folder with other files in it. FileError: ``path`` cannot be written.
    """
    texts = render(program, name, facts)
    check_folder(path, set(texts))
    with replacing_folder(path) as temporary:
        for file, text in texts.items():
            (temporary / file).write_text(text, encoding="utf-8")
        for file in (*KERNEL_SOURCES, *KERNEL_HEADERS):
            shutil.copyfile(str(files("hwsearch.formats.c") / "source" / file), temporary / file)
    return path


def check_folder(path: Path, texts: set[str]) -> None:
    """Only an earlier export is replaced.

    Raises:
        UsageError: ``path`` is a file, or holds files that an export does not write.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file", "An export to C is a folder: name one with --out.")
    if path.is_dir():
        others = {entry.name for entry in path.iterdir()} - texts - {*KERNEL_SOURCES, *KERNEL_HEADERS}
        if others:
            raise UsageError(f"{path} holds other files, such as {min(others)}", "Name a new folder with --out.")


def render(program: Program, name: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """The generated files: file name -> text."""
    from hwsearch.formats.running.reach import coarsest_step, receptive_radius

    graph = program.qgraph.graph
    document = {
        "name": name,
        "macro": name.upper(),
        "title": _comment(f"{graph.name or 'network'}: a quantized network"),
        "facts": [_comment(f"{key}: {value}") for key, value in facts.items()],
        "version": __version__,
        "digest": storage.digest(program.qgraph),
        "input": _side(program, graph.input.name),
        "output": _side(program, graph.output.name),
        "states": [_side(program, name) for name in program.states],
        "radius": receptive_radius(graph),
        "step": coarsest_step(graph),
        "arena_bytes": program.arena_bytes,
        "flash_bytes": program.flash_bytes,
        "weight_bytes": program.weight_bytes,
        "steps": [_step(program, step) for step in program.steps],
        "sources": [f"{name}.c", *KERNEL_SOURCES],
    }
    targets = {f"{name}.h": "network.h.j2", f"{name}.c": "network.c.j2", "CMakeLists.txt": "CMakeLists.txt.j2"}
    return {file: _environment().get_template(template).render(document) for file, template in targets.items()}


def _comment(text: str) -> str:
    """Text that can end neither a comment nor a line, and begin neither: ``??/`` is a backslash to old compilers."""
    plain = visible(re.sub(r"\s+", " ", text)).replace("\\", "/").replace("??", "? ?")
    return plain.replace("*/", "* /").replace("/*", "/ *")


def _side(program: Program, tensor: str) -> dict[str, Any]:
    channels, height, width = program.lowering.picture(tensor)
    fmt = program.qgraph.formats[tensor]
    return {
        "channels": channels,
        "height": height,
        "width": width,
        "scale": repr(float(fmt.scale)),
        "zero": fmt.zero_point,
        "low": fmt.qmin,
        "high": fmt.qmax,
        "bytes": program.lowering.tensor_bytes(tensor),
        "type": f"uint{8 * calls.container_bytes(fmt)}_t",
    }


def _address(program: Program, tensor: str) -> str:
    op, graph = program.qgraph.graph[tensor].op, program.qgraph.graph
    if tensor == graph.input.name:
        return "input"
    if tensor == graph.output.name:
        return "output"
    if isinstance(op, State):
        return f"state_{program.states.index(tensor)}"
    if isinstance(op, Remember):
        return f"next_{program.states.index(op.state)}"
    return f"arena.bytes + {program.offsets[tensor]}"


def _step(program: Program, step: calls.LoweredNode) -> dict[str, Any]:
    node, offsets = step.node, program.offsets
    addresses = {f"in{index}": _address(program, name) for index, name in enumerate(node.inputs)}
    addresses["out"] = _address(program, node.name)
    scratch = f"{node.name} scratch"
    addresses["scratch"] = f"arena.bytes + {offsets[scratch]}" if scratch in offsets else "0"
    shape, order = program.lowering.shapes[node.name], program.lowering.orders[node.name]
    sides = "".join(f"[{shape[axis]}]" for axis in order if axis or shape[axis] > 1)
    widths = f"{program.qgraph.formats[node.name].bits}-bit codes"
    if node.op.quantized:
        widths = f"{program.qgraph.layers[node.name].bits}-bit weights, {widths}"
    return {
        "identifier": step.identifier,
        "summary": _comment(f"{node.name}: {node.op.word}, {sides}, {widths}"),
        "records": [
            {
                "kind": record.kind,
                "name": f"{step.identifier}_{record.name}",
                "members": [f".{member} = {value}," for member, value in record.members.items()],
            }
            for record in step.records
        ],
        "calls": [call.format(**addresses) for call in step.calls],
        "arrays": [
            {
                "kind": constant.kind,
                "name": f"{step.identifier}_{constant.name}",
                "count": constant.values.size,
                "text": _numbers(constant),
            }
            for constant in step.constants
        ],
    }


def _numbers(constant: calls.Constant) -> str:
    if constant.kind == "float":
        return _lines([f"{float(value)!r}f" for value in constant.values])
    suffix = "LL" if constant.kind == "int64_t" else ""
    # The literal -2147483648 is not an int in C: it is the negation of a number that no int holds.
    texts = ["(-2147483647 - 1)" if value == -(2**31) else f"{value}{suffix}" for value in constant.values.tolist()]
    return _lines(texts)


def _lines(texts: list[str]) -> str:
    return "\n".join("    " + " ".join(f"{t}," for t in texts[i : i + PER_LINE]) for i in range(0, len(texts), PER_LINE))


def type_bytes(kind: str) -> int:
    """Bytes of the C type ``kind``."""
    return int(np.dtype("float32" if kind == "float" else kind.removesuffix("_t")).itemsize)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("hwsearch.formats.c", "source"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
