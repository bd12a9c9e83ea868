"""Weights that move without moving what their layer writes on average.

What a layer reads has a mean, often several times its deviation. When a weight jumps to its next integer, the mean of what the
layer writes jumps with it, in every pixel, and all weights of a channel pull at that one number. So the bias makes up for it at
once, as calibration does after rounding (bias correction, Nagel et al. 2019): weights are trained on what is read about its mean,
``y = W (x - mu) + b``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwsearch.quant.observe.moments import patches
from searchspaces.ir.graph import Graph, Node, execute

PICTURES, PLACES = 16, 1024
"""Of how many pictures means are taken, and at how many places of each."""


def means(graph: Graph, pictures: Sequence[Tensor], seed: int = 0) -> dict[str, Tensor]:
    """The mean of what every quantized layer reads under its kernel, ``float32[G, K]`` as in ``moments.Moments``, over the first
    of ``pictures [1, C, h, w]``."""
    generator, found = torch.Generator().manual_seed(seed), dict[str, list[Tensor]]()
    for picture in pictures[:PICTURES]:
        tensors: dict[str, Tensor] = {}

        def take(node: Node, y: Tensor, tensors: dict[str, Tensor] = tensors) -> None:
            tensors[node.name] = y
            if node.op.quantized:
                read = patches(tensors[node.inputs[0]], node, PLACES, generator)
                found.setdefault(node.name, []).append(read.mean(dim=0))

        with torch.no_grad():
            execute(graph, picture, take)
    return {name: torch.stack(parts).mean(dim=0) for name, parts in found.items()}


class Shift:
    """How far a layer's weights have moved the mean of what it writes. ``mean``: see ``means``; ``begun [O, ...]``: the weights
    with which it was not moved."""

    def __init__(self, mean: Tensor, begun: Tensor) -> None:
        self._mean, self._begun = mean, begun

    def __call__(self, weight: Tensor) -> Tensor:
        """For ``weight [O, ...]``: ``[O]``."""
        rows = (weight - self._begun).reshape(len(self._mean), -1, self._mean.shape[1])
        found: Tensor = (rows * self._mean[:, None]).sum(dim=2).flatten()
        return found
