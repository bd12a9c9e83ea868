"""From a module to the canonical graph.

The module is exported by ``torch.export`` at one small picture size, its ATen calls are translated one by one (``aten``,
``aten_maps``) and the result is simplified exactly (``simplify``). What cannot be translated becomes an ``unknown`` node and is
listed in ``Graph.uncounted``. The graph is executed and compared with the module, at another picture size too, because a traced
shape may hide in a constant.
"""

from __future__ import annotations

import contextlib
import io
import logging
import operator
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from hwmodels.errors import FileError
from searchspaces.ir.graph import Graph, Node, execute, no_grad_copy
from searchspaces.ir.lower import propagate, to_workload
from searchspaces.ir.simplify import simplify
from searchspaces.ops.base import Op
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.reduce import Mean, Std
from searchspaces.tracing import aten_maps
from searchspaces.tracing.aten import HANDLERS, Unsupported, Value
from searchspaces.tracing.statistics import match_moment

__all__ = ["check", "propagate", "to_workload", "trace"]

MOMENTS: Mapping[str, Op] = {"mean": Mean(), "std": Std()}
EXAMPLE = (12, 16)
"""Height and width at which modules are exported."""
OTHER = (17, 14)
"""A second size, at which the graph must compute the same function."""


def trace(module: nn.Module, channels: int, name: str, scale: int | None = None) -> Graph:
    """Translate ``module`` (``[N, channels, H, W] -> [N, channels, scale*H, scale*W]``, range 0..1) to the canonical graph.

    Nodes carry the module paths of their layers. A layer that is called twice stands twice, the second as ``path@2``.

    Raises:
        FileError: torch.export refuses the module (with its words), the module does not map a picture to a picture of
            ``scale`` times the size, or the graph computes something else than the module.
    """
    module.eval()
    example = torch.rand(1, channels, *EXAMPLE, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(module, (example,), strict=False)
    except Exception as error:  # whatever the module's own code or the exporter raises
        first = (str(error).strip().splitlines() or [""])[0]
        raise FileError(
            f"{name}: torch.export cannot trace this network: {type(error).__name__}: {first}",
            "A network must take one picture tensor, and must not decide by the values in it.",
        ) from error
    walker = _Walker(program, channels)
    graph = Graph(name, tuple(simplify(walker.run())), tuple(walker.uncounted))
    if not graph.uncounted:
        check(graph, module, channels, scale)
    return graph


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own log lines and dumps: what the exporter refuses is in the exception."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def check(graph: Graph, module: nn.Module, channels: int, scale: int | None = None) -> float:
    """Execute graph and module on random pictures of two sizes; returns the largest difference over the largest output.

    Raises:
        FileError: they differ by more than 1e-4, or the output has not ``scale`` times the size of the input.
    """
    worst = 0.0
    random = torch.Generator().manual_seed(1)
    for height, width in (EXAMPLE, OTHER):
        x = torch.rand(1, channels, height, width, generator=random)
        with torch.no_grad():
            try:
                expected = module(x)
            except Exception:
                if (height, width) == EXAMPLE:
                    raise
                continue  # made for sizes of its own, such as multiples of a window
            found = execute(graph, x)
        wanted = None if scale is None else (1, channels, height * scale, width * scale)
        if wanted is not None and tuple(expected.shape) != wanted:
            raise FileError(
                f"{graph.name}: a picture {tuple(x.shape)} becomes {tuple(expected.shape)}, not {wanted}",
                "Check the scale, and that the network returns a picture of as many channels as it reads.",
            )
        if found.shape != expected.shape:
            raise FileError(f"{graph.name}: traced at one picture size, the network has another shape at another size")
        difference = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
        if not difference < 1e-4:
            raise FileError(
                f"{graph.name}: the traced graph differs from the network by {difference:.1e} at {width}x{height} pixels",
                "The network decides by the size of the picture, or changes a tensor that is read elsewhere.",
            )
        worst = max(worst, difference)
    return worst


class _Walker:
    """Translates the calls of an exported program in their order."""

    def __init__(self, program: Any, channels: int) -> None:
        self.program, self.channels = program, channels
        self.parameters: dict[str, str] = dict(program.graph_signature.inputs_to_parameters)
        self.nodes: list[Node] = []
        self.uncounted: list[str] = []
        self.values: dict[fx.Node, Value] = {}
        self.taken: set[str] = {"input"}

    def run(self) -> list[Node]:
        signature = self.program.graph_signature
        state = {**self.program.state_dict, **self.program.constants}
        constants = {
            **self.parameters,
            **signature.inputs_to_buffers,
            **getattr(signature, "inputs_to_lifted_tensor_constants", {}),
        }
        self.nodes.append(Node("input", Input(self.channels)))
        needed = self._needed()
        for call in self.program.graph.nodes:
            if call.op == "placeholder":
                target = constants.get(call.name)
                self.values[call] = "input" if target is None else state[target].detach().float()
            elif call.op == "get_attr":
                self.values[call] = operator.attrgetter(str(call.target))(self.program.graph_module)
            elif call.op == "call_function" and call in needed:
                self._call(call)
        return self._up_to_output()

    def _up_to_output(self) -> list[Node]:
        outputs = self.program.graph.output_node().args[0]
        last = self.values.get(outputs[0]) if len(outputs) == 1 and isinstance(outputs[0], fx.Node) else None
        if not isinstance(last, str):
            raise FileError("the network does not return one picture tensor")
        reached, stack = set(), [last]
        by_name = {node.name: node for node in self.nodes}
        while stack:
            current = stack.pop()
            if current not in reached:
                reached.add(current)
                stack.extend(by_name[current].inputs)
        if "input" not in reached:
            raise FileError("the network's output does not depend on the picture")
        kept = [node for node in self.nodes if node.name in reached and node.name != last]
        return [*kept, by_name[last]]

    def _needed(self) -> set[fx.Node]:
        """Calls that the output depends on, and those that change a tensor in place."""
        needed: set[fx.Node] = set(self.program.graph.output_node().all_input_nodes)
        for call in reversed(list(self.program.graph.nodes)):
            if call.op == "call_function" and (call in needed or _in_place(call)):
                needed.add(call)
                moment = match_moment(call)
                needed.update([moment.source] if moment else call.all_input_nodes)
        return needed

    def _call(self, call: fx.Node) -> None:
        operator_name = _operator_name(call)
        moment = match_moment(call)
        try:
            if moment is not None and isinstance(self.values.get(moment.source), str):
                source = self.values[moment.source]
                self.values[call] = self.emit(call, MOMENTS[moment.kind], (str(source),))
            elif call.target is operator.getitem:
                self.values[call] = aten_maps.getitem(self, call)
            elif all(isinstance(self.values.get(source), Tensor) for source in call.all_input_nodes):
                args, kwargs = fx.map_arg((call.args, call.kwargs), self.values.__getitem__)
                with torch.no_grad():
                    self.values[call] = call.target(*args, **kwargs)  # type: ignore[operator]
            elif operator_name in HANDLERS:
                self.values[call] = HANDLERS[operator_name](self, call)
            else:
                raise Unsupported("")
        except Unsupported as reason:
            self._give_up(call, operator_name, str(reason))
        if _in_place(call):
            self.values[call.args[0]] = self.values[call]  # type: ignore[index]

    def _give_up(self, call: fx.Node, operator_name: str, reason: str) -> None:
        path = _module_path(call) or "the network itself"
        line = _source_line(call)
        self.uncounted.append(f"aten.{operator_name} at {path}{f' ({line})' if line else ''}{f': {reason}' if reason else ''}")
        found = [self.values.get(source) for source in call.all_input_nodes]
        inputs = [name for value in found for name in (value if isinstance(value, tuple) else (value,)) if isinstance(name, str)]
        result = call.meta.get("val")
        example = tuple(int(side) for side in result.shape) if isinstance(result, Tensor) else None
        name = self.emit(call, Unknown(operator_name, example), tuple(dict.fromkeys(inputs)) or ("input",))
        self.values[call] = (name,) * len(result) if isinstance(result, list | tuple) else name

    def value(self, argument: Any) -> Any:
        return self.values[argument] if isinstance(argument, fx.Node) else argument

    def emit(
        self,
        call: fx.Node,
        op: Op,
        inputs: tuple[str, ...],
        weights: Mapping[str, Tensor] | None = None,
        suffix: str = "",
    ) -> str:
        path = self._layer_path(call) if op.quantized else _module_path(call)
        own, kind = bool(op.quantized) or _is_leaf(call), _operator_name(call).split(".")[0]
        parts = [path] if own and path else [path, kind] if path else [kind]
        name = ".".join([*parts, suffix] if suffix else parts)
        unique, copies = name, 1
        while unique in self.taken:
            copies += 1
            unique = f"{name}@{copies}"
        self.taken.add(unique)
        owned = {key: no_grad_copy(value) for key, value in (weights or {}).items()}
        self.nodes.append(Node(unique, op, inputs, owned))
        return unique

    def _layer_path(self, call: fx.Node) -> str:
        """Path of the layer whose weight is read, also when the layer is called as a function."""
        for source in call.all_input_nodes:
            target = self.parameters.get(source.name)
            if target is not None and target.endswith(".weight"):
                return target.removesuffix(".weight")
        return _module_path(call)


def _operator_name(call: fx.Node) -> str:
    """``relu.default`` for ``aten.relu_.default`` too."""
    packet = getattr(call.target, "_overloadpacket", None)
    if packet is None:
        return getattr(call.target, "__name__", str(call.target))
    return f"{packet.__name__.removesuffix('_')}.{call.target._overloadname}"  # type: ignore[union-attr]


def _in_place(call: fx.Node) -> bool:
    packet = getattr(call.target, "_overloadpacket", None)
    return packet is not None and packet.__name__.endswith("_") and not packet.__name__.endswith("__")


def _module_path(call: fx.Node) -> str:
    stack = call.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def _is_leaf(call: fx.Node) -> bool:
    """Whether the call was made inside a module of torch itself (``nn.ReLU``), whose path then names it."""
    stack = call.meta.get("nn_module_stack") or {}
    kind = str(list(stack.values())[-1][1]) if stack else ""
    return "torch.nn.modules" in kind and "container" not in kind


def _source_line(call: fx.Node) -> str:
    """``file.py:12`` of the innermost frame outside torch."""
    frames = [line.strip() for line in str(call.meta.get("stack_trace") or "").splitlines() if line.strip().startswith("File")]
    for frame in reversed(frames):
        if "/torch/" not in frame:
            file, line = frame.split(", ")[:2]
            return f"{file.removeprefix('File ').strip(chr(34)).rsplit('/', 1)[-1]}:{line.removeprefix('line ')}"
    return ""
