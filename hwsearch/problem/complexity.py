"""Ranks of low-rank branches by how complex is what each layer reads (``--branches complexity``).

The spatial and temporal complexity of QuantVSR (AAAI 2026, arXiv 2508.04485; its repository). Of a calibration sample and a
layer, the spatial one is the deviation over the places of a frame, the mean over channels and frames; the temporal one the mean
square of the change from one frame to the next. Over all layers and samples, each has a lower and an upper quartile. A rank
begins at 16; every sample adds one where both reach the upper quartile, and takes one where neither passes the lower; what is
within 16 to 64 is rounded to a multiple of 8.

Where nothing remembers a frame, every sample is one frame: all temporal complexities are 0, and the spatial ones decide alone.

As published, the first and the last layer have no branch, nor have layers that cannot (``searchspaces.ir.branches``). Ours: no
rank is more than half of that at which the branch would hold as many numbers as its layer, for the published ranks are for 320
channels and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from hwmodels.device import catalogue
from hwmodels.errors import UncountedError, UsageError
from hwsearch.documents.progress import Progress
from hwsearch.problem.network import load_network
from hwsearch.problem.pictures import choose_pictures
from hwsearch.problem.request import COMPLEXITY, Request
from hwsearch.problem.sizes import refuse_branches_beside, sized
from hwsearch.quant.observations import Observations
from searchspaces.ir import branches
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ops.contractions.conv import Conv

FIRST, MOST, STEP = 16, 64, 8
QUARTILES = (0.25, 0.75)
STILL = "The network reads one frame at a time: no layer's input changes in time, and ranks of branches go by its deviation alone"


@dataclass(frozen=True, eq=False)
class Complexities:
    """``float64[S, L]`` of S samples and L layers, whose names are ``layers``."""

    layers: tuple[str, ...]
    spatial: np.ndarray
    temporal: np.ndarray

    def ranks(self) -> dict[str, int]:
        """Layer -> rank, as published."""
        low, high = (np.stack([np.quantile(x, q) for x in (self.spatial, self.temporal)]) for q in QUARTILES)
        both = np.stack([self.spatial, self.temporal], axis=-1)
        counted = (both >= high).all(axis=-1).sum(axis=0) - (both <= low).all(axis=-1).sum(axis=0)
        found = (np.clip(FIRST + counted, FIRST, MOST) + STEP // 2) // STEP * STEP
        return dict(zip(self.layers, found.tolist(), strict=True))


def complexities(graph: Graph, samples: Sequence[Tensor], layers: Sequence[str]) -> Complexities:
    """Of what ``layers`` read of samples ``[N, C, h, w]``: pictures, or the frames of a clip where the network has state."""
    spatial, temporal = np.zeros((2, len(samples), len(layers)))
    wanted = {name: i for i, name in enumerate(layers)}
    for s, sample in enumerate(samples):
        read: list[list[Tensor]] = [[] for _ in layers]
        tensors: dict[str, Tensor] = {}

        def keep(node: Node, value: Tensor, read: list[list[Tensor]] = read, tensors: dict[str, Tensor] = tensors) -> None:
            tensors[node.name] = value
            if node.name in wanted:
                read[wanted[node.name]].append(_channels_first(node, tensors[node.inputs[0]]))

        with torch.no_grad():
            execute(graph, sample, keep)
        for i, frames in enumerate(read):
            spatial[s, i] = np.mean([float(frame.std(dim=1, correction=0).mean()) for frame in frames])
            changes = [float((after - before).square().mean()) for before, after in pairwise(frames)]
            temporal[s, i] = np.mean(changes) if changes else 0.0
    return Complexities(tuple(layers), spatial, temporal)


def _channels_first(layer: Node, x: Tensor) -> Tensor:
    """What a layer reads of one frame, ``[C, places]``."""
    return x.movedim(1 if isinstance(layer.op, Conv) else -1, 0).flatten(1)


def ranks(graph: Graph, samples: Sequence[Tensor]) -> dict[str, int]:
    """The branches of a network, by the samples of its calibration; none where no layer can have one."""
    most = branches.candidates(graph)
    ends = {graph.convs[0].name, graph.convs[-1].name}
    layers = [name for name in most if name not in ends]
    if not layers:
        return {}
    found = complexities(graph, samples, layers).ranks()
    return {name: min(rank, max(most[name] // 2, 1)) for name, rank in found.items()}


def settled(request: Request, progress: Progress) -> Request:
    """The request with its branches named, where they go by complexity; else itself.

    Raises:
        UsageError: other branches are named beside, the request is not for all layers, or no layer can have a branch.
    """
    if COMPLEXITY[0] not in request.branches:
        return request
    if request.branches != COMPLEXITY:
        raise UsageError(
            "--branches complexity decides about all branches", "Leave it out, or the branches that are named beside it."
        )
    if request.scope != "all":
        refuse_branches_beside(request.scope)
    bare = replace(request, branches=())
    network, graph, _ = sized(bare, load_network(bare), catalogue.load(request.target).default_input)
    if graph.uncounted:
        raise UncountedError(list(graph.uncounted), "Ranks go by what layers read, and this network cannot be run as a whole.")
    crops = [crop.low for crop in choose_pictures(bare, network).crops]
    found = ranks(graph, Observations(graph, crops, (), symmetric=False, seed=request.seed).crops)
    if not found:
        raise UsageError(
            f"{network.name} has no layer between the first and the last that could have a low-rank branch",
            "Layers in groups, of shared weights, with slopes behind them, or of one channel have none. Leave --branches out.",
        )
    if not graph.remembered:
        progress.say(STILL)
    named = branches.written(found)
    progress.say(f"Branches by what layers read: {', '.join(named)}")
    return replace(request, branches=named)
