"""HarmoQ: weights take over what the rounding of tensors does, scales of channels share the difficulty, bounds are refined.

arXiv 2511.05868 (AAAI 2026). Only its abstract and a third party's first step were to be had; the rest is reconstructed:

Structural residual calibration. With x what a layer reads, d the high-pass part (a pixel less the mean of its four neighbours)
of what rounding does to x, ``W <- W - W E[d x^T] (E[x x^T] + lambda I)^-1`` is the change that makes ``E |dW x + W d|^2 +
lambda |dW|^2`` least, lambda 1e-3 of the mean diagonal. Seen here on the floating-point network, all layers at once.

Harmonized scales. Channel j of a tensor is divided by ``s_j = Rx_j^a / Rw_j^(1 - a)``, Rx and Rw the largest magnitudes of the
channel and of the weights that read it, a the share of the weights in the bits of both: the wider side takes more. Only where
the scale folds into the layer before (a homogeneous activation, read by convolutions alone).

Boundary refinement. Bounds are distilled as 2DQuant's; scales are not renewed in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hwmodels.numbers import Int
from hwsearch.quant.learn.bounds import train
from hwsearch.quant.method import Draft, MethodInfo, Progress
from hwsearch.quant.methods.learned.twodquant import DISTILLATION
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from hwsearch.quant.network.rewriting import Numbers, Scales
from hwsearch.quant.observations import Observations
from hwsearch.quant.observe.moments import patches
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static, rows_of
from hwsearch.quant.weights import reach
from hwsearch.quant.weights.equalize import equalizable
from hwsearch.quant.weights.rounder import bias_of
from hwsearch.quant.weights.rounding import nearest
from hwsearch.quant.weights.sums import layer_integers
from searchspaces.ir.graph import Node, conv_of, execute
from searchspaces.ops.contractions.conv import Conv

INFO = MethodInfo(
    title="HarmoQ",
    summary="weights corrected for the rounding of tensors, scales shared between channels and weights, bounds distilled",
    source="arXiv 2511.05868 (AAAI 2026): abstract, and a third party's first step",
    reconstructed="the scales and the refinement in full; the first step after a third party, on the floating-point network",
    price="none here: scales are used where they fold; as published, a multiply per channel where they do not",
    trains=True,
)
DAMPING = 1e-3
"""``lambda`` of the first step, over the mean diagonal; ours."""
SIDE = 48
"""Input pixels of a window's side."""
PATCHES = 512
"""Patches a window, at most."""


def observe(seen: Observations) -> HarmoQ:
    """See ``quant.method.MethodModule``."""
    return HarmoQ(seen)


def harmonized(tensor: np.ndarray, weights: np.ndarray, share: float) -> np.ndarray:
    """``Rx^a / Rw^(1-a)`` over its geometric mean, ``float64[C]``, of magnitudes ``[C]``; 1 for channels without any."""
    live = (tensor > 1e-5 * tensor.max(initial=0)) & (weights > 1e-5 * weights.max(initial=0))
    if not live.any():
        return np.ones(len(tensor))
    logs = share * np.log(np.where(live, tensor, 1.0)) - (1 - share) * np.log(np.where(live, weights, 1.0))
    return np.where(live, np.exp(logs - logs[live].mean()), 1.0)


def corrected(weight: Tensor, x: np.ndarray, d: np.ndarray) -> Tensor:
    """``W - W E[d x^T] (E[x x^T] + lambda I)^-1`` group by group; as it is with fewer samples than unknowns.

    Args:
        weight: ``float32[O, I/G, kh, kw]``; x, d: patches ``float32[N, G, K]``.
    """
    count, groups, size = x.shape
    if count < size:
        return weight
    rows = weight.reshape(groups, -1, size).double().numpy()
    changed = np.empty_like(rows)
    for g in range(groups):
        own, error = x[:, g].astype(np.float64), d[:, g].astype(np.float64)
        second = own.T @ own / count
        damped = second + (DAMPING * np.trace(second) / size + 1e-12) * np.eye(size)
        changed[g] = rows[g] - np.linalg.solve(damped, own.T @ error / count @ rows[g].T).T
    return torch.from_numpy(changed).float().reshape(weight.shape)


def high_pass(x: Tensor) -> Tensor:
    """``[N, C, H, W]``: each pixel less the mean of its four neighbours, borders repeated."""
    kernel = torch.tensor([[0, -0.25, 0], [-0.25, 1, -0.25], [0, -0.25, 0]]).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=x.shape[1])


class HarmoQ(Static):
    """See ``quant.method.Method``."""

    def __init__(self, seen: Observations) -> None:
        super().__init__(seen, bounds.by_shape, reach.least_squares, DISTILLATION)
        self._scales: dict[tuple[str, float], Scales] = {}

    def rewrite(self, numbers: Numbers) -> Mapping[str, Scales]:
        """Harmonized for the widths of the plan."""
        found = {}
        for name in equalizable(self.graph):
            readers = self.graph.readers(name)
            weights = float(np.mean([numbers.layers[reader.name].bits for reader in readers]))
            share = weights / (weights + numbers.tensors[name].bits)
            if (name, share) not in self._scales:
                spread = self._seen.spreads[self.graph.quantizer_groups()[name]]
                tensor = np.maximum(np.abs(spread.low), np.abs(spread.high))
                self._scales[name, share] = Scales(len(self._scales), harmonized(tensor, _read_by(readers), share))
            found[name] = self._scales[name, share]
        return found

    def finish(self, draft: Draft, seed: int, progress: Progress | None = None) -> QuantizedGraph:
        """Weights take over, then bounds are trained."""
        return train(_calibrated(draft, seed), DISTILLATION, seed, progress)


def _read_by(readers: Sequence[Node]) -> np.ndarray:
    """Largest magnitude of the weights that read each channel, ``float64[C]``."""
    found = []
    for reader in readers:
        groups, weight = conv_of(reader).groups, reader.weights["weight"]
        found.append(weight.reshape(groups, -1, *weight.shape[1:]).abs().amax(dim=(1, 3, 4)).flatten().double().numpy())
    largest: np.ndarray = np.max(found, axis=0)
    return largest


def _calibrated(draft: Draft, seed: int) -> Draft:
    """The draft with the weights of every integer layer corrected and rounded anew, but for weights that several layers use: what
    rounding does to their inputs differs."""
    start, network = draft.quantized, draft.network
    # Tokens have no neighbours.
    pictured = [node for node in network.convs if isinstance(node.op, Conv) and not network.tied(node.name)]
    seen: dict[str, tuple[list[Tensor], list[Tensor]]] = {node.name: ([], []) for node in pictured}
    with torch.no_grad():
        for window in draft.windows(SIDE):
            tensors: dict[str, Tensor] = {}

            def keep(node: Node, y: Tensor, tensors: dict[str, Tensor] = tensors) -> None:
                tensors[node.name] = y

            execute(network, window[None], keep)
            for node in pictured:
                x = tensors[node.inputs[0]]
                d = high_pass(start.formats[node.inputs[0]].fake(x) - x)
                for parts, value in zip(seen[node.name], (x, d), strict=True):
                    parts.append(patches(value, node, PATCHES, torch.Generator().manual_seed(seed)))
    nodes, layers = {}, dict(start.layers)
    for node in pictured:
        layer, source = start.layers[node.name], start.formats[node.inputs[0]]
        if not isinstance(layer, LayerIntegers) or Int(layer.bits).is_wide or not isinstance(source.number, Int):
            continue
        read, lost = (torch.cat(parts).numpy() for parts in seen[node.name])
        nodes[node.name] = changed = node.with_weights(weight=corrected(node.weights["weight"], read, lost))
        rows, limit = rows_of(changed), Int(layer.bits).narrow_limit
        scale = (reach.least_squares(rows, layer.bits) / limit).astype(np.float32)
        q = nearest(rows, scale, limit).reshape(layer.weight.shape).astype(np.int8)
        layers[node.name] = layer_integers(layer.bits, q, scale, bias_of(changed), source)
    return replace(draft, quantized=replace(start, layers=layers), network=network.replaced(nodes))
