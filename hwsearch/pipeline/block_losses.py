"""What each block of a network costs in quality: the network is run without it, in floating point and without training.

Only blocks that hold a share of the weights are looked at, first on a part of the search pictures; a network that blows up on a
crop of the calibration is of no use, whatever it loses on those.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from hwmodels.errors import UsageError
from hwsearch.problem.network import adapted
from hwsearch.problem.pictures import Pictures
from hwsearch.problem.pose import Problem
from hwsearch.problem.request import Request
from hwsearch.quality.evaluate import Evaluator, on_patches
from hwsearch.search.blocks import Looks
from searchspaces.ir.graph import execute
from searchspaces.networks.adapted import blocks
from searchspaces.networks.registry import LoadedNetwork

LOOKS = 24
"""Blocks that are left out once, those with most weights: a look is a floating-point pass over the pictures."""
LIGHT = 0.02
"""A block of a smaller share of the weights of the heaviest one is no candidate."""
FEW = 0.25
"""The share of the samples on which every block is left out once; sets of blocks that may do are looked at on all of them."""
STEADY = 8
"""Crops of the calibration that a network is run on, too. A network without a block may lose nothing on some pictures and blow up
on others."""
AWAY = 10.0
"""One that gives so many times what the whole network gives is of no use, whatever it loses on the search pictures."""


def candidates(found: LoadedNetwork, count: int = LOOKS) -> list[str]:
    """The ``count`` blocks with most weights, in the order of the module; a network's only outer block cannot go, and one that
    holds next to no weights is not worth a look where others hold some."""
    known = blocks.blocks(found)
    outer = [name for name in known if not any(blocks.inside(name, other) for other in known)]
    held = {name: weights_of(found, name) for name in known if outer != [name]}
    least = LIGHT * max(held.values(), default=0)
    heaviest = sorted((name for name in held if held[name] >= least), key=lambda name: -held[name])[:count]
    return sorted(heaviest, key=[*held].index)


def weights_of(found: LoadedNetwork, name: str) -> int:
    """Weights that a block holds."""
    return sum(parameter.numel() for parameter in found.module.get_submodule(name).parameters())


def looks(
    request: Request,
    found: LoadedNetwork,
    problem: Problem,
    photos: Pictures,
    most_db: float,
    advance: Callable[[], object] = lambda: None,
) -> Looks:
    """What the network loses without blocks, in floating point, on patches of the search pictures where there are any; infinity
    where it blows up. ``advance``: called for each set of blocks."""

    def run(x: Any) -> Any:
        return execute(problem.graph, x)

    every = on_patches(run, photos.search, photos.task, request.seed) or Evaluator(run, photos.search, photos.task)
    count = math.ceil(FEW * len(every.pairs))
    few, *rest = (Evaluator(run, pairs, photos.task) for pairs in (every.pairs[:count], every.pairs[count:]) if pairs)
    crops = photos.crops[:: -(-len(photos.crops) // STEADY) or 1]
    peaks = [_peak(run, crop.low) for crop in crops]

    def first(names: tuple[str, ...]) -> float:
        advance()
        try:
            left = adapted(replace(request, dropped=names), found)
        except UsageError:  # no block would be left
            return float("inf")
        if not all(_peak(left.module, crop.low) <= AWAY * peak for crop, peak in zip(crops, peaks, strict=True)):
            return float("inf")
        return few.score(left.module).loss_db

    def then(names: tuple[str, ...]) -> float:
        (judge,) = rest
        return judge.score(adapted(replace(request, dropped=names), found).module).loss_db

    return Looks(first, then, count / len(every.pairs), most_db)


def _peak(run: Callable[[Any], Any], x: Any) -> float:
    """Largest magnitude of what comes out; no number where some of it is none."""
    with torch.no_grad():
        return float(run(x).abs().max())
