"""Products of tensors that are both computed, and convolutions whose kernels are."""

from __future__ import annotations

from torch import Tensor, fx

from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.move import Permute, Reshape
from searchspaces.tracing.aten import Value, Walk, arguments, both, shape, tensor_name
from searchspaces.tracing.calls.arithmetic import as_operand
from searchspaces.tracing.calls.unfolding import windows


def turned(rank: int) -> tuple[int, ...]:
    """The last two axes exchanged."""
    return (*range(rank - 2), rank - 1, rank - 2)


def product(walk: Walk, call: fx.Node, left: str, right: str, suffix: str = "") -> str:
    """The product of two tensors; where one is another with its last two axes exchanged, the product reads that."""
    sides, turns = [], []
    for name in (left, right):
        node = walk.node(name)
        turn = isinstance(node.op, Permute) and node.op.axes == turned(len(node.op.axes))
        sides.append(node.inputs[0] if turn else name)
        turns.append(turn)
    return walk.emit(call, MatMul(*turns), (sides[0], sides[1]), suffix=suffix)


def by_products(walk: Walk, call: fx.Node) -> Value:
    """A convolution whose kernels are computed from the picture: of each group a matrix of kernels times its windows."""
    a = arguments(call)
    outputs, inputs, *kernel = shape(a["weight"])
    stride, padding, dilation, groups = both(a["stride"]), both(a["padding"]), both(a["dilation"]), int(a["groups"])
    count, _, high, wide = shape(call)
    name = windows(walk, call, tensor_name(walk, a["input"]), kernel, stride, padding, dilation)
    entries = inputs * kernel[0] * kernel[1]
    name = walk.emit(call, Reshape((count, groups, entries, high * wide)), (name,), suffix="windows")
    sides = (1, groups, outputs // groups, entries)
    kernels = walk.emit(call, Reshape(sides), (tensor_name(walk, a["weight"]),), suffix="kernels")
    name = product(walk, call, kernels, name, suffix="product")
    name = walk.emit(call, Reshape((count, outputs, high, wide)), (name,), suffix="picture")
    bias = walk.value(a["bias"])
    if isinstance(bias, Tensor):
        return walk.emit(call, Add(), (name,), {"other": as_operand(bias.view(1, -1, 1, 1))})
    if bias is not None:
        added = walk.emit(call, Reshape((1, outputs, 1, 1)), (tensor_name(walk, a["bias"]),), suffix="bias")
        return walk.emit(call, Add(), (name, added))
    return name
