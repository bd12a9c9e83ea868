"""Second moments of what the layers read: the matrix by which an error of the weights becomes an error of the output.

For a convolution, ``y = W x + b`` with ``x`` the patch under the kernel (im2col). Replacing W by W + E and correcting the bias by
``-E mu`` (``mu`` the mean patch) leaves the error ``E (x - mu)`` with mean square ``E H E^T``, where
``H = E[(x - mu) (x - mu)^T]``. Of a linear layer a patch is one vector. Patches are drawn at random
positions of the calibration crops; every second crop is
held out, and gives a second matrix about the mean of the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg.blas import ssyrk
from torch import Tensor

from searchspaces.ir.graph import Graph, Node, conv_of, execute
from searchspaces.ops.contractions.conv import Conv


@dataclass(frozen=True, eq=False)
class Moments:
    """Patches of one convolution, per group of channels: ``K = I / groups * kh * kw``.

    ``mean float32[G, K]``; ``fit float32[G, K, K]`` second moment about the mean; ``held float32[G, K, K]`` second moment of the
    held-out patches about the same mean.
    """

    mean: np.ndarray
    fit: np.ndarray
    held: np.ndarray

    def about_zero(self, dtype: type[np.floating] = np.float32) -> np.ndarray:
        """``E[x x^T]`` of the patches x that ``fit`` is of, ``[G, K, K]``."""
        mean = self.mean.astype(dtype)
        found: np.ndarray = self.fit.astype(dtype) + mean[:, :, None] * mean[:, None, :]
        return found

    def scaled(self, factors: np.ndarray) -> Moments:
        """The moments after input ``k`` of each group has been divided by ``factors float[G, K]``."""
        f = factors.astype(np.float32)
        both = f[:, :, None] * f[:, None, :]
        return Moments(self.mean / f, self.fit / both, self.held / both)


def pooled(moments: Mapping[str, Moments], users: Sequence[str]) -> Moments:
    """Moments by which weights that several layers use are rounded: about each layer's own mean, the mean over the layers. The
    mean is that of the first, as biases are each layer's own."""
    first, *others = (moments[name] for name in users)
    if not others:
        return first
    alike = [first, *others]
    return Moments(first.mean, np.mean([one.fit for one in alike], axis=0), np.mean([one.held for one in alike], axis=0))


def patches(x: Tensor, node: Node, count: int, generator: torch.Generator) -> Tensor:
    """``count`` random patches ``float32[count, G, K]`` that layer ``node`` reads in ``x [1, I, H, W]``, or vectors in ``x [...,
    I]`` where it is a linear one; all if there are fewer."""
    if not isinstance(node.op, Conv):
        vectors = x.flatten(0, -2)
        return vectors[torch.randperm(len(vectors), generator=generator)[:count]].unsqueeze(1)
    op = conv_of(node)
    kh, kw = node.weights["weight"].shape[2:]
    (down, across), (tall, wide), groups = op.strides, op.dilations, op.groups
    x = F.pad(x, op.padding)
    rows = (x.shape[2] - tall * (kh - 1) - 1) // down + 1
    columns = (x.shape[3] - wide * (kw - 1) - 1) // across + 1
    places = torch.randperm(rows * columns, generator=generator)[:count]
    top, left = places // columns * down, places % columns * across
    dy = torch.arange(kh).view(-1, 1) * tall
    dx = torch.arange(kw).view(1, -1) * wide
    index = (top.view(-1, 1, 1) + dy) * x.shape[3] + left.view(-1, 1, 1) + dx
    taken = x[0].flatten(1)[:, index.flatten()].view(groups, x.shape[1] // groups, len(places), kh * kw)
    return taken.permute(2, 0, 1, 3).reshape(len(places), groups, -1)


def _sample_count(k: int) -> int:
    """Patches per half: enough to determine ``K x K`` moments (six per unknown direction), bounded for time."""
    return int(np.clip(6 * k, 4096, 9000))


def collect(graph: Graph, crops: Sequence[Tensor], seed: int) -> dict[str, Moments]:
    """Moments of every layer from calibration crops ``[1, C, h, w]``; at least two crops."""
    generator = torch.Generator().manual_seed(seed)
    taken: dict[str, tuple[list[Tensor], list[Tensor]]] = {node.name: ([], []) for node in graph.convs}
    halves = ((len(crops) + 1) // 2, len(crops) // 2)
    for i, crop in enumerate(crops):
        half = i % 2
        tensors: dict[str, Tensor] = {}

        def take(node: Node, y: Tensor, half: int = half, tensors: dict[str, Tensor] = tensors) -> None:
            tensors[node.name] = y
            if node.op.quantized:
                k = node.weights["weight"][0].numel()
                share = -(-_sample_count(k) // halves[half])
                taken[node.name][half].append(patches(tensors[node.inputs[0]], node, share, generator))

        with torch.no_grad():
            execute(graph, crop, take)
    found = {}
    for name in list(taken):
        fit, held = (torch.cat(half).transpose(0, 1) for half in taken.pop(name))
        mean = fit.mean(dim=1, keepdim=True)
        found[name] = Moments(mean[:, 0].numpy(), *(_second_moments((x - mean).numpy()) for x in (fit, held)))
    return found


def _second_moments(x: np.ndarray) -> np.ndarray:
    """Mean of ``x x^T`` over the rows x of each ``float32[G, N, K]``: ``float32[G, K, K]``; symmetric, which halves the work."""
    found = np.empty((len(x), x.shape[2], x.shape[2]), dtype=np.float32)
    for group, rows in enumerate(x):
        upper = ssyrk(1.0 / len(rows), rows.T)
        found[group] = np.triu(upper) + np.triu(upper, 1).T
    return found
