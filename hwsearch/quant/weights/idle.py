"""Channels that are never active are given half of the work of others.

Behind a ReLU some channels of a trained network are zero whatever it is shown (of the FSRCNN that ships, a third of those that
the last layer reads). Such a channel costs as much as any other, so it may as well carry something: it becomes the copy of an
active one, and who reads the two multiplies each by half of the weight. The function stays. In integers, the largest weight of a
row is halved and its step with it (outlier channel splitting, Zhao et al. 2019, there with channels that are added; idle ones
are free), and two rounding errors, of weights and of the tensor, can make up for each other (see ``learn.reconstruct``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from torch import Tensor

from hwsearch.quant.ranges.spreads import extremes, stretched
from hwsearch.quant.weights.equalize import equalizable
from searchspaces.ir.graph import Graph, Node, conv_of
from searchspaces.ops.maps.activation import Relu

Copies = dict[str, dict[int, int]]
"""By tensor: channel that was idle -> the channel that it is a copy of."""
DOMINANCE = 4
"""The power to which a channel's largest weight, over the largest of the row, counts when channels to split are chosen. With 1,
2, 4 and 8, FSRCNN x2 as it ships, at W4A8, lost 0.245, 0.234, 0.228 and 0.228 dB on fifteen pictures, fitted and not trained;
with the energy that a channel brings to the rows instead 0.248."""


def splits(graph: Graph, pictures: Sequence[Tensor], layers: Collection[str], *, turned: bool = True) -> Copies:
    """Which active channel each idle one is to be the copy of, where all who write and read them are among ``layers``.

    Idle are channels of a tensor behind a ReLU, read by ordinary convolutions alone, that are zero on all of ``pictures
    [1, C, h, w]``, and with their contrast raised. The first becomes a copy of the channel that dominates most rows of those
    who read it; no channel is copied twice. ``turned``: the network takes pictures turned by 90 degrees.
    """
    names = [name for name in equalizable(graph) if _ordinary(graph, name, layers)]
    if not names:
        return {}
    seen = extremes(graph, [*pictures, *(stretched(picture, turned=turned) for picture in pictures)])
    found: Copies = {}
    for name in names:
        free = np.flatnonzero(seen[name].high <= 0).tolist()
        if free and len(free) < len(seen[name].high):
            score = np.sum([_dominance(reader.weights["weight"]) for reader in graph.readers(name)], axis=0)
            score[free] = 0
            active = [channel for channel in np.argsort(-score, kind="stable").tolist() if score[channel] > 0]
            found[name] = dict(zip(free, active, strict=False))
    return found


def _ordinary(graph: Graph, name: str, layers: Collection[str]) -> bool:
    users = (graph[name], *graph.readers(name))
    return isinstance(graph[name].activation, Relu) and all(conv_of(node).groups == 1 and node.name in layers for node in users)


def _dominance(weight: Tensor) -> np.ndarray:
    """How much of the rows' reach is each input channel's, ``[I]``, of ``weight [O, I, h, w]``."""
    columns = weight.abs().flatten(2).amax(dim=2)
    found: np.ndarray = (columns / columns.amax(dim=1, keepdim=True).clamp_min(1e-30)).pow(DOMINANCE).sum(dim=0).numpy()
    return found


def occupied(graph: Graph, copies: Copies) -> Graph:
    """The network with idle channels at work, as ``splits`` has it: the same function wherever they would be idle."""
    changed: dict[str, Node] = {}
    for name, pairs in copies.items():
        taken, origin = list(pairs), list(pairs.values())
        producer = changed.get(name, graph[name])
        own = {role: producer.weights[role].clone() for role in ("weight", "bias") if role in producer.weights}
        for values in own.values():
            values[taken] = values[origin]
        changed[name] = producer.with_weights(**own)
        for node in graph.readers(name):
            reader = changed.get(node.name, node)
            weight = reader.weights["weight"].clone()
            weight[:, origin] /= 2
            weight[:, taken] = weight[:, origin]
            changed[node.name] = reader.with_weights(weight=weight)
    return graph.replaced(changed)
