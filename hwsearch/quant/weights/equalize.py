"""Cross-layer equalization: the channels of a tensor are scaled to like ranges, and nobody notices.

Nagel, van Baalen, Blankevoort and Welling 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"; with
ranges of activations, as in SmoothQuant (Xiao et al. 2023). Channel c of a tensor is divided by ``s[c]`` in the convolution that
produces it (exact, because the activation between is positively homogeneous) and multiplied by ``s[c]`` in the convolutions
that read it. The function stays; a per-tensor quantizer then no longer wastes its codes on the widest channel.

``s = r^alpha``, with r the largest magnitude of a channel on the calibration pictures. Alpha 1 is best for the activations and
harms the readers' weights, so the best alpha depends on the widths of both: it is chosen for each pair of widths by the noise
that tensor and weights together bring to the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from hwmodels.numbers import INT8, Float, Int, NumberFormat
from hwsearch.quant.observe.gains import Gains
from hwsearch.quant.observe.moments import Moments
from hwsearch.quant.ranges.ranges import HEADROOM
from hwsearch.quant.ranges.spreads import Ranges
from hwsearch.quant.weights.rounding import quick_errors
from searchspaces.ir.graph import Graph, Node, conv_of
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.maps.activation import LeakyRelu, PRelu, Relu

HOMOGENEOUS = (type(None), Relu, PRelu, LeakyRelu)
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
ALIKE = 300.0
"""How far apart the scales of a tensor's channels may be before they are changed ahead of everything else."""
SMALLEST = 1e-30
"""A magnitude that counts as zero."""


def equalizable(graph: Graph) -> tuple[str, ...]:
    """Convolutions whose tensor may be scaled per channel: homogeneous activation, a quantizer of its own, read by
    convolutions only; and neither it nor a reader uses weights that another layer uses too, which would no longer be the same."""
    groups = graph.quantizer_groups()
    leaders = list(groups.values())
    found = []
    for node in graph.convs:
        readers = graph.readers(node.name)
        alone = leaders.count(groups[node.name]) == 1
        if (
            isinstance(node.activation, HOMOGENEOUS)
            and alone
            and readers
            and all(isinstance(r.op, Conv) and not graph.tied(r.name) for r in (node, *readers))
        ):
            found.append(node.name)
    return tuple(found)


def input_factors(reader: Node, scales: np.ndarray) -> np.ndarray:
    """What multiplies each weight of ``reader`` when channel c of its input is divided by ``scales[c]``: ``float64[G, K]``."""
    area = int(np.prod(reader.weights["weight"].shape[2:]))
    return np.repeat(scales.reshape(conv_of(reader).groups, -1), area, axis=1)


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
            groups = conv_of(node).groups
            factor = torch.from_numpy(input_factors(node, factors))
            rows = weight.reshape(groups, -1, factor.shape[1]) * factor.unsqueeze(1)
            changed[reader.name] = node.with_weights(weight=rows.reshape(weight.shape).float())
    return graph.replaced(changed)


class Equalizer:
    """Candidate scales of every equalizable tensor, and which is best for given widths.

    Attributes:
        candidates: tensor -> one ``float64[C]`` per entry of ``ALPHAS``, each with geometric mean 1.
    """

    def __init__(
        self,
        graph: Graph,
        ranges: Mapping[str, Ranges],
        extremes: Mapping[str, Ranges],
        moments: Mapping[str, Moments],
        gains: Gains,
        weight_bits: Sequence[int],
        *,
        symmetric: bool,
    ) -> None:
        """
        Args:
            ranges: of the equalizable tensors, as far as 8 bits would reach; extremes: all that was seen of every tensor.
            weight_bits: integer widths that may be asked for; symmetric: activations have no zero points.
        """
        self._graph, self._moments, self._gains, self._extremes = graph, moments, gains, extremes
        self._widths = tuple(bits for bits in weight_bits if not Int(bits).is_wide)
        self.candidates = {n: [_scales(ranges[n].magnitude, alpha) for alpha in ALPHAS] for n in equalizable(graph)}
        self._tensor_noise = {
            name: np.array([_activation_noise(ranges[name], gains.tensors[name], s, symmetric) for s in options])
            for name, options in self.candidates.items()
        }
        self._reader_noise: dict[str, np.ndarray] = {}
        self._chosen: dict[tuple[str, NumberFormat, tuple[int, ...]], int] = {}

    def choose(self, name: str, number: NumberFormat, reader_bits: Sequence[int]) -> int:
        """Index of the best candidate for a tensor of format ``number`` whose readers have weights of ``reader_bits`` (in the
        order of ``graph.readers``)."""
        key = (name, number, tuple(reader_bits))
        if key not in self._chosen:
            total = self._noise_of_tensor(name, number)
            for reader, width in zip(self._graph.readers(name), reader_bits, strict=True):
                if width in self._widths:
                    total = total + self._noise_of_reader(reader)[:, self._widths.index(width)]
            self._chosen[key] = int(np.argmin(total))
        return self._chosen[key]

    def _noise_of_tensor(self, name: str, number: NumberFormat) -> np.ndarray:
        """Noise at the output of storing a tensor, ``float64[alphas]``.

        Integers of 16 bits are no exception: beside a channel that is 100,000 times larger, the others have no bit of them left.
        Floating point rounds every channel alike, and only must not overflow.
        """
        options = self.candidates[name]
        if isinstance(number, Float):
            return np.array([0.0 if self._fits(name, s, number) else np.inf for s in options])
        if number.is_wide:
            reach = Ranges(-HEADROOM * self._extremes[name].magnitude, HEADROOM * self._extremes[name].magnitude)
            noise = np.array([_activation_noise(reach, self._gains.tensors[name], s, True) for s in options])
            return noise * 4.0 ** (INT8.bits - number.bits)
        return self._tensor_noise[name] * 4.0 ** (INT8.bits - number.bits)

    def _fits(self, name: str, scales: np.ndarray, number: Float) -> bool:
        """Whether what is scaled stays below the largest number: the tensor, and the weights and biases before and behind it."""
        node = self._graph[name]
        made = np.abs(node.weights["weight"].flatten(1).numpy()).max(axis=1)
        made = np.maximum(made, np.abs(node.weights["bias"].numpy())) if "bias" in node.weights else made
        largest = max(float((self._extremes[name].magnitude / scales).max()), float((made / scales).max()))
        for reader in self._graph.readers(name):
            factors = input_factors(reader, scales)
            rows = reader.weights["weight"].numpy().reshape(conv_of(reader).groups, -1, factors.shape[1])
            largest = max(largest, float(np.abs(rows * factors[:, None, :]).max()))
        return largest <= number.largest

    def _noise_of_reader(self, reader: Node) -> np.ndarray:
        """Noise at the output of the reader's rounded weights, ``float64[alphas, widths]``."""
        if reader.name not in self._reader_noise:
            factors = [input_factors(reader, s) for s in self.candidates[reader.inputs[0]]]
            rows = reader.weights["weight"].numpy().reshape(conv_of(reader).groups, -1, factors[0].shape[1])
            gain = np.diag(self._gains.convs[reader.name]).reshape(len(rows), -1)
            noise = np.zeros((len(factors), len(self._widths)))
            for g in range(len(rows)):
                columns = np.stack([f[g] for f in factors])
                noise += quick_errors(rows[g], self._moments[reader.name].fit[g], columns, self._widths) @ gain[g]
            self._reader_noise[reader.name] = noise
        return self._reader_noise[reader.name]


def normalizing(graph: Graph, extremes: Mapping[str, Ranges]) -> dict[str, np.ndarray]:
    """Scales for the equalizable tensors whose channels are far apart: the network as it should be looked at.

    Beside a channel that is a million times larger than the others and undone by the next layer, or that nobody reads, second
    moments, gains and ranges are numbers of that channel alone. So a channel is scaled as far as its readers undo it, and no
    further: one that is small because it was hardly active on these pictures would be cut where it is active on others. A tensor
    whose channels are then within ``ALIKE`` of each other stays as it is, to the last bit.
    """
    found = {}
    for name in equalizable(graph):
        reach = _relative(extremes[name].magnitude)
        read = _relative(np.max([_columns(reader) for reader in graph.readers(name)], axis=0))
        undone = 1 / np.maximum(read, SMALLEST)
        factors = np.clip(undone, np.minimum(reach, 1.0), np.maximum(reach, 1.0))
        if factors.max() > ALIKE * factors.min():
            found[name] = factors
    return found


def _relative(values: np.ndarray) -> np.ndarray:
    """Values ``float64[C]`` over the geometric median of those that are not zero, so that reciprocals stay reciprocal."""
    some = values > SMALLEST
    middle = np.exp(np.median(np.log(values[some]))) if some.any() else 1.0
    return np.where(some, values / middle, 0.0)


def _columns(reader: Node) -> np.ndarray:
    """The largest weight by which a convolution multiplies each channel of its input, ``float64[C]``."""
    weight = reader.weights["weight"].double().abs().numpy()
    groups = conv_of(reader).groups
    found: np.ndarray = weight.reshape(groups, -1, *weight.shape[1:]).max(axis=(1, 3, 4)).reshape(-1)
    return found


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
