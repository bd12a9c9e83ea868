"""Networks that expect other values than 0..1: wrapped, so that everything else sees 0..1.

The wrapper is part of the network: it is traced, priced and run in integers like any layer. A factor behind the last convolution
is folded into it; before the first one it stays a multiplication per channel, because zero padding does not let shifts be folded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from hwmodels.errors import UsageError
from searchspaces.ir.graph import Graph, Node
from searchspaces.ir.module import GraphModule
from searchspaces.ir.simplify import simplify
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.ops.maps.affine import Affine

EXAMPLES = "0..1, 0..255, -1..1, or mean/deviation such as 0.485,0.456,0.406/0.229,0.224,0.225; IN:OUT where they differ"
_LARGEST = 1e9
"""Beyond, single precision soon has no number that is left, and nan is no number either."""
_ENDS = re.compile(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class ValueRange:
    """``x * factor + shift`` of a value in 0..1 is what the network expects; one number, or one a channel."""

    factor: tuple[float, ...]
    shift: tuple[float, ...]

    @property
    def inverse(self) -> ValueRange:
        """From what the network expects back to 0..1."""
        return ValueRange(tuple(1 / f for f in self.factor), tuple(-s / f for f, s in zip(self.factor, self.shift, strict=True)))

    @property
    def is_usual(self) -> bool:
        """Whether nothing has to be done."""
        return set(self.factor) == {1.0} and set(self.shift) == {0.0}


def parse(text: str) -> ValueRange:
    """``0..255``, ``-1..1`` or ``MEAN/STD`` (of values in 0..1, one number or one a channel).

    Raises:
        UsageError: not of that form, or a range of no width.
    """
    if match := _ENDS.fullmatch(text.strip()):
        low, high = float(match[1]), float(match[2])
        if high > low and high - low < _LARGEST:
            return ValueRange((high - low,), (low,))
    mean, slash, deviation = text.partition("/")
    if slash:
        try:
            means, deviations = ([float(part) for part in side.split(",")] for side in (mean, deviation))
        except ValueError:
            means, deviations = [], []
        usual = all(abs(mean) < _LARGEST for mean in means) and all(1 / _LARGEST < d < _LARGEST for d in deviations)
        if means and len(means) == len(deviations) and usual:
            factor = tuple(1 / d for d in deviations)
            return ValueRange(factor, tuple(-m / d for m, d in zip(means, deviations, strict=True)))
    raise UsageError(f"--range {text!r} is not a range of values", f"Write {EXAMPLES}.")


def parse_both(text: str) -> tuple[ValueRange, ValueRange]:
    """What goes in and what comes out: ``IN:OUT``, or one range for both.

    Raises:
        UsageError: as ``parse``.
    """
    taken, colon, given = text.partition(":")
    into = parse(taken)
    return into, parse(given) if colon else into


class Scaled(nn.Module):
    """A picture ``[N, C, H, W]`` by the factors and shifts of a range."""

    def __init__(self, values: ValueRange) -> None:
        super().__init__()
        self.factor: Tensor
        self.shift: Tensor
        self.register_buffer("factor", _per_channel(values.factor))
        self.register_buffer("shift", _per_channel(values.shift))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor + self.shift


class Ranged(nn.Module):
    """A network behind its range: ``[N, C, H, W]`` in 0..1 in, and out too where it gives pictures (``given`` is not None)."""

    def __init__(self, network: nn.Module, taken: ValueRange, given: ValueRange | None) -> None:
        super().__init__()
        self.network = network
        self.into, self.back = Scaled(taken), None if given is None else Scaled(given.inverse)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(self.into(x))
        return y if self.back is None else self.back(y)


def _per_channel(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)


def wrapped(network: LoadedNetwork, text: str, *, returns: bool) -> LoadedNetwork:
    """``network`` for values in 0..1.

    Args:
        text: what it expects, as ``parse_both`` reads it. returns: whether its output has a range.
    Raises:
        UsageError: no such range, or not one number a channel.
    """
    taken, made = parse_both(text)
    given = made if returns else None
    if taken.is_usual and (given is None or given.is_usual):
        return network
    for values in (taken, made):
        if len(values.factor) not in (1, network.channels):
            raise UsageError(
                f"--range {text}: {len(values.factor)} numbers for {network.channels} channel(s)", "Give one, or one a channel."
            )
    if isinstance(network.module, GraphModule):
        said = f"The network expects values of {text}: it was wrapped for 0..1."
        inside = network.module
        again = None if inside.graph.size is None else (lambda size: _ranged(inside.at(size), taken, given))
        wrapping = GraphModule(_ranged(inside.graph, taken, given), again).eval()
        return replace(network, module=wrapping, remarks=(*network.remarks, said))
    said = f"The network expects values of {text}: it was wrapped for 0..1, and its layers are called network.NAME here."
    module = Ranged(network.module, taken, given).eval()
    return replace(network, module=module, remarks=(*network.remarks, said))


def _ranged(graph: Graph, taken: ValueRange, given: ValueRange | None) -> Graph:
    """The graph between two scalings, which layers take up where they can."""
    into, out = Node("range", Affine(), ("input",), _rows(taken, graph.channels)), graph.output
    inner = [
        replace(node, inputs=tuple("range" if name == "input" else name for name in node.inputs)) for node in graph.nodes[1:]
    ]
    nodes = [graph.input, into, *inner]
    if given is not None:
        nodes.append(Node("range.back", Affine(), (out.name,), _rows(given.inverse, graph.channels)))
    return replace(graph, nodes=tuple(simplify(nodes)))


def _rows(values: ValueRange, channels: int) -> dict[str, Tensor]:
    return {
        role: torch.tensor(numbers, dtype=torch.float32).expand(channels).clone()
        for role, numbers in (("scale", values.factor), ("shift", values.shift))
    }
