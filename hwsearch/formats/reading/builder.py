"""A canonical graph as it grows while a file is read at one size of the picture.

Files have their axes in an order of their own (TFLite: channels last), or exchange them at the door. A value of a file is
therefore a tensor of the graph *and* an order of its axes (``Map``); nothing is moved until an operator needs the values as they
lie. Exchanges that cancel leave no trace, so a network that is channels-last throughout becomes the plain canonical one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op, Shape
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.maps.activation import Abs, Clip, Exp, Relu, Relu6, Sigmoid, Softplus
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.move import Concat, Expand, Gather, Permute, Reshape, Slice, View
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import AvgPool, MaxPool, Mean, Reduction
from searchspaces.ops.reductions.softmax import Softmax
from searchspaces.tracing.formulas import TraceSize

USUAL_CHANNELS = (1, 3, 4)
"""Channels of pictures, by which a file's order of axes is told."""
TO_CHANNELS_FIRST = (0, 3, 1, 2)
"""Axes of ``[N, H, W, C]`` in the order ``[N, C, H, W]``."""
TO_CHANNELS_LAST = (0, 2, 3, 1)


@dataclass(frozen=True)
class Map:
    """A value that depends on the picture: axis ``i`` of it is axis ``axes[i]`` of the tensor ``name``."""

    name: str
    axes: tuple[int, ...]

    @property
    def plain(self) -> bool:
        """Whether it is the tensor as it lies."""
        return self.axes == tuple(range(len(self.axes)))


CONTRADICTIONS = (ValueError, KeyError, IndexError, RuntimeError, TypeError)
"""What readers raise where shapes do not fit. Behind an operator that is not read, nobody knows them."""


class Builder:
    """Collects nodes. ``misfits``: operators that the picture's size does not suit; ``uncounted``: those that are not read."""

    def __init__(self, channels: int, sample: TraceSize) -> None:
        self.sample = sample
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {}
        self.uncounted: list[str] = []
        self.misfits: list[str] = []
        self._ordered: dict[Map, str] = {}
        self.nodes["input"] = Node("input", Input(channels))
        self._axes: dict[str, int | None] = {"input": 1}
        self.shapes["input"] = (sample.count, channels, *sample.shape)

    @property
    def picture(self) -> Map:
        """What goes in, ``[N, C, H, W]``."""
        return Map("input", (0, 1, 2, 3))

    # Nodes

    def emit(
        self, name: str, op: Op, inputs: Sequence[str], weights: Mapping[str, Tensor] | None = None, parameter: str = ""
    ) -> str:
        """A node; its name is made unique. ``parameter``: see ``Node``.

        Raises:
            NotRead: the operator cannot take such inputs; noted among the ``misfits``.
        """
        unique, copies = name, 1
        while unique in self.nodes:
            copies += 1
            unique = f"{name}@{copies}"
        node = Node(unique, op, tuple(inputs), weights or {}, parameter)
        try:
            shape = tuple(int(side) for side in op.shape([self.shapes[source] for source in inputs], node.weight_shapes))
        except (ValueError, RuntimeError, IndexError, KeyError) as error:
            self.misfits.append(f"{unique}: {error}")
            raise NotRead(f"{op.describe()}: {error}") from None
        if any(side < 1 for side in shape):
            self.misfits.append(f"{unique}: nothing is left of the picture")
            raise NotRead(f"{op.describe()} leaves nothing of the picture")
        self.nodes[unique], self.shapes[unique] = node, shape
        self._axes[unique] = self._axis_of(node)
        return unique

    def _axis_of(self, node: Node) -> int | None:
        op, before = node.op, node.inputs[0]
        if op.channel_axis is not None:
            return op.channel_axis
        if isinstance(op, Permute | Reshape | Expand | Unknown) or (isinstance(op, Reduction) and not op.keepdims):
            return None
        return self._axes[before] if len(self.shapes[before]) == len(self.shapes[node.name]) else None

    def unknown(self, name: str, operation: str, label: str, inputs: Sequence[str], reason: str) -> str:
        """A node in the place of what is not read; it is counted in ``uncounted``."""
        self.uncounted.append(f"{operation} {label}{f': {reason}' if reason else ''}")
        unique = name
        while unique in self.nodes:
            unique += "@"
        self.nodes[unique] = Node(unique, Unknown(operation), tuple(dict.fromkeys(inputs)))
        self.shapes[unique], self._axes[unique] = self.shapes[inputs[0]], None
        return unique

    def put(
        self, name: str, op: Op, inputs: Sequence[Map], weights: Mapping[str, Tensor] | None = None, parameter: str = ""
    ) -> Map:
        """A node that reads values as the file has them."""
        return self.whole(self.emit(name, op, [self.lying(value) for value in inputs], weights, parameter))

    def whole(self, name: str) -> Map:
        """A tensor as it lies."""
        return Map(name, tuple(range(len(self.shapes[name]))))

    # Orders of axes

    def shape(self, value: Map) -> Shape:
        """The shape of a value as the file has it."""
        shape = self.shapes[value.name]
        return tuple(shape[axis] for axis in value.axes)

    def channels_on(self, value: Map) -> int | None:
        """Which axis of the tensor behind a value has the channels, if that is known: 1, or -1 for the last."""
        return self._axes[value.name]

    @staticmethod
    def turned(value: Map, order: Sequence[int]) -> Map:
        """The value with its axes in another order; nothing is emitted."""
        if sorted(order) != list(range(len(value.axes))):
            raise NotRead(f"{list(order)} is no order of {len(value.axes)} axes")
        return Map(value.name, tuple(value.axes[axis] for axis in order))

    def lying(self, value: Map) -> str:
        """The name of a tensor that lies as the value does: with a node that exchanges axes where it must."""
        if value.plain:
            return value.name
        if value not in self._ordered:
            node = self.nodes[value.name]
            if isinstance(node.op, Permute):  # one order behind another is one order
                inner = node.op.axes
                self._ordered[value] = self.lying(Map(node.inputs[0], tuple(inner[axis] for axis in value.axes)))
            else:
                self._ordered[value] = self.emit(f"{value.name}.permuted", Permute(value.axes), [value.name])
        return self._ordered[value]

    def ending_in(self, value: Map, axes: Sequence[int]) -> Map:
        """The same value, of which ``axes`` are the last ones of the tensor behind it: with a node that exchanges axes where it
        must. Operators of pictures look at the last two axes alone."""
        rank, last = len(value.axes), len(axes)
        if {value.axes[axis] for axis in axes} <= {rank - 2, rank - 1} or last > 2:
            return value
        order = [axis for axis in range(rank) if axis not in axes] + sorted(axes)
        return Map(self.lying(self.turned(value, order)), tuple(map(order.index, range(rank))))

    def pointwise(self, name: str, op: Op, values: Sequence[Map], weights: Mapping[str, Tensor] | None = None) -> Map:
        """An element-wise operator of values of one rank. Where all have their axes in one order, it works on the tensors as
        they lie; a weight is then turned as well.

        ``weights`` broadcast against the values as the file has them.
        """
        rank = max(len(value.axes) for value in values)
        orders = {value.axes for value in values}
        if len(orders) != 1 or values[0].plain or any(weight.ndim > rank for weight in (weights or {}).values()):
            return self.put(name, op, values, weights)
        order = values[0].axes
        lying = {role: _turned_back(weight, order) for role, weight in (weights or {}).items()}
        return Map(self.emit(name, op, [value.name for value in values], lying), order)

    def scaled(self, name: str, value: Map, scale: np.ndarray | float, shift: np.ndarray | float) -> Map:
        """``scale * x + shift``. One number a channel is an ``Affine``, which layers take up; any other constant an operand."""
        rank = len(value.axes)
        given = [torch.as_tensor(np.asarray(constant, np.float64)) for constant in (scale, shift)]
        sides = [tuple(constant.shape) for constant in given]
        grows = tuple(torch.broadcast_shapes(self.shape(value), *sides)) != self.shape(value)
        axis = self._axes[value.name]
        if axis is not None and not grows:
            lying = [_turned_back(c, value.axes) if c.ndim <= rank else c for c in given]
            rows = [_per_channel(constant, self.shapes[value.name], axis) for constant in lying]
            if rows[0] is not None and rows[1] is not None:
                weights = {"scale": rows[0].float().clone(), "shift": rows[1].float().clone()}
                return Map(self.emit(name, Affine(axis), [value.name], weights), value.axes)
        for op, constant, nothing in ((Mul(), given[0], 1.0), (Add(), given[1], 0.0)):
            if bool((constant != nothing).any()) or (grows and constant.ndim):
                other = {"other": constant.float().reshape(1) if constant.ndim == 0 else constant.float()}
                value = self.pointwise(name, op, [value], other)
        return value

    # What is known of values

    def never_negative(self, name: str, *, pictures: bool = True) -> bool:
        """Whether a tensor has no values below zero. ``pictures``: of these that is known, as of those of 0..1."""
        node = self.nodes[name]
        match node.op:
            case Input():
                return pictures
            case Relu() | Relu6() | Sigmoid() | Softmax() | Abs() | Exp() | Softplus():
                return True
            case Clip(low=low):
                return low >= 0
            case Pad(mode="constant", value=value) if value < 0:
                return False
            case Add() | Mul():
                constant = node.weights.get("other")
                positive = constant is None or bool((constant >= 0).all())
                return positive and all(self.never_negative(source, pictures=pictures) for source in node.inputs)
            case View() | Concat() | Mean() | MaxPool() | AvgPool():
                return all(self.never_negative(source, pictures=pictures) for source in node.inputs)
        return False

    # Moves that several operators are

    def reshaped(self, name: str, value: Map, sizes: Sequence[int]) -> Map:
        """The values in order as ``sizes``; of several shapes in a row only the last counts."""
        after = tuple(int(size) for size in sizes)
        if self.shape(value) == after:
            return value
        source = self.lying(value)
        if isinstance(self.nodes[source].op, Reshape):
            source = self.nodes[source].inputs[0]
            if self.shapes[source] == after:
                return self.whole(source)
        return self.whole(self.emit(name, Reshape(after), [source]))

    def constant(self, name: str, values: Tensor, beside: Map) -> Map:
        """A constant where a tensor is needed: it is added to zero times one number of ``beside``; of each picture, where it is
        the same for all."""
        sides, number = self.shape(beside), self.lying(beside)
        each = values.ndim > 0 and values.shape[0] == 1
        for axis, side in enumerate(sides):
            if side > 1 and (axis or not each):
                number = self.emit(f"{name}.beside", Slice(0, 1, axis), [number])
        ones = (self.shapes[number][0] if each else 1, *[1] * (values.ndim - 1))
        nothing = self.scaled(f"{name}.nothing", self.reshaped(f"{name}.number", self.whole(number), ones), 0.0, 0.0)
        return self.pointwise(name, Add(), [nothing], {"other": values.float()})

    def gathered(self, name: str, value: Map, places: Sequence[int], axis: int) -> Map:
        """The places along an axis of the value, in that order; two such orders are one."""
        lying, source = value.axes[axis], value.name
        found = tuple(int(place) for place in places)
        node = self.nodes[source]
        if isinstance(node.op, Gather) and node.op.axis == lying:
            found, source = tuple(node.op.indices[place] for place in found), node.inputs[0]
        if found == tuple(range(self.shapes[source][lying])):
            return Map(source, value.axes)
        return Map(self.emit(name, Gather(found, lying), [source]), value.axes)

    def part(self, name: str, value: Map, axis: int, start: int, stop: int, step: int = 1) -> Map:
        """Places along an axis of the value. Rows and columns of a picture are cut off, as convolutions can take up."""
        lying, side = value.axes[axis], self.shape(value)[axis]
        if (start, stop, step) == (0, side, 1):
            return value
        if step == 1 and lying > 1 and len(value.axes) == 4 and self.channels_on(value) == 1:
            ends = (-start, stop - side)
            return Map(self.emit(name, Pad((*ends, 0, 0) if lying == 3 else (0, 0, *ends)), [value.name]), value.axes)
        return Map(self.emit(name, Slice(start, stop, lying, step), [value.name]), value.axes)

    def concatenated(self, name: str, values: Sequence[Map], axis: int) -> Map:
        """Values one after the other along an axis of theirs; in the order in which they lie, where that is one."""
        axis %= len(values[0].axes)
        order = values[0].axes
        if any(value.axes != order for value in values):
            return self.put(name, Concat(axis), values)
        return Map(self.emit(name, Concat(order[axis]), [value.name for value in values]), order)

    def up_to(self, last: str) -> list[Node]:
        """The nodes that ``last`` depends on, in execution order, ``last`` at the end; the input first in any case."""
        reached, stack = {"input"}, [last]
        while stack:
            name = stack.pop()
            if name not in reached or name == last:
                reached.add(name)
                stack.extend(source for source in self.nodes[name].inputs if source not in reached)
        kept = [node for node in self.nodes.values() if node.name in reached and node.name != last]
        return [*kept, self.nodes[last]]


def tensor(array: np.ndarray) -> Tensor:
    """A weight: float32, a copy."""
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def as_weight(array: np.ndarray) -> Tensor:
    """A constant operand."""
    found = tensor(array)
    return found.reshape(1) if found.ndim == 0 else found


def _per_channel(constant: Tensor, shape: Shape, axis: int) -> Tensor | None:
    """A constant as one number for each channel, ``[C]``; None where it is more than that."""
    if constant.numel() == 1:
        return constant.reshape(1).expand(shape[axis])
    sides = [1] * len(shape)
    sides[axis] = shape[axis]
    padded = (1,) * (len(shape) - constant.ndim) + tuple(constant.shape)
    return constant.reshape(-1) if list(padded) == sides else None


def _turned_back(weight: Tensor, order: Sequence[int]) -> Tensor:
    """A constant that broadcasts against a turned value, for the tensor as it lies."""
    if weight.numel() == 1:
        return weight
    full = weight.reshape((1,) * (len(order) - weight.ndim) + tuple(weight.shape))
    return full.permute([order.index(axis) for axis in range(len(order))]).contiguous()
