"""A program's nodes, asked once for what they are: a loop runs them over and over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

_MISSING = object()


@dataclass(frozen=True, eq=False)
class Step:
    """A node: its operator ``space::name``, the numbers of its inputs and outputs, and its blocks.

    Attributes:
        last: numbers of values of its block that nothing behind it reads.
    """

    node: Any
    space: str
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    blocks: tuple[Block, ...]
    fixed: Any
    last: tuple[int, ...] = ()

    @property
    def reads(self) -> set[int]:
        """Numbers of all values that it reads, in its blocks too."""
        return {*self.inputs}.union(*(block.reads for block in self.blocks))

    def constant(self) -> Any:
        """What ``prim::Constant`` gives; lists anew each time."""
        return self.node.output().toIValue() if self.fixed is _MISSING else self.fixed


@dataclass(frozen=True, eq=False)
class Block:
    """A graph or a block of one: numbers of what goes in and comes out, and its nodes in their order."""

    inputs: tuple[int, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    @property
    def reads(self) -> set[int]:
        """Numbers of all values that its nodes read."""
        return {*self.outputs}.union(*(step.reads for step in self.steps))


def block_of(block: Any) -> Block:
    """A graph or block of torch's. Whoever holds the result must hold the graph: torch's nodes are only places in it."""
    inputs, outputs = _numbers(block.inputs()), _numbers(block.outputs())
    steps = [_step(node) for node in block.nodes()]
    own = {*inputs}.union(*(step.outputs for step in steps))
    behind = {*outputs}
    for place, step in reversed([*enumerate(steps)]):
        met = (step.reads | {*step.outputs}) & own
        steps[place] = replace(step, last=tuple(met - behind))
        behind |= met
    return Block(inputs, tuple(steps), outputs)


def _step(node: Any) -> Step:
    space, _, name = node.kind().partition("::")
    fixed = _MISSING
    if (space, name) == ("prim", "Constant"):
        value = node.output().toIValue()
        fixed = value if value is None or isinstance(value, bool | int | float | str) else _MISSING
    blocks = tuple(map(block_of, node.blocks()))
    return Step(node, space, name, _numbers(node.inputs()), _numbers(node.outputs()), blocks, fixed)


def _numbers(values: Any) -> tuple[int, ...]:
    return tuple(value.unique() for value in values)
