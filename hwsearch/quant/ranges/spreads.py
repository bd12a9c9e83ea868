"""What values tensors have on the calibration pictures: extremes of channels, and histograms of quantizer groups, weighted by the
noise gain to the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hwsearch.quant.observe.gains import others, quantizes
from hwsearch.quant.ranges.histograms import counted
from hwsearch.quant.ranges.masked import Floors
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ir.shapes import known_channel_axes
from searchspaces.ops.moves.move import View

CHANNEL_BINS = 2048
BINS = 4096
TYPICAL_PENALTY = 4.0
SHARES = np.concatenate([np.linspace(1.0, 0.5, 11), [0.43, 0.37, 0.3, 0.24, 0.18]])
"""Ends of a range that are tried, as shares of the extremes."""
MAX_STRETCH = 1.25
SATURATING = {"tanh": 1.0, "sigmoid": 2.0}
"""Functions whose inputs need not reach far, and their length in units of tanh: sigmoid(x) = (1 + tanh(x / 2)) / 2."""


@dataclass(frozen=True, eq=False)
class Ranges:
    """Extremes of a tensor over all calibration pictures: ``low``, ``high`` ``float64[C]``."""

    low: np.ndarray
    high: np.ndarray

    @property
    def magnitude(self) -> np.ndarray:
        found: np.ndarray = np.maximum(np.abs(self.low), np.abs(self.high))
        return found


@dataclass(frozen=True, eq=False)
class Spread:
    """Gain-weighted histogram of a quantizer group: ``centres float64[BINS]``, ``weight float64[BINS]`` (noise at the output per
    squared error), extremes ``low <= 0 <= high``; ``saturating``: length of the functions that alone read it, or infinite."""

    centres: np.ndarray
    weight: np.ndarray
    low: float
    high: float
    saturating: float = float("inf")


@dataclass(frozen=True, eq=False)
class ChannelSpreads:
    """Histograms of the channels of one quantizer group, each over its own range: ``counts float64[C, CHANNEL_BINS]``
    weighted by noise gain, ``low``, ``high`` ``float64[C]``. Channels of several tensors of a group stand one after the other; a
    tensor without channels is one.
    ``saturating`` as in ``Spread``."""

    counts: np.ndarray
    low: np.ndarray
    high: np.ndarray
    saturating: float = float("inf")

    def spread(self, factors: np.ndarray | None = None) -> Spread:
        """The group's histogram after channel c has been divided by ``factors[c]``."""
        f = np.ones(len(self.low)) if factors is None else factors
        low, high = self.low / f, self.high / f
        inside = (np.arange(CHANNEL_BINS) + 0.5) / CHANNEL_BINS
        values = low[:, None] + inside * (high - low)[:, None]
        bottom, top = min(0.0, float(low.min())), max(0.0, float(high.max()))
        width = max(top - bottom, 1e-12) / BINS
        bins = np.clip((values - bottom) / width, 0, BINS - 1).astype(np.int64)
        # The noise of an error e on the scaled channel is that of f * e on the channel.
        weights = self.counts * (f**2)[:, None]
        counts = np.bincount(bins.ravel(), weights.ravel(), BINS)
        return Spread(bottom + (np.arange(BINS) + 0.5) * width, counts, bottom, top, self.saturating)

    def divided(self, factors: np.ndarray) -> ChannelSpreads:
        """The histograms after channel c has been divided by ``factors[c]``."""
        return replace(self, counts=self.counts * (factors**2)[:, None], low=self.low / factors, high=self.high / factors)

    def typical(self) -> Ranges:
        """The range that each channel would get if it had 8 bits of its own: where rounding and clipping together disturb least.

        A rare peak then does not decide how a channel compares with the others. Zeros, which a ReLU makes many of, have no error.
        """
        inside = (np.arange(CHANNEL_BINS) + 0.5) / CHANNEL_BINS
        values = np.abs(self.low[:, None] + inside * (self.high - self.low)[:, None])
        largest = np.maximum(np.abs(self.low), np.abs(self.high))
        ends = SHARES[:, None] * largest  # [S, C]
        steps = ends * np.where(self.low < 0, 2, 1) / 255
        losses = np.empty(ends.shape)
        for i, (end, step) in enumerate(zip(ends, steps, strict=True)):
            rounded = np.sum(self.counts * (values > step[:, None] / 2), axis=1) * step**2 / 12
            clipped = np.sum(self.counts * np.maximum(values - end[:, None], 0) ** 2, axis=1)
            losses[i] = rounded + TYPICAL_PENALTY * clipped
        reach = ends[np.argmin(losses, axis=0), np.arange(len(largest))]
        return Ranges(np.maximum(self.low, -reach), np.minimum(self.high, reach))


def stretched(crop: Tensor, *, turned: bool = True) -> Tensor:
    """The crop ``[1, C, h, w]`` with its contrast raised to the full range 0..1, at most ``MAX_STRETCH`` times, and turned by
    90 degrees, or by half a turn where its sides may not change.

    Sixteen small crops rarely hold the strongest edges that pictures can have; ranges that fit them alone clip others
    (measured on FSRCNN: up to half of the range, and 0.6 dB at W6A8). Strong contrast is what is missing, and it can be made.
    """
    low, high = float(crop.min()), float(crop.max())
    gain = min(1 / max(high - low, 1e-6), MAX_STRETCH)
    strong = ((crop - (low + high) / 2) * gain + 0.5).clamp(0, 1)
    return (strong.transpose(2, 3).flip(2) if turned else strong.flip((2, 3))).contiguous()


def extremes(graph: Graph, crops: Sequence[Tensor]) -> dict[str, Ranges]:
    """Range that matters of every channel of every tensor over all crops ``[1, C, h, w]``."""
    low: dict[str, Tensor] = {}
    high: dict[str, Tensor] = {}
    axes, floors = known_channel_axes(graph), Floors(graph)

    def see(node: Node, y: Tensor) -> None:
        floors.see(node, y)
        rest = others(y, axes[node.name])
        smallest, largest = y.amin(dim=rest).view(-1), y.amax(dim=rest).view(-1)
        low[node.name] = torch.minimum(low[node.name], smallest) if node.name in low else smallest
        high[node.name] = torch.maximum(high[node.name], largest) if node.name in high else largest

    with torch.no_grad():
        for crop in crops:
            execute(graph, crop, see)
    reach = {node.name: saturation(_saturating(graph, node), 16) for node in graph.nodes}
    least = {node.name: max(-reach[node.name], floors.of(node)) for node in graph.nodes}
    return {name: Ranges(*(end[name].double().clamp(least[name], reach[name]).numpy() for end in (low, high))) for name in low}


def saturation(unit: float, bits: int) -> float:
    """Magnitude from which on a function of this length (see ``SATURATING``) is within half a step of ``bits`` of its limit."""
    return unit * float(np.arctanh(1 - 1 / (2**bits - 1)))


def _saturating(graph: Graph, node: Node) -> float:
    """The length of the functions that alone read a node, views between them or not; infinite where anything else reads it."""
    readers = graph.readers(node.name)
    if node.name == graph.output.name or not readers:
        return float("inf")
    return max(
        _saturating(graph, reader) if isinstance(reader.op, View) else SATURATING.get(reader.op.kind, float("inf"))
        for reader in readers
    )


def spreads(
    graph: Graph, crops: Sequence[Tensor], ranges: Mapping[str, Ranges], gains: Mapping[str, np.ndarray]
) -> dict[str, ChannelSpreads]:
    """Histograms of every quantizer group, by the group's name. ``gains`` as in ``gains.Gains.tensors``."""
    axes = known_channel_axes(graph)
    counts = {node.name: np.zeros((len(ranges[node.name].low), CHANNEL_BINS)) for node in graph.nodes if quantizes(node)}

    def see(node: Node, y: Tensor) -> None:
        if not quantizes(node):
            return
        seen = counted(y, axes[node.name], ranges[node.name].low, ranges[node.name].high, CHANNEL_BINS)
        counts[node.name] += seen * (gains[node.name] / (y.numel() // len(seen) * len(crops)))[:, None]

    with torch.no_grad():
        for crop in crops:
            execute(graph, crop, see)
    members: dict[str, list[str]] = {}
    for name, group in graph.quantizer_groups().items():
        if name in counts:
            members.setdefault(group, []).append(name)
    return {
        group: ChannelSpreads(
            np.concatenate([counts[name] for name in names]),
            np.concatenate([ranges[name].low for name in names]),
            np.concatenate([ranges[name].high for name in names]),
            max(_saturating(graph, graph[name]) for name in names),
        )
        for group, names in members.items()
    }
