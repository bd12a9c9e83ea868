"""Calibration: from a floating-point network and pictures to the number formats of every choice of the search space.

Activations and weights are calibrated apart from each other, on floating-point inputs, so that the result for one choice does
not depend on the other choices of a plan. Every width is computed when it is first asked for, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import UsageError
from hwmodels.numbers import Float
from hwsearch.quant.engine.proof import INT32_LIMIT
from hwsearch.quant.engine.simulate import Prepared, prepare, simulate
from hwsearch.quant.formats import TensorFormat, rounded, rounded_array
from hwsearch.quant.graph import LayerFloats, LayerIntegers, QuantizedGraph
from hwsearch.quant.methods.equalize import Equalizer, equalizable, input_factors, scaled
from hwsearch.quant.methods.ranges import (
    ChannelSpreads,
    candidates,
    choose,
    clamped,
    extremes,
    format_source,
    picture_format,
    spreads,
    stretched,
    wide_format,
)
from hwsearch.quant.methods.weights import RoundedLayer, Rounder, bias_of, exchanged, multiplied
from hwsearch.quant.observe.gains import Bench, Gains, affordable, macs_per_pixel, quantizes, squares, trimmed
from hwsearch.quant.observe.moments import Moments, collect
from searchspaces.ir.graph import Graph, Node
from searchspaces.space import SearchSpace

BENCH_MACS, BENCH_PIXELS = 4e9, 30_000
"""Most multiply-accumulates, and most pixels, of one measurement of the noise at the output: at most a tenth of a second on one
core, and no more pictures than the comparison of two formats needs."""
COMPARE_MACS, COMPARE_PIXELS = 5e8, 11_000
"""The same where two ways to round a layer are compared, which happens often and on the same windows."""
LOOK_MACS = 6e10
"""Multiply-accumulates of one pass over the calibration pictures, of which there are five: large networks see less of each."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is done, 0..1."""

QUANTIZERS = ("measured", "plain")
"""How ranges and integers are found: each by what it does to the output, or minimum to maximum and to the nearest."""


def calibrate(
    graph: Graph, crops: Sequence[Tensor], space: SearchSpace, *, seed: int = 0, progress: Progress | None = None
) -> Calibration:
    """Measure ranges, moments and noise gains of a network on pictures, and equalize it.

    Args:
        crops: network inputs ``[1, C, h, w]`` in 0..1; at least 16 from many pictures give good formats.
        seed: of the sampling of patches, windows and probes.
    Raises:
        UsageError: no crops, a width below 2 bits, or operations in the graph that cannot be executed.
    """
    if not crops:
        raise UsageError("calibration needs pictures", "Give at least 16 crops from many pictures.")
    if graph.uncounted:
        raise UsageError(f"the network cannot be quantized: {', '.join(graph.uncounted)} cannot be expressed")
    narrowest = min(*space.weight_bits, *space.activation_bits)
    if narrowest < 2:
        raise UsageError(f"{narrowest} bit cannot be calibrated", "Weights and activations need at least 2 bits.")
    tell = progress or (lambda text, share: None)
    crops = [crop.detach().float() for crop in crops]
    if len(crops) == 1:
        crops = crops * 2
    cost = macs_per_pixel(graph, crops[0].shape[1])
    crops = trimmed(crops, cost, LOOK_MACS, seed)
    batch = affordable(crops, min(BENCH_MACS / cost, BENCH_PIXELS), seed)
    tell("ranges", 0.0)
    varied = [*crops, *(stretched(crop) for crop in crops)]
    ranges = extremes(graph, varied)
    tell("moments", 0.2)
    moments = collect(graph, crops, seed)
    tell("noise gains", 0.6)
    gains = Bench(graph, batch).gains(seed)
    tell("histograms", 0.7)
    seen = spreads(graph, varied, ranges, gains.tensors)
    tell("equalization", 0.9)
    typical = {name: seen[name].typical() for name in equalizable(graph)}
    equalizer = Equalizer(graph, typical, moments, gains, space.weight_bits, symmetric=space.symmetric_activations)
    default = {name: equalizer.choose(name, 8, [8] * len(graph.readers(name))) for name in equalizer.candidates}
    scales = {name: equalizer.candidates[name][alpha] for name, alpha in default.items()}
    equal = scaled(graph, scales)
    gains = gains.scaled(scales)
    observed = Observed(
        crops=tuple(crops),
        bench=Bench(equal, batch),
        compare=Bench(equal, affordable(crops, min(COMPARE_MACS / cost, COMPARE_PIXELS), seed)),
        gains=gains,
        moments={node.name: _scaled_moments(node, moments[node.name], scales) for node in graph.convs},
        spreads={group: spread.divided(scales[group]) if group in scales else spread for group, spread in seen.items()},
        equalizer=equalizer,
        default=default,
    )
    result = Calibration(equal, space, observed)
    tell("calibrated", 1.0)
    return result


def _scaled_moments(reader: Node, moments: Moments, scales: Mapping[str, np.ndarray]) -> Moments:
    source = reader.inputs[0]
    return moments.scaled(input_factors(reader, scales[source])) if source in scales else moments


def int_bias(bias: np.ndarray, source: TensorFormat, scale: np.ndarray) -> np.ndarray:
    """A bias ``float64[O]`` in units of ``s_x * s_w[c]``: ``int64[O]``, within 32 bits for inputs of at most 8 bits."""
    units = np.rint(bias / (float(source.scale) * scale.astype(np.float64)))
    if not source.is_wide:
        units = np.clip(units, -INT32_LIMIT, INT32_LIMIT)
    return units.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Observed:
    """What calibration saw of the equalized network.

    ``crops``: the pictures; ``bench``: windows of them to measure on, ``compare``: fewer of them; ``gains``: noise gains;
    ``moments`` of every convolution's input, by the convolution's name; ``spreads``: histograms by quantizer group;
    ``equalizer``: other scales of the tensors; ``default``: index of the scales that the network has.
    """

    crops: tuple[Tensor, ...]
    bench: Bench
    compare: Bench
    gains: Gains
    moments: dict[str, Moments]
    spreads: dict[str, ChannelSpreads]
    equalizer: Equalizer
    default: dict[str, int]


class Calibration:
    """Number formats of every choice, for one network and one search space.

    ``graph`` is equalized for 8-bit weights and activations. A plan of other widths equalizes its tensors differently: its
    formats and integers then differ from those that ``format`` and ``weight`` report, which refer to tensors and weights of
    ``graph``.

    Attributes:
        graph: the equalized network; its function is that of the original.
        space: the choices.
        quantizer: one of ``QUANTIZERS``.
    """

    def __init__(self, graph: Graph, space: SearchSpace, observed: Observed, quantizer: str = QUANTIZERS[0]) -> None:
        self.graph, self.space, self._seen, self.quantizer = graph, space, observed, quantizer
        self._by = {quantizer: self}
        self._quantizer_of = graph.quantizer_groups()
        split = len(space.layer_names)
        width_of = graph.width_groups()
        groups = {name: split + i for i, name in enumerate(space.group_names)}
        self._tensor_column = {node.name: groups[width_of[node.name]] for node in graph.nodes}
        self._layer_column = {name: i for i, name in enumerate(space.layer_names)}
        self._readers = {name: tuple(r.name for r in graph.readers(name)) for name in observed.default}
        self._pictures = self._picture_groups()
        self._formats: dict[tuple[str, int, int], TensorFormat] = {}
        self._rounded: dict[tuple[str, int, int], RoundedLayer] = {}
        self._last_rounder: tuple[tuple[str, int], Rounder] | None = None
        self._layers: dict[tuple[str, int, TensorFormat, int, int], LayerIntegers | LayerFloats] = {}
        self._prepared: dict[tuple[str, int, TensorFormat, TensorFormat, int, int], Prepared] = {}

    def within(self, space: SearchSpace) -> Calibration:
        """The same calibration for a space of fewer widths of the same network, which mean the same."""
        return Calibration(self.graph, space, self._seen, self.quantizer)

    def by(self, quantizer: str) -> Calibration:
        """What was observed, turned into numbers by another of ``QUANTIZERS``; kept once made."""
        if quantizer not in self._by:
            self._by[quantizer] = other = Calibration(self.graph, self.space, self._seen, quantizer)
            other._by = self._by
        return self._by[quantizer]

    def _picture_groups(self) -> set[str]:
        """Quantizer groups on the grid of a picture: those of the input and the output, where nothing else is written in them."""
        found = set()
        written = [node for node in self.graph.nodes if quantizes(node)]
        for end in (self.graph.input, self.graph.output):
            group = self._quantizer_of[end.name]
            if sum(self._quantizer_of[node.name] == group for node in written) == 1:
                found.add(group)
        return found

    def _default(self, tensor: str) -> int:
        return self._seen.default.get(tensor, 0)

    def _factors(self, tensor: str, alpha: int) -> np.ndarray | None:
        """What divides the channels of a tensor of ``graph`` under another alpha: ``float64[C]``, or None for nothing."""
        if alpha == self._default(tensor):
            return None
        options = self._seen.equalizer.candidates[tensor]
        return options[alpha] / options[self._default(tensor)]

    def _alphas(self, plan_row: np.ndarray) -> dict[str, int]:
        """The best alpha of every equalizable tensor under a plan."""
        bits = self.space.activation_bits
        widths = self.space.weight_bits
        return {
            name: self._seen.equalizer.choose(
                name,
                bits[int(plan_row[self._tensor_column[name]])],
                [widths[int(plan_row[self._layer_column[reader]])] for reader in readers],
            )
            for name, readers in self._readers.items()
        }

    def format(self, node_name: str, choice: int) -> TensorFormat:
        """Format of a node's tensor in ``graph`` for an index into ``space.activation_bits``.

        Raises:
            KeyError: no such node.
        """
        return self._format(node_name, choice, self._default(node_name))

    def _format(self, name: str, choice: int, alpha: int) -> TensorFormat:
        key = (name, choice, alpha)
        if key not in self._formats:
            group = self._group_format(self._quantizer_of[name], choice, alpha)
            self._formats[key] = clamped(group, format_source(self.graph, self.graph[name]))
        return self._formats[key]

    def _group_format(self, group: str, choice: int, alpha: int) -> TensorFormat:
        key = ("group " + group, choice, alpha)
        if key not in self._formats:
            number, symmetric = self.space.tensor_formats[choice], self.space.symmetric_activations
            if group in self._pictures:
                found = picture_format(number, symmetric=symmetric)
            else:
                factors = self._factors(group, alpha)
                spread = self._seen.spreads[group].spread(factors)
                if isinstance(number, Float) or number.is_wide:
                    found = wide_format(spread, number)
                else:
                    options = candidates(spread, number, symmetric=symmetric)
                    plain = self.quantizer == "plain"
                    found = options[0] if plain else choose(self._seen.bench, group, options, factors)
            self._formats[key] = found
        return self._formats[key]

    def _float_weights(self, choice: int) -> Float | None:
        """The floating-point format of a weight choice; None for integers."""
        number = self.space.weight_formats[choice]
        return number if isinstance(number, Float) else None

    def _columns(self, layer_name: str, alpha: int) -> np.ndarray | None:
        node = self.graph[layer_name]
        factors = self._factors(node.inputs[0], alpha)
        return None if factors is None else input_factors(node, factors)

    def _round(self, layer_name: str, choice: int, alpha: int) -> RoundedLayer:
        """Integers of a layer whose input has an alpha; not for half precision. The result has the scale of ``graph``."""
        key = (layer_name, choice, alpha)
        if key not in self._rounded:
            bits, rounder = self.space.weight_bits[choice], self._rounder(layer_name, alpha)
            self._rounded[key] = rounder.nearest(bits) if self.quantizer == "plain" else rounder.best(bits)
        return self._rounded[key]

    def _rounder(self, layer_name: str, alpha: int) -> Rounder:
        """The last one is kept: proxies ask for the widths of a layer one after the other. More would cost memory, 13 MB for a
        3x3 layer of 64 channels and sixteen times as much for 256."""
        if self._last_rounder is None or self._last_rounder[0] != (layer_name, alpha):
            rounder = Rounder(
                self.graph[layer_name],
                self._seen.moments[layer_name],
                self._seen.gains.convs[layer_name],
                self._seen.compare,
                self._columns(layer_name, alpha),
            )
            self._last_rounder = ((layer_name, alpha), rounder)
        return self._last_rounder[1]

    def _usual(self, layer_name: str, choice: int) -> Node:
        """A layer of ``graph`` with the rounded weights that it has beside 8-bit activations and readers of the same width."""
        node = self.graph[layer_name]
        if number := self._float_weights(choice):
            return node.with_weights(**{key: rounded(value, number) for key, value in node.weights.items() if key != "slope"})
        source = node.inputs[0]
        alpha = 0
        if source in self._readers:
            width = self.space.weight_bits[choice]
            alpha = self._seen.equalizer.choose(source, 8, [width] * len(self._readers[source]))
        return exchanged(node, self._round(layer_name, choice, alpha), self._columns(layer_name, alpha))

    def weight(self, layer_name: str, choice: int) -> Tensor:
        """Weights ``float32[O, I/groups, kh, kw]`` of a layer of ``graph`` after rounding, for an index into
        ``space.weight_bits``: what the integers (or halves) stand for."""
        return self._usual(layer_name, choice).weights["weight"]

    def bias(self, layer_name: str, choice: int) -> Tensor:
        """Bias ``float32[O]`` that belongs to ``weight``: corrected for the mean of its error, not yet rounded."""
        node = self._usual(layer_name, choice)
        return torch.from_numpy(bias_of(node)).float()

    def formats(self, plan_row: np.ndarray) -> dict[str, TensorFormat]:
        """Format of every tensor under a plan ``int[decisions]``."""
        return self._formats_of(plan_row, self._alphas(plan_row))

    def _formats_of(self, plan_row: np.ndarray, alphas: Mapping[str, int]) -> dict[str, TensorFormat]:
        return {
            node.name: self._format(node.name, int(plan_row[self._tensor_column[node.name]]), alphas.get(node.name, 0))
            for node in self.graph.nodes
        }

    def _layer(self, name: str, choice: int, source: TensorFormat, alpha_in: int, alpha_out: int) -> LayerIntegers | LayerFloats:
        """Numbers of a layer that reads a tensor of format ``source``: floating point if either of them is."""
        key = (name, choice, source, alpha_in, alpha_out)
        if key in self._layers:
            return self._layers[key]
        divisor = self._factors(name, alpha_out)
        out = np.ones(1) if divisor is None else divisor
        own = self._float_weights(choice)
        number = own or source.number
        if isinstance(number, Float):
            node = self.graph[name]
            if own:
                weight = multiplied(node, self._columns(name, alpha_in)).weights["weight"].numpy()
                bias = bias_of(node)
            else:
                integers = self._round(name, choice, alpha_in)
                weight, bias = integers.dequantized, integers.bias
            real = (weight / out.reshape(-1, 1, 1, 1), bias / out)
            self._layers[key] = LayerFloats(self.space.weight_bits[choice], *(rounded_array(x, number) for x in real))
        else:
            integers = self._round(name, choice, alpha_in)
            scale = (integers.scale / out).astype(np.float32)
            bias = int_bias(integers.bias / out, source, scale)
            self._layers[key] = LayerIntegers(integers.bits, integers.integers, scale, bias)
        return self._layers[key]

    def plan_weight(self, plan_row: np.ndarray, layer_name: str) -> Tensor:
        """Weights ``float32[O, I/groups, kh, kw]`` of a layer before rounding, in the equalization that a plan has."""
        alphas, node = self._alphas(plan_row), self.graph[layer_name]
        columns = None
        if node.inputs[0] in alphas:
            columns = self._columns(layer_name, alphas[node.inputs[0]])
        weight = multiplied(node, columns).weights["weight"]
        divisor = self._factors(layer_name, alphas[layer_name]) if layer_name in alphas else None
        return weight if divisor is None else weight / torch.from_numpy(divisor).float().view(-1, 1, 1, 1)

    def windows(self, side: int) -> Tensor:
        """The calibration pictures, cut in squares ``[N, C, h, w]`` of ``side`` pixels, or less where a picture is smaller."""
        h, w = (min(side, *(crop.shape[axis] for crop in self._seen.crops)) for axis in (2, 3))
        return torch.cat([squares(crop, h, w) for crop in self._seen.crops])

    def quantized(self, plan_row: np.ndarray) -> QuantizedGraph:
        """The network of a plan ``int[decisions]``, every number decided."""
        alphas = self._alphas(plan_row)
        formats = self._formats_of(plan_row, alphas)
        layers = {}
        for node in self.graph.convs:
            source, choice = node.inputs[0], int(plan_row[self._layer_column[node.name]])
            layers[node.name] = self._layer(node.name, choice, formats[source], alphas.get(source, 0), alphas.get(node.name, 0))
        return QuantizedGraph(self.graph, formats, layers)

    def simulate(self, plan_row: np.ndarray, x: Tensor) -> Tensor:
        """Output of a plan for ``x [N, C, H, W]`` in 0..1, in real values: the integer engine's arithmetic up to a rare code."""
        alphas = self._alphas(plan_row)
        formats = self._formats_of(plan_row, alphas)

        def layer(node: Node) -> Prepared:
            choice = int(plan_row[self._layer_column[node.name]])
            source, target = formats[node.inputs[0]], formats[node.name]
            ends = (alphas.get(node.inputs[0], 0), alphas.get(node.name, 0))
            key = (node.name, choice, source, target, *ends)
            if key not in self._prepared:
                self._prepared[key] = prepare(node, self._layer(node.name, choice, source, *ends), source, target)
            return self._prepared[key]

        return simulate(self.graph, formats, layer, x)
