"""Cross-layer equalization: the channels of a tensor are scaled to like ranges, and nobody notices.

Nagel, van Baalen, Blankevoort and Welling 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"; with
ranges of activations, as in SmoothQuant (Xiao et al. 2023). Channel c of a tensor is divided by ``s[c]`` in the convolution that
produces it (exact, because the activation between is positively homogeneous) and multiplied by ``s[c]`` in the convolutions that read it. The
function stays; a per-tensor quantizer then no longer wastes its codes on the widest channel.

``s = r^alpha``, with r the largest magnitude of a channel on the calibration pictures. Alpha 1 is best for the activations and may
harm the readers' weights, so alpha is chosen per tensor: by the noise at the output of 8-bit activations plus weights of several widths.
The mean of the logarithms is minimised, so that no width speaks louder than another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hwsearch.quant.moments import Moments
from hwsearch.quant.observe import Gains
from hwsearch.quant.rounding import quick_errors
from searchspaces.graph import Graph, Node

HOMOGENEOUS = ("none", "relu", "prelu", "leaky_relu")
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, eq=False)
class Ranges:
    """Extremes of a tensor over all calibration pictures: ``low``, ``high`` ``float64[C]``."""

    low: np.ndarray
    high: np.ndarray

    @property
    def magnitude(self) -> np.ndarray:
        return np.maximum(np.abs(self.low), np.abs(self.high))


def equalizable(graph: Graph) -> tuple[str, ...]:
    """Convolutions whose tensor may be scaled per channel: homogeneous activation, a quantizer of its own, read by convolutions only."""
    groups = graph.quantizer_groups()
    leaders = list(groups.values())
    found = []
    for node in graph.convs:
        readers = graph.readers(node.name)
        alone = leaders.count(groups[node.name]) == 1
        if node.activation in HOMOGENEOUS and alone and readers and all(r.op == "conv" for r in readers):
            found.append(node.name)
    return tuple(found)


def input_factors(reader: Node, scales: np.ndarray) -> np.ndarray:
    """What multiplies each weight of ``reader`` when channel c of its input is divided by ``scales[c]``: ``float64[G, K]``."""
    area = int(np.prod(reader.weights["weight"].shape[2:]))
    return np.repeat(scales.reshape(reader.attrs["groups"], -1), area, axis=1)


def scaled(graph: Graph, scales: Mapping[str, np.ndarray]) -> Graph:
    """The same function with channel c of each named tensor divided by ``scales[name][c] > 0``.

    The names must be ``equalizable``; float32 rounding apart, the output does not change.
    """
    changed: dict[str, Node] = {}
    for name, factors in scales.items():
        producer = changed.get(name, graph[name])
        inverse = torch.from_numpy(1.0 / factors)
        weights = {"weight": (producer.weights["weight"] * inverse.view(-1, 1, 1, 1)).float()}
        if "bias" in producer.weights:
            weights["bias"] = (producer.weights["bias"] * inverse).float()
        changed[name] = producer.with_weights(**weights)
        for reader in graph.readers(name):
            node = changed.get(reader.name, reader)
            weight = node.weights["weight"]
            groups = node.attrs["groups"]
            factor = torch.from_numpy(input_factors(node, factors))
            rows = weight.reshape(groups, -1, factor.shape[1]) * factor.unsqueeze(1)
            changed[reader.name] = node.with_weights(weight=rows.reshape(weight.shape).float())
    return graph.replaced(changed)


def choose_scales(
    graph: Graph,
    ranges: Mapping[str, Ranges],
    moments: Mapping[str, Moments],
    gains: Gains,
    weight_bits: Sequence[int],
    symmetric: bool,
) -> dict[str, np.ndarray]:
    """The scales of every equalizable tensor, ``float64[C]`` with geometric mean 1.

    Args:
        weight_bits: widths that count.
        symmetric: activations have no zero points.
    """
    chosen = {}
    for name in equalizable(graph):
        candidates = [_scales(ranges[name].magnitude, alpha) for alpha in ALPHAS]
        tensor_noise = [_activation_noise(ranges[name], gains.tensors[name], s, symmetric) for s in candidates]
        weight_noise = np.zeros((len(candidates), len(weight_bits)))
        for reader in graph.readers(name):
            channel_gains = np.diag(gains.convs[reader.name])
            factors = [input_factors(reader, s) for s in candidates]
            rows = reader.weights["weight"].numpy().reshape(reader.attrs["groups"], -1, factors[0].shape[1])
            for g in range(len(rows)):
                here = channel_gains.reshape(len(rows), -1)[g]
                errors = quick_errors(rows[g], moments[reader.name].fit[g], np.stack([f[g] for f in factors]), weight_bits)
                weight_noise += errors @ here
        total = np.array(tensor_noise)[:, None] + weight_noise
        chosen[name] = candidates[int(np.argmin(np.log(np.maximum(total, 1e-30)).mean(axis=1)))]
    return chosen


def _scales(magnitude: np.ndarray, alpha: float) -> np.ndarray:
    """``magnitude^alpha`` over its geometric mean; a channel that is (nearly) always zero is left as it is."""
    live = magnitude > 1e-5 * max(float(magnitude.max()), 1e-12)
    if not live.any():
        return np.ones_like(magnitude)
    logs = alpha * np.log(np.where(live, magnitude, 1.0))
    return np.where(live, np.exp(logs - logs[live].mean()), 1.0)


def _activation_noise(ranges: Ranges, gain: np.ndarray, scales: np.ndarray, symmetric: bool) -> float:
    """Noise at the output of storing the scaled tensor in 8 bits over its whole range (uniform rounding error, step^2 / 12)."""
    if symmetric:
        step = 2 * float((ranges.magnitude / scales).max()) / 255
    else:
        step = (max(float((ranges.high / scales).max()), 0.0) - min(float((ranges.low / scales).min()), 0.0)) / 255
    return float(np.sum(gain * (step * scales) ** 2) / 12)
