"""Programs of torch.export as networks: traced again, at other sizes where they take them.

The file holds a graph and weights; whatever else loading it would run is taken out or refused first (``archive``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.fx import traceback

from hwmodels.errors import FileError
from hwsearch.formats.exported.archive import safe
from hwsearch.formats.reading.readers import Inspected, InspectedLayer
from hwsearch.formats.reading.scales import scales_fault
from hwsearch.formats.reading.sizes import for_all_sizes
from searchspaces.ir.graph import Graph
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.tracing.trace import trace

AXES = 4


def read(path: Path) -> Inspected:
    """Read a program.

    Raises:
        FileError: none, damaged, something in it would have to run, or no network from picture to picture.
    """
    program = _loaded(path)
    shape = _picture(program, path)
    module = _again(program.module(check_guards=False))
    for node in module.graph.nodes:
        operator = getattr(getattr(node.target, "_overloadpacket", None), "__name__", "")
        if (fault := scales_fault(operator, (*node.args, *node.kwargs.values()))) is not None:
            raise FileError(f"{path}: it has {fault}", "No network resizes so; PyTorch's kernels end the process with it.")
    size = (shape[2], shape[3]) if isinstance(shape[2], int) and isinstance(shape[3], int) else None

    def traced(size: tuple[int, int] | None) -> Graph:
        return _named(trace(_Evaluated(module), int(shape[1]), path.stem, size=size))

    return inspected(path, "exported", "torch.export", traced, size)


def inspected(
    path: Path, kind: str, producer: str, traced: Callable[[tuple[int, int] | None], Graph], size: tuple[int, int] | None
) -> Inspected:
    """What is known of a program of PyTorch in floating point. ``size``: of its pictures, where it takes one alone."""
    graph = traced(None) if size is None else for_all_sizes(traced(size), size)
    layers = tuple(
        InspectedLayer(
            node.name, _word(node.op), node.weight_shapes["weight"], 32, 32, node.weights["weight"].numel() * 4, "float32"
        )
        for node in graph.convs
    )
    return Inspected(
        path=path,
        format=kind,
        producer=producer,
        file_bytes=path.stat().st_size,
        layers=layers,
        graph=graph,
        tensor_bits={node.name: 32 for node in graph.nodes},
        input_size=size,
        executable=not graph.uncounted,
        again=traced if size is None and graph.size is not None else None,
    )


def check(found: Inspected, size: tuple[int, int]) -> None:
    """Nothing: tracing compares the graph with the program."""


def _again(module: Any) -> Any:
    """The program so that it can be exported once more: constants that stand in its code are detached in place there, which the
    exporter refuses for what it has lifted out."""
    for node in module.graph.nodes:
        if node.target is torch.ops.aten.detach_.default:
            node.target = torch.ops.aten.detach.default
    module.recompile()
    return module


class _Evaluated(nn.Module):
    """A program as a module that can be told to be evaluated; exported ones refuse that."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> _Evaluated:
        return self

    def forward(self, x: torch.Tensor) -> Any:
        with traceback.preserve_node_meta():  # what is traced keeps the lines of the source that was exported
            return fx.Interpreter(self.program).run(x)


def _named(graph: Graph) -> Graph:
    """With the names that layers have in the program."""

    def own(name: str) -> str:
        return name.removeprefix("program.")

    nodes = tuple(replace(node, name=own(node.name), inputs=tuple(map(own, node.inputs))) for node in graph.nodes)
    return replace(graph, nodes=nodes)


def _loaded(path: Path) -> Any:
    content = safe(path)
    try:
        return torch.export.load(content)
    except Exception as error:  # torch's loader raises whatever its own reading of damaged programs raises
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise FileError(f"{path}: PyTorch {torch.__version__} does not load this program: {first}", "Export it again.") from None


def _picture(program: Any, path: Path) -> tuple[Any, ...]:
    """The shape of what goes in; a side that is free is no whole number.

    Raises:
        FileError: not one picture of known channels.
    """
    names = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(values) != 1 or not isinstance(values[0], torch.Tensor) or values[0].ndim != AXES:
        raise FileError(f"{path}: it takes {len(names)} inputs, not one picture [N, C, H, W]")
    if not values[0].is_floating_point():
        kind = str(values[0].dtype).replace("torch.", "")
        raise FileError(
            f"{path}: it takes pictures of {kind}; networks are traced in floating point",
            "Export it with a floating-point picture, without its own conversions, and give its range (--range 0..255).",
        )
    shape = tuple(side if isinstance(side, int) else None for side in values[0].shape)
    if shape[1] is None:
        raise FileError(f"{path}: its input is not a picture [N, C, H, W] of known channels")
    return shape


def _word(op: Any) -> str:
    return "linear" if isinstance(op, Linear) else "depthwise" if isinstance(op, Conv) and op.groups > 1 else "conv"
