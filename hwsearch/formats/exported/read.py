"""Programs of torch.export as networks: traced again, at other sizes where they take them.

The file holds a graph and weights; whatever else loading it would run is taken out or refused first (``archive``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.fx import traceback

from hwmodels.errors import FileError
from hwsearch.formats.exported.archive import safe
from hwsearch.formats.reading.builder import USUAL_CHANNELS
from hwsearch.formats.reading.readers import Inspected, InspectedLayer
from hwsearch.formats.reading.scales import scales_fault
from hwsearch.formats.reading.sizes import for_all_sizes
from searchspaces.ir.graph import Graph
from searchspaces.networks.several_outputs import picture_alone
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.tracing.sizes import EXAMPLE
from searchspaces.tracing.trace import trace

AXES = 4
OTHER_PRECISIONS = (torch.float16, torch.bfloat16, torch.float64)


def read(path: Path) -> Inspected:
    """Read a program.

    Raises:
        FileError: none, damaged, something in it would have to run, or no network from picture to picture.
    """
    program = _loaded(path)
    given = _picture(program, path)
    module, stored = _single(_again(program.module(check_guards=False)))
    for node in _calls(module):
        operator = getattr(getattr(node.target, "_overloadpacket", None), "__name__", "")
        if (fault := scales_fault(operator, (*node.args, *node.kwargs.values()))) is not None:
            raise FileError(f"{path}: it has {fault}", "No network resizes so; PyTorch's kernels end the process with it.")
    evaluated = _Evaluated(module, given)
    remarks = [f"its {stored} numbers are read in single precision, in which it is computed"] if stored else []
    if (which := _one_picture(evaluated, given)) is not None:
        remarks.append(which)

    def traced(size: tuple[int, int] | None) -> Graph:
        return _named(trace(evaluated, given.channels, path.stem, size=size))

    return replace(inspected(path, "exported", "torch.export", traced, given.size), remarks=tuple(remarks))


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
    for node in _calls(module):
        if node.target is torch.ops.aten.detach_.default:
            node.target = torch.ops.aten.detach.default
    module.recompile()
    return module


def _calls(module: nn.Module) -> list[fx.Node]:
    """Of a program, and of the graphs in it."""
    return [node for inner in module.modules() if isinstance(inner, fx.GraphModule) for node in inner.graph.nodes]


class _Evaluated(nn.Module):
    """A program as a module that can be told to be evaluated, of pictures ``[N, C, H, W]`` alone; exported ones refuse that."""

    def __init__(self, program: nn.Module, given: _Given) -> None:
        super().__init__()
        self.program = program
        self.given = given

    def train(self, mode: bool = True) -> _Evaluated:
        return self

    def forward(self, x: torch.Tensor) -> Any:
        x = x.permute(0, 2, 3, 1) if self.given.last else x
        with traceback.preserve_node_meta():  # what is traced keeps the lines of the source that was exported
            found = fx.Interpreter(self.program).run(*(x if one is _Given else one for one in self.given.inputs))
        if self.given.last and isinstance(found, torch.Tensor) and found.ndim == AXES:
            return found.permute(0, 3, 1, 2)
        return found


def _single(module: Any) -> tuple[Any, str]:
    """A program in other precisions in that of searches, and the precisions that it had; empty where it is single."""
    kinds = {value.dtype for value in (*module.parameters(), *module.buffers()) if value.is_floating_point()}
    other = kinds & {*OTHER_PRECISIONS}
    if not other or torch.float32 in kinds:
        return module, ""
    for node in _calls(module):
        node.args, node.kwargs = fx.node.map_aggregate((node.args, dict(node.kwargs)), _of_single)
    for inner in module.modules():
        if isinstance(inner, fx.GraphModule):
            inner.recompile()
    return module.to(torch.float32), " and ".join(sorted(str(kind).removeprefix("torch.") for kind in other))


def _of_single(value: Any) -> Any:
    return torch.float32 if isinstance(value, torch.dtype) and value in OTHER_PRECISIONS else value


def _one_picture(evaluated: _Evaluated, given: _Given) -> str | None:
    """What is said of a program with several results, of which the picture is taken from now on."""
    height, width = given.size or EXAMPLE
    try:
        with torch.no_grad():
            found = evaluated(torch.zeros(1, given.channels, height, width))
    except Exception:  # whatever the program raises at this size: tracing tells it
        return None
    return picture_alone(evaluated, found, given.channels)


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


@dataclass(frozen=True)
class _Given:
    """What goes into a program: ``inputs`` in their order, the class itself in the place of the picture; its ``channels``,
    whether they stand ``last``, and its ``size`` (height, width), None where one of both is free."""

    inputs: tuple[Any, ...]
    channels: int
    last: bool
    size: tuple[int, int] | None


def _picture(program: Any, path: Path) -> _Given:
    """What goes in.

    Raises:
        FileError: not one picture of known channels.
    """
    specs = [spec.arg for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    tensors = [(spec.name, values.get(spec.name)) for spec in specs if not isinstance(spec, ConstantArgument)]
    if len(tensors) != 1 or not isinstance(tensors[0][1], torch.Tensor):
        names = ", ".join(name for name, _ in tensors[:4])
        raise FileError(
            f"{path}: it takes {len(tensors)} inputs{f' ({names})' if names else ''}, not one picture [N, C, H, W]",
            "Export it with the picture as its only tensor: the others as constants of the module.",
        )
    picture = tensors[0][1]
    if picture.ndim != AXES:
        raise FileError(
            f"{path}: its input has the shape {[*picture.shape]}, not that of a picture [N, C, H, W]",
            "Export it with pictures of four axes: number, channels, height and width.",
        )
    if not picture.is_floating_point():
        kind = str(picture.dtype).replace("torch.", "")
        raise FileError(
            f"{path}: it takes pictures of {kind}; networks are traced in floating point",
            "Export it with a floating-point picture, without its own conversions, and give its range (--range 0..255).",
        )
    shape = tuple(side if isinstance(side, int) else None for side in picture.shape)
    last = shape[3] in USUAL_CHANNELS and shape[1] not in USUAL_CHANNELS
    channels, sides = (shape[3], shape[1:3]) if last else (shape[1], shape[2:])
    if channels is None:
        raise FileError(f"{path}: its input is not a picture [N, C, H, W] of known channels")
    height, width = sides
    inputs = tuple(spec.value if isinstance(spec, ConstantArgument) else _Given for spec in specs)
    return _Given(inputs, channels, last, (height, width) if height is not None and width is not None else None)


def _word(op: Any) -> str:
    return "linear" if isinstance(op, Linear) else "depthwise" if isinstance(op, Conv) and op.groups > 1 else "conv"
