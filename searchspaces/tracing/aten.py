"""Handlers by ATen operator: what a traced call becomes in the canonical graph.

A handler gets a ``Walk`` (emits nodes, knows values) and the traced call. It returns the call's value: the name of a tensor of
the canonical graph, a tuple of such names (split), or a constant tensor. Or it raises ``NotRead``: the call is listed
by name. Handlers stand in ``calls``; this file has what they share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, fx

from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op, Shape
from searchspaces.ops.moves.move import Reshape
from searchspaces.ops.reading import NotRead, OperatorReaders

Value = str | Tensor | tuple[str | None, ...]
HANDLERS = OperatorReaders("the reader of PyTorch programs")
"""ATen operator with its overload, such as ``add.Tensor`` -> its handler, and the canonical operators that it can become."""
handles = HANDLERS.register


class Walk(Protocol):
    """What a handler may use of the tracer."""

    def value(self, argument: Any) -> Any:
        """The value of an argument: a tensor name, a constant, or a plain Python object."""

    def emit(
        self,
        call: fx.Node,
        op: Op,
        inputs: tuple[str, ...],
        weights: Mapping[str, Tensor] | None = None,
        suffix: str = "",
    ) -> str:
        """Append a node and return its name."""

    def node(self, name: str) -> Node:
        """A node that was emitted."""

    def shape(self, name: str) -> Shape:
        """The shape of its tensor at the example size."""

    def axis(self, name: str) -> int | None:
        """Where its tensor has the channels, if that is known: 1, or -1 for the last axis."""


def arguments(call: fx.Node) -> dict[str, Any]:
    """Arguments by their names in the operator's schema, defaults included."""
    schema = call.target._schema  # type: ignore[union-attr]  # the target of a call is an overload of ATen
    bound = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    bound.update(zip((a.name for a in schema.arguments), call.args, strict=False))
    return bound | call.kwargs


def operator_name(call: fx.Node) -> str:
    """``relu.default`` for ``aten.relu_.default`` too."""
    if not written_name(call):
        return getattr(call.target, "__name__", str(call.target))
    return f"{packet(call)}.{call.target._overloadname}"  # type: ignore[union-attr]  # the target of a call is an overload of ATen


def packet(call: fx.Node) -> str:
    """Name of the operator without its overload: ``mul`` of ``aten.mul_.Tensor``."""
    return written_name(call).removesuffix("_")


def written_name(call: fx.Node) -> str:
    """``mul_`` of ``aten.mul_.Tensor``; nothing for what is no operator of ATen, such as a placeholder."""
    overloads = getattr(call.target, "_overloadpacket", None)
    return "" if overloads is None else str(overloads.__name__)


def shape(call: Any) -> tuple[int, ...]:
    """Shape of a traced tensor at the example size."""
    return tuple(int(side) for side in call.meta["val"].shape)


def slice_start(given: Any, count: int) -> int:
    """First of ``count`` places that a slice keeps, for the start that it was given: None, or counted from the end below zero."""
    return slice(given, None).indices(count)[0]


def axes_of(dims: Any, rank: int) -> tuple[int, ...]:
    """Dimensions as sorted axes that are not negative; all of them for None or an empty list."""
    if dims is None or dims == []:
        return tuple(range(rank))
    return tuple(sorted(int(d) % rank for d in (dims if isinstance(dims, list | tuple) else [dims])))


def loose_name(walk: Walk, argument: Any) -> str:
    """The tensor of an argument, which may carry axes of size 1 that the traced tensor has not: a vector ``[N, C]`` that was
    pooled from pictures stays ``[N, C, 1, 1]``."""
    found = walk.value(argument)
    if not isinstance(found, str):
        raise NotRead("needs a feature map here, not a constant")
    return found


def tensor_name(walk: Walk, argument: Any) -> str:
    """The tensor of an argument, of exactly the shape that was traced."""
    found = loose_name(walk, argument)
    if isinstance(argument, fx.Node) and walk.shape(found) != shape(argument):
        return walk.emit(argument, Reshape(shape(argument)), (found,), suffix="view")
    return found


def one(values: Any, what: str) -> int:
    """The common value of a list that must be the same for height and width."""
    items = set(values) if isinstance(values, list | tuple) else {values}
    if len(items) != 1:
        raise NotRead(f"{what} differs between height and width")
    return int(items.pop())


def both(values: Any) -> tuple[int, int]:
    """Rows and columns of a list of one or two."""
    items = list(values) if isinstance(values, list | tuple) else [values]
    return (int(items[0]), int(items[-1]))
