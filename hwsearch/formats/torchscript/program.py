"""TorchScript programs, run node by node in Python, so that torch.export sees the operators that they are made of.

Torch's own interpreter keeps sizes of pictures as tensors where the program was traced (``aten::size``, ``prim::NumToTensor``,
``aten::floor_divide``, ``aten::Int``); torch.export cannot follow them there. Here what is computed from sizes alone is computed
at once, as numbers. An interpreter keeps its weights to itself; here they stand in a module under the program's own names, so
that they are parameters of what is exported and layers keep their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from hwsearch.formats.torchscript import byte_pictures
from hwsearch.formats.torchscript.budget import Budget
from hwsearch.formats.torchscript.fast_paths import FAST_PATHS, Unfollowed
from hwsearch.formats.torchscript.known import Known, Origins
from hwsearch.formats.torchscript.memory import Memory
from hwsearch.formats.torchscript.operators import called, place_of
from hwsearch.formats.torchscript.plain import ARITHMETIC, DTYPES, IDENTITIES, OF_LISTS, PRIMITIVES
from hwsearch.formats.torchscript.steps import Block, Step, block_of

_PROGRAM, _GRAPH, _STEPS, _WEIGHTS, _PASSED = "(program)", "(graph)", "(steps)", "(weights)", "(passed)"
"""No part of a program has such a name."""
_NUMBERS = ("Int", "Float", "Bool", "ScalarImplicit", "IntImplicit", "FloatImplicit", "item")
"""Operators that take a number out of a tensor."""


class _Part:
    """A module of the program: where its tensors stand, and the object that has its other attributes."""

    def __init__(self, path: str, theirs: Any) -> None:
        self.path, self.theirs = path, theirs

    def attribute(self, name: str, tensors: Mapping[str, Tensor]) -> Any:
        path = f"{self.path}.{name}" if self.path else name
        if path in tensors:
            return tensors[path]
        found = self.theirs.getattr(name)  # of the program's own; Python's ``getattr`` finds what torch wraps it in first
        return _Part(path, found) if isinstance(found, torch._C.ScriptObject) else found


class Interpreted(nn.Module):
    """A TorchScript program whose parameters and buffers this module holds.

    Attributes:
        of_bytes: whether it takes and gives bytes; conversions of what it gives are left out.
        others: the values of what it takes beside the picture; those that it has none for are ``missing``, by name.
    Raises:
        Unfollowed: on pictures, where the program does what is not read.
    """

    def __init__(self, program: Any) -> None:
        super().__init__()
        self._places: dict[str, tuple[nn.Module, str]] = {}
        parameters = {name for name, _ in program.named_parameters()}
        for name, value in (*program.named_parameters(), *program.named_buffers()):
            path, _, leaf = name.rpartition(".")
            holder = cast("nn.Module", self)
            for part in path.split(".") if path else ():
                if part not in holder._modules:
                    holder._modules[part] = nn.Module()  # whatever its name: attributes of a class are no modules
                holder = cast("nn.Module", holder._modules[part])
            own = value.detach()
            if name in parameters and own.is_floating_point():
                holder._parameters[leaf] = nn.Parameter(own, requires_grad=False)
            else:
                holder._buffers[leaf] = own
            self._places[name] = (holder, leaf)
        self.__dict__[_WEIGHTS] = {
            name: value.detach() for name, value in (*program.named_parameters(), *program.named_buffers())
        }
        self.__dict__[_PROGRAM] = program  # no module of this one: the weights would be found twice
        self.__dict__[_GRAPH] = program.inlined_graph
        self.__dict__[_STEPS] = block_of(self.__dict__[_GRAPH])
        others = program.forward.schema.arguments[2:]
        self.missing = [given.name for given in others if not given.has_default_value()]
        self.others = [given.default_value for given in others]
        self.of_bytes, self.__dict__[_PASSED] = byte_pictures.find(self.__dict__[_STEPS])

    def forward(self, x: Tensor) -> Any:
        program = self.__dict__[_PROGRAM]
        tensors: dict[str, Tensor] = {}
        for name, (holder, leaf) in self._places.items():
            held = holder._parameters.get(leaf)
            tensors[name] = cast("Tensor", holder._buffers[leaf] if held is None else held)
        run = _Run(tensors, self.__dict__[_WEIGHTS], self.__dict__[_PASSED])
        return run.graph(self.__dict__[_STEPS], [_Part("", program._c), x, *self.others])[0]

    def by_torch(self, x: Tensor) -> Any:
        """What torch's own interpreter gives; of several results the one that this module gives, too."""
        found = self.__dict__[_PROGRAM](x)
        for take in self._forward_hooks.values():
            found = take(self, (x,), found)
        return found


class _Run:
    """One run of a program.

    Args:
        tensors: its parameters and buffers by their names; buffers that it writes are replaced.
        weights: the same with their numbers, where whoever traces sees none.
        passed: steps that are left out, each with the value that stands for what it writes.
    """

    def __init__(self, tensors: dict[str, Tensor], weights: Mapping[str, Tensor], passed: Mapping[Step, int]) -> None:
        self.tensors = tensors
        self.passed = passed
        self.values: dict[int, Any] = {}
        self.budget = Budget()
        self.memory = Memory(self.values)
        self.origins = Origins(tensors, weights)

    def graph(self, block: Block, given: Iterable[Any]) -> list[Any]:
        """What a graph or block gives for its inputs."""
        values = self.values
        values.update(zip(block.inputs, given, strict=True))
        for step in block.steps:
            self.budget.spend(1)
            values.update(zip(step.outputs, self.step(step), strict=True))
            for place in step.last:
                values.pop(place, None)
        return [values[place] for place in block.outputs]

    def step(self, step: Step) -> Iterable[Any]:
        """The values of a node's outputs."""
        if step in self.passed:
            return [self.values[self.passed[step]]]
        node, space, name = step.node, step.space, step.name
        given = [self.values[place] for place in step.inputs]
        match name:
            case "Constant" if space == "prim":
                value = step.constant()
                if isinstance(value, Tensor) and value.ndim:
                    self.origins.hold(value)
                return [Known(value) if isinstance(value, Tensor) and not value.ndim else value]
            case "If" if space == "prim":
                yes, no = step.blocks
                return self.graph(yes if _number(given[0]) else no, ())
            case "Loop" if space == "prim":
                return self._loop(step.blocks[0], given)
            case "GetAttr" if space == "prim" and isinstance(given[0], _Part):
                return [given[0].attribute(node.s("name"), self.tensors)]
            case "SetAttr" if space == "prim" and isinstance(given[0], _Part):
                path = f"{given[0].path}.{node.s('name')}" if given[0].path else node.s("name")
                if path not in self.tensors:
                    raise Unfollowed(f"an attribute that it changes, {path}")
                self.tensors[path] = given[1]
                return ()
            case "NumToTensor" if space == "prim":
                with _disable_current_modes():
                    return [Known(torch.tensor(given[0]))]
            case "TupleUnpack" | "ListUnpack" if space == "prim":
                return tuple(given[0])
            case _ if space == "prim" and name in PRIMITIVES:
                given = [item.value if isinstance(item, Known) and name in ("dtype", "device") else item for item in given]
                return _results(step, self.budget.computed(name, PRIMITIVES[name], given))
            case _ if space == "aten":
                return _results(step, self._operator(node, name, given))
        raise Unfollowed(f"{space}::{name}, which is not read")

    def _loop(self, block: Block, given: list[Any]) -> list[Any]:
        limit, going, *carried = given
        turn = 0
        while _number(going) and turn < limit:
            self.budget.spend(1)  # a body without nodes too
            going, *carried = self.graph(block, (turn, *carried))
            turn += 1
        return carried

    def _operator(self, node: Any, name: str, given: list[Any]) -> Any:
        if name in FAST_PATHS:
            if not torch.compiler.is_exporting():
                self.memory.foresee(FAST_PATHS[name], given, {})
            return FAST_PATHS[name](*given)
        first = given[0] if given else None
        if name in ARITHMETIC and (
            name in IDENTITIES
            or (name in OF_LISTS and isinstance(first, list | tuple | dict | str))
            or not any(map(self._holds_tensor, given))
        ):
            return self.budget.computed(name, ARITHMETIC[name], given)
        if name in _NUMBERS and isinstance(first, Tensor | Known):
            number = first.value.item() if isinstance(first, Known) else self.origins.number(first, place_of(node))
            return ARITHMETIC["ScalarImplicit" if name == "item" else name](number)
        if name == "tensor" and not self._holds_tensor(first):
            dtype = next((kind for kind, code in DTYPES.items() if code == given[1]), None)
            with _disable_current_modes():
                return Known(torch.tensor(first, dtype=dtype))
        if name == "size" and isinstance(first, Tensor):
            return [*first.shape] if len(given) == 1 else first.shape[given[1]]
        if name == "dim" and isinstance(first, Tensor):
            return first.dim()
        if name == "len":
            return len(cast("Tensor", first.value if isinstance(first, Known) else first))
        return called(node, name, given, self.memory, self.origins)

    def _holds_tensor(self, value: Any) -> bool:
        if not isinstance(value, list | tuple):
            return isinstance(value, Tensor | Known)
        self.budget.spend(len(value))  # a list of lists of one list is far longer than it looks
        return any(map(self._holds_tensor, value))


def _results(step: Step, found: Any) -> Iterable[Any]:
    """What a node gave, by its outputs."""
    count = len(step.outputs)
    return () if count == 0 else [found] if count == 1 else found


def _number(value: Any) -> Any:
    return value.value.item() if isinstance(value, Known) else value
