"""Walks an exported program: its ATen calls in their order become nodes of the canonical graph.

A call without a handler is asked what it is composed of (``composition``), and those calls are walked in its place. What remains
is an ``Unknown`` node and a line in ``uncounted``: operator, module, source line, reason.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from hwmodels.errors import FileError
from searchspaces.ir.graph import Node, no_grad_copy
from searchspaces.ops.base import Op, Shape
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.moves.move import Expand, Permute, Reshape
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import Mean, Reduction, Std
from searchspaces.ops.state import Remember, State
from searchspaces.tracing import complex_pairs, composition, refusals
from searchspaces.tracing.aten import HANDLERS, Value, operator_name, tensor_name
from searchspaces.tracing.calls import (
    arithmetic,
    choices,
    functions,
    layers,
    maps,
    places,
    pooling,
    shapes,
    unfolding,
    volumes,
    writes,
)
from searchspaces.tracing.calls.writes import Blank, in_place, partly, untold, write
from searchspaces.tracing.origins import first_names, is_leaf, module_path, source_line
from searchspaces.tracing.spellings import spelled
from searchspaces.tracing.statistics import match_moment

MOMENTS: Mapping[str, Op] = {"mean": Mean(), "std": Std()}
FILES = (arithmetic, choices, functions, layers, maps, places, pooling, shapes, unfolding, volumes, writes)
"""Where handlers are registered."""
DEEPEST = 6
"""How often what an operator is composed of is taken apart again."""


_AUTOCAST = "wrap_with_autocast"
_WRAPS = {_AUTOCAST: 4, "wrap_with_set_grad_enabled": 1}
"""Settings of torch around some calls -> the place of these, as a graph, among its arguments; behind it are what they read."""


class Walker:
    """Translates the calls of an exported program in their order.

    Args:
        program: what ``torch.export`` made of the module.
        size: shape of the picture it was exported with; ``states``: what it takes and gives beside pictures, in their order.
    """

    def __init__(self, program: Any, size: Shape, states: Sequence[State] = ()) -> None:
        self.program = program
        self.parameters: dict[str, str] = dict(program.graph_signature.inputs_to_parameters)
        self.first_name = first_names(program.state_dict)
        self.nodes: list[Node] = [Node("input", Input(size[1]))]
        self.by_name: dict[str, Node] = {"input": self.nodes[0]}
        self.uncounted: list[str] = []
        self.values: dict[fx.Node, Value | Blank] = {}
        self.shapes: dict[str, Shape] = {"input": size}
        self.axes: dict[str, int | None] = {"input": 1}
        self.within: list[fx.Node] = []
        self.states = ["state", *(f"state@{number}" for number in range(2, len(states) + 1))][: len(states)]
        for name, state in zip(self.states, states, strict=True):
            self.by_name[name] = Node(name, state, ("input",))
            self.nodes.append(self.by_name[name])
            self.shapes[name], self.axes[name] = state.shape([size], {}), 1

    def run(self) -> list[Node]:
        """The nodes that the output depends on, in execution order, the output last.

        Raises:
            FileError: the network does not return one tensor that depends on the picture.
        """
        signature = self.program.graph_signature
        state = {**self.program.state_dict, **self.program.constants}
        constants = {
            **self.parameters,
            **signature.inputs_to_buffers,
            **getattr(signature, "inputs_to_lifted_tensor_constants", {}),
        }
        needed, given = self._needed(), iter(["input", *self.states])
        for call in self.program.graph.nodes:
            if call.op == "placeholder":
                target = constants.get(call.name)
                self.values[call] = self._given(call, given) if target is None else _constant(state[target])
            elif call.op == "get_attr":
                self.values[call] = operator.attrgetter(str(call.target))(self.program.graph_module)
            elif call.op == "call_function" and call in needed:
                self._call(call)
        return self._up_to_output()

    def _given(self, call: fx.Node, given: Iterator[str]) -> str:
        """The picture or a state, in their order.

        Raises:
            FileError: the program reads something else.
        """
        if call.name not in self.program.graph_signature.user_inputs:
            raise FileError(f"the network uses {call.target}, which is no tensor", "It must compute with tensors of torch alone.")
        return next(given)

    def _up_to_output(self) -> list[Node]:
        outputs = self.program.graph.output_node().args[0]
        one = len(outputs) == 1 + len(self.states) and isinstance(outputs[0], fx.Node)
        last = self.values.get(outputs[0]) if one else None
        if not isinstance(last, str):
            raise FileError(f"the network does not return one picture tensor{' and its states' if self.states else ''}")
        if not self.uncounted:
            last = tensor_name(self, outputs[0])
        self._remember(outputs[1:], last)
        reached, stack = set(), [last, *self.states, *(node.name for node in self.nodes if isinstance(node.op, Remember))]
        while stack:
            current = stack.pop()
            if current not in reached:
                reached.add(current)
                stack.extend(self.by_name[current].inputs)
        if "input" not in reached:
            raise FileError("the network's output does not depend on the picture")
        kept = [node for node in self.nodes if node.name in reached and node.name != last]
        return [*kept, self.by_name[last]]

    def _remember(self, kept: Sequence[Any], last: str) -> None:
        """Nodes that keep the other results for the next frame."""
        for name, result in zip(self.states, kept, strict=True):
            found = self.values.get(result)
            if not isinstance(found, str) or found == last or self.shapes[found] != self.shapes[name]:
                wanted = f"a tensor of {list(self.shapes[name])} that is computed, and not the picture itself"
                raise FileError(f"the network does not return {wanted}, as its {name}")
            self.by_name[f"{name}.next"] = Node(f"{name}.next", Remember(name), (found,))
            self.nodes.append(self.by_name[f"{name}.next"])

    def _needed(self) -> set[fx.Node]:
        """Calls that the output depends on, and those that change a tensor in place."""
        needed: set[fx.Node] = set(self.program.graph.output_node().all_input_nodes)
        for call in reversed(list(self.program.graph.nodes)):
            if call.op == "call_function" and (call in needed or in_place(call)):
                needed.add(call)
                moment = match_moment(call)
                needed.update([moment.source] if moment else call.all_input_nodes)
        return needed

    def _call(self, call: fx.Node) -> None:
        name = operator_name(call)
        constant = all(isinstance(self.values.get(source), Tensor | _Several | int | float) for source in call.all_input_nodes)
        if not constant and (final := refusals.nothing_further(call)) is not None:
            raise FileError(f"{self._at(call, name)}: {final}")
        moment = match_moment(call)
        try:
            if refusals.is_random(call):
                raise NotRead(refusals.RANDOM)
            if not constant and (refusals.is_complex(call) or complex_pairs.takes(call)):
                self.values[call] = self._of_pairs(call)
            elif (blank := partly(self, call)) is not None:
                self.values[call] = blank
            elif moment is not None and isinstance(self.values.get(moment.source), str):
                source = self.values[moment.source]
                self.values[call] = self.emit(call, MOMENTS[moment.kind], (str(source),))
            elif name in _WRAPS:
                self.values[call] = self._inside(call, name)
            elif call.target is operator.getitem:
                self.values[call] = self._item(call)
            elif constant:
                known: Any = self.values.__getitem__
                args, kwargs = fx.map_arg((call.args, call.kwargs), known)
                with torch.no_grad():
                    found = call.target(*args, **kwargs)  # type: ignore[operator]  # arguments of fx are nodes here, targets overloads of ATen
                self.values[call] = _several(found) if isinstance(found, tuple | list) else found
            elif name in HANDLERS and not (spelled(call.target) and composition.composed_of(call)):
                self.values[call] = HANDLERS[name].read(self, call)
            else:
                self.values[call] = self._composed(call)
        except NotRead as reason:
            self._give_up(call, name, str(reason))
        if in_place(call):
            try:
                write(self, call)
            except NotRead as reason:
                self._give_up(call, name, str(reason))
                untold(self, call)

    def _item(self, call: fx.Node) -> Value:
        """``parts[i]`` of an operator with several results."""
        parts, place = self.values[call.args[0]], call.args[1]  # type: ignore[index]  # arguments of fx are nodes here, targets overloads of ATen
        if not isinstance(parts, tuple) or not isinstance(place, int):
            raise NotRead("indexing")
        found = parts[place]
        if found is None:
            raise NotRead("this result of it is not traced")
        return found

    def _composed(self, call: fx.Node) -> Value:
        """The value of a call without a handler: what it is composed of is walked in its place."""
        reason = refusals.reason(call)
        if reason is not None and spelled(call.target) is None:
            raise NotRead(reason)
        parts = composition.composed_of(call) if len(self.within) < DEEPEST else None
        if parts is None:
            raise NotRead(reason or "")
        return self._walked(call, parts)

    def _of_pairs(self, call: fx.Node) -> Value:
        """The value of a call with complex numbers, which are pairs of real ones here."""
        parts = complex_pairs.as_pairs(call)
        if parts is None:
            raise NotRead(refusals.reason(call) or refusals.COMPLEX)
        return self._walked(call, parts)

    def _walked(self, call: fx.Node, parts: fx.GraphModule) -> Value:
        """The value of a call that is made up of others."""
        self.within.append(call)
        before = len(self.uncounted)
        try:
            found = self._run(parts, [complex_pairs.constant(self.values[source]) for source in call.all_input_nodes])
        finally:
            self.within.pop()
        if len(self.uncounted) > before and not self.within:
            lines, self.uncounted[before:] = self.uncounted[before:], []
            inside = "; ".join(line.removeprefix("aten.").split(" at ", 1)[0] for line in lines)
            raise NotRead(f"it is composed of {inside}")
        return found

    def _inside(self, call: fx.Node, name: str) -> Value:
        """What is computed under a setting of torch (``with torch.no_grad()``), as if it were not."""
        setting, place = call.args, _WRAPS[name]
        if name == _AUTOCAST and setting[0] == "cpu" and setting[2]:
            raise NotRead("computes in half precision on the CPU; without `autocast` it is traced")
        parts: Any = self.values[setting[place]]  # type: ignore[index]  # arguments of fx are nodes here, targets overloads of ATen
        return self._run(parts, [self.value(given) for given in setting[place + 1 :]])

    def _run(self, parts: fx.GraphModule, given: Iterable[Any]) -> Value:
        """The value, or values, of a graph of calls for those of its inputs."""
        inputs = iter(given)
        for inner in parts.graph.nodes:
            if inner.op == "placeholder":
                self.values[inner] = next(inputs)
            elif inner.op == "get_attr":
                self.values[inner] = operator.attrgetter(str(inner.target))(parts)
            elif inner.op == "call_function" and (inner.users or in_place(inner)):
                self._call(inner)
        output = parts.graph.output_node().args[0]
        if isinstance(output, list | tuple):
            several: Any = tuple(self.values[item] if isinstance(item, fx.Node) else item for item in output)
            return several  # type: ignore[no-any-return]  # arguments of fx are nodes here, targets overloads of ATen
        return self.values[output]  # type: ignore[index, return-value]  # arguments of fx are nodes here, targets overloads of ATen

    def _give_up(self, call: fx.Node, kind: str, reason: str) -> None:
        self.uncounted.append(f"{self._at(call, kind)}{f': {reason}' if reason else ''}")
        inputs = list(_names(self.values.get(source) for source in call.all_input_nodes))
        result = call.meta.get("val")
        example = tuple(int(side) for side in result.shape) if isinstance(result, Tensor) else None
        name = self.emit(call, Unknown(kind, example), tuple(dict.fromkeys(inputs)) or ("input",))
        self.values[call] = (name,) * len(result) if isinstance(result, list | tuple) else name

    def _at(self, call: fx.Node, kind: str) -> str:
        """Operator, module and source line of a call."""
        path = module_path(self._outermost(call)) or "the network itself"
        line = source_line(self._outermost(call))
        return f"aten.{kind} at {path}{f' ({line})' if line else ''}"

    def _outermost(self, call: fx.Node) -> fx.Node:
        return self.within[0] if self.within else call

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
        outer = self._outermost(call)
        path = self._layer_path(call) if op.quantized else module_path(outer)
        own, kind = bool(op.quantized) or is_leaf(outer), operator_name(outer).split(".")[0]
        parts = [path] if own and path else [path, kind] if path else [kind]
        name = ".".join([*parts, suffix] if suffix else parts)
        unique, copies = name, 1
        while unique in self.by_name:
            copies += 1
            unique = f"{name}@{copies}"
        owned = {key: no_grad_copy(value) for key, value in (weights or {}).items()}
        node = Node(unique, op, inputs, owned, self._parameter(call, path) if op.quantized else "")
        self.shapes[unique] = self._shape(node)
        self.axes[unique] = self._axis(node)
        self.by_name[unique] = node
        self.nodes.append(node)
        return unique

    def node(self, name: str) -> Node:
        return self.by_name[name]

    def shape(self, name: str) -> Shape:
        return self.shapes[name]

    def axis(self, name: str) -> int | None:
        return self.axes[name]

    def _shape(self, node: Node) -> Shape:
        if isinstance(node.op, Unknown):
            return node.op.example or self.shapes[node.inputs[0]]
        try:
            return node.op.shape([self.shapes[name] for name in node.inputs], node.weight_shapes)
        except (ValueError, RuntimeError, IndexError, AssertionError) as error:
            if self.uncounted:  # nobody knows what comes out of an unknown operation
                return self.shapes[node.inputs[0]]
            raise NotRead(f"{node.op.describe()}: {error}") from error

    def _axis(self, node: Node) -> int | None:
        """Where a tensor has its channels, if that is known: 1, or -1 for the last axis."""
        op, before = node.op, node.inputs[0]
        if op.channel_axis is not None:
            return op.channel_axis
        if isinstance(op, Permute | Reshape | Expand | Unknown) or (isinstance(op, Reduction) and not op.keepdims):
            return None
        return self.axes[before] if len(self.shapes[before]) == len(self.shapes[node.name]) else None

    def _parameter(self, call: fx.Node, path: str) -> str:
        """What a layer's weights were made from: a parameter, by the first name that the module has for it; for weights that the
        module computes, the place where it does."""
        targets = [
            self.parameters[source.name] for source in self._outermost(call).all_input_nodes if source.name in self.parameters
        ]
        weights = [target for target in targets if target.endswith(".weight")] or targets
        return self.first_name[weights[0]] if weights else path

    def _layer_path(self, call: fx.Node) -> str:
        """Path of the layer whose weight is read, also when the layer is called as a function."""
        for source in self._outermost(call).all_input_nodes:
            target = self.parameters.get(source.name)
            if target is not None and target.endswith(".weight"):
                return self.first_name[target].removesuffix(".weight")
        return module_path(self._outermost(call))


class _Several(tuple[Any, ...]):
    """Constants that one call gives together."""


def _several(found: Any) -> Any:
    return _Several(found)


def _constant(value: Tensor) -> Tensor:
    """A parameter or buffer as handlers see it: numbers in float32; indices and masks as they are. A copy, since calls in place
    are executed on constants."""
    found = value.detach()
    return found.float().clone() if found.is_floating_point() else found.clone()


def _names(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, str):
                yield item
