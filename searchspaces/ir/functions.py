"""Functions of one value that a network spells out by sums, products, comparisons, erf, tanh or sigmoid: found by what they
compute.

GELU is written in many ways (``0.5 x (1 + erf(x / sqrt 2))``, factors in any order, powers as products). None is listed here: the
element-by-element operators between a node and the one tensor that it depends on are executed on a row of numbers, and what
comes out is compared with the functions that runtimes have.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from searchspaces.ir.graph import Node
from searchspaces.ops.maps.activation import Activation, Erf, Gelu, LeakyRelu, Mish, PRelu, Relu, Sigmoid, Silu, Tanh
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Elementwise, Mul
from searchspaces.ops.maps.jumps import Comparison

KNOWN: tuple[Activation, ...] = (Gelu(), Gelu("tanh"), Silu(), Mish())
INSIDE = (Erf, Tanh, Sigmoid, Comparison)
"""What at least one operator of a spelled function is."""
LONGEST = 12
"""Most operators of one."""
TOLERANCE = 2e-6
"""Of constants that were rounded to single precision; the two kinds of GELU differ by 5e-4."""


def spelled(node: Node, nodes: Mapping[str, Node], place: Mapping[str, int]) -> Node | None:
    """The function that ends in ``node`` as one node; None where it is none of ``KNOWN``.

    Args:
        place: of every node in execution order.
    """
    if not isinstance(node.op, Add | Mul | Affine):
        return None
    frontier, inside = {node.name}, list[Node]()
    while len(inside) < LONGEST:
        last = nodes[max(frontier, key=place.__getitem__)]
        if not _of_values(last):
            return None
        frontier = (frontier - {last.name}) | set(last.inputs)
        inside.append(last)
        if len(frontier) == 1 and any(isinstance(one.op, INSIDE) for one in inside):
            (source,) = frontier
            if any(isinstance(one.op, Comparison) and (one.op.limit or one.inputs != (source,)) for one in inside):
                continue  # it bends where no number of the row may lie
            values = _executed(inside, source)
            for function in (*KNOWN, *_bent(values)):
                if torch.allclose(values, function.of(_numbers(), {}), rtol=TOLERANCE, atol=TOLERANCE):
                    return Node(node.name, function, (source,))
    return None


def _bent(values: Tensor) -> tuple[Activation, ...]:
    """The function of one slope below zero that these values of ``_numbers`` may be."""
    slope = float(values[0] / _numbers()[0])
    return (Relu(),) if abs(slope) < TOLERANCE else (LeakyRelu(round(slope, 6)),)


@cache
def _numbers() -> Tensor:
    return torch.linspace(-9, 9, 721, dtype=torch.float64)


def _of_values(node: Node) -> bool:
    """Whether a node computes each value from the value at its place, with constants that are the same everywhere."""
    if isinstance(node.op, PRelu) or not isinstance(node.op, Activation | Affine | Elementwise):
        return False
    return node.activation is None and all(bool((w == w.flatten()[0]).all()) for w in node.weights.values() if w.numel())


def _executed(inside: list[Node], source: str) -> Tensor:
    """What the last of the nodes (which stand first) computes for ``_numbers``."""
    values = {source: _numbers()}
    for node in reversed(inside):
        constants = {role: weight.flatten()[:1].double() for role, weight in node.weights.items()}
        inputs = [values[name] for name in node.inputs]
        if isinstance(node.op, Affine):
            values[node.name] = inputs[0] * constants["scale"] + constants["shift"]
        else:
            values[node.name] = node.op.run(inputs, constants)
    return values[inside[0].name]
