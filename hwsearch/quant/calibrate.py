"""Calibration: from a floating-point network and pictures to the number formats of every choice of the search space.

Activations and weights are calibrated apart from each other, on floating-point inputs, so that the result for one choice does not depend on the
other choices of a plan. Every width is computed when it is first asked for, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import UsageError
from hwsearch.quant.equalize import Ranges, choose_scales, input_factors, scaled
from hwsearch.quant.model import LayerFloats, LayerIntegers, QuantizedGraph, TensorFormat
from hwsearch.quant.moments import Moments, collect
from hwsearch.quant.observe import Bench, Gains, affordable, macs_per_pixel, quantizes
from hwsearch.quant.ranges import (
    Spread,
    candidates,
    choose,
    clamped,
    extremes,
    format_source,
    picture_format,
    spreads,
    wide_format,
)
from hwsearch.quant.simulate import Prepared, prepare, simulate
from hwsearch.quant.weights import RoundedLayer, bias_of, round_layer
from searchspaces.graph import Graph, Node
from searchspaces.space import SearchSpace

BENCH_MACS = 4e9
"""Multiply-accumulates of one measurement of the noise at the output: a tenth of a second on one core."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is done, 0..1."""

INT32 = 2**31 - 1


def calibrate(
    graph: Graph, crops: Sequence[Tensor], space: SearchSpace, *, seed: int = 0, progress: Progress | None = None
) -> Calibration:
    """Measure ranges, moments and noise gains of a network on pictures, and equalize it.

    Args:
        crops: network inputs ``[1, C, h, w]`` in 0..1; at least 16 from many pictures give good formats.
        seed: of the sampling of patches, windows and probes.
    Raises:
        UsageError: no crops, or the graph contains operations that cannot be executed.
    """
    if not crops:
        raise UsageError("calibration needs pictures", "Give at least 16 crops from many pictures.")
    if graph.uncounted:
        raise UsageError(f"the network cannot be quantized: {', '.join(graph.uncounted)} cannot be expressed")
    tell = progress or (lambda text, share: None)
    crops = [crop.detach().float() for crop in crops]
    if len(crops) == 1:
        crops = crops * 2
    batch = affordable(crops, macs_per_pixel(graph, crops[0].shape[1]), BENCH_MACS, seed)
    tell("ranges", 0.0)
    ranges = extremes(graph, crops)
    tell("moments", 0.2)
    moments = collect(graph, crops, seed)
    tell("noise gains", 0.6)
    gains = Bench(graph, batch).gains(seed)
    tell("equalization", 0.7)
    integers = [bits for bits in space.weight_bits if bits <= 8] or [8]
    counted = sorted({integers[0] if integers[0] > 2 else integers[min(1, len(integers) - 1)], integers[len(integers) // 2], integers[-1]})
    scales = choose_scales(graph, ranges, moments, gains, counted, space.symmetric_activations)
    tell("histograms", 0.8)
    equal = scaled(graph, scales)
    observed = Observed(
        bench=Bench(equal, batch),
        gains=gains.scaled(scales),
        moments={node.name: _scaled_moments(node, moments[node.name], scales) for node in graph.convs},
        spreads={},
    )
    found = {name: Ranges(r.low / scales[name], r.high / scales[name]) if name in scales else r for name, r in ranges.items()}
    observed.spreads.update(spreads(equal, crops, found, observed.gains.tensors))
    result = Calibration(equal, space, observed)
    tell("calibrated", 1.0)
    return result


def _scaled_moments(reader: Node, moments: Moments, scales: Mapping[str, np.ndarray]) -> Moments:
    source = reader.inputs[0]
    return moments.scaled(input_factors(reader, scales[source])) if source in scales else moments


@dataclass(frozen=True, eq=False)
class Observed:
    """What calibration saw of the equalized network: the windows to measure on, noise gains, moments of every convolution's input by
    the convolution's name, and histograms by quantizer group."""

    bench: Bench
    gains: Gains
    moments: dict[str, Moments]
    spreads: dict[str, Spread]


class Calibration:
    """Number formats of every choice, for one network and one search space.

    Attributes:
        graph: the equalized network; its function is that of the original.
        space: the choices.
    """

    def __init__(self, graph: Graph, space: SearchSpace, observed: Observed) -> None:
        self.graph, self.space, self._seen = graph, space, observed
        self._quantizer_of = graph.quantizer_groups()
        self._columns = {name: i for i, name in enumerate(space.names)}
        split = len(space.layer_names)
        width_of = graph.width_groups()
        groups = {name: split + i for i, name in enumerate(space.group_names)}
        self._tensor_column = {node.name: groups[width_of[node.name]] for node in graph.nodes}
        self._layer_column = {name: i for i, name in enumerate(space.layer_names)}
        self._pictures = self._picture_groups()
        self._formats: dict[tuple[str, int], TensorFormat] = {}
        self._rounded: dict[tuple[str, int], RoundedLayer] = {}
        self._layers: dict[tuple[str, int, TensorFormat], LayerIntegers | LayerFloats] = {}
        self._prepared: dict[tuple[str, int, TensorFormat, TensorFormat], Prepared] = {}

    def _picture_groups(self) -> set[str]:
        """Quantizer groups on the grid of a picture: those of the input and of the output, where nothing else is written in them."""
        found = set()
        written = [node for node in self.graph.nodes if quantizes(node)]
        for end in (self.graph.input, self.graph.output):
            group = self._quantizer_of[end.name]
            writers = [node.name for node in written if self._quantizer_of[node.name] == group]
            if len(writers) == 1:
                found.add(group)
        return found

    def format(self, node_name: str, choice: int) -> TensorFormat:
        """Format of a node's tensor for an index into ``space.activation_bits``.

        Raises:
            KeyError: no such node.
        """
        key = (node_name, choice)
        if key not in self._formats:
            node = self.graph[node_name]
            self._formats[key] = clamped(self._group_format(self._quantizer_of[node_name], choice), format_source(self.graph, node))
        return self._formats[key]

    def _group_format(self, group: str, choice: int) -> TensorFormat:
        key = ("group " + group, choice)
        if key not in self._formats:
            bits = self.space.activation_bits[choice]
            symmetric, wide = self.space.symmetric_activations, self.space.wide_is_float
            if group in self._pictures:
                found = picture_format(bits, symmetric=symmetric, wide_is_float=wide)
            elif bits > 8:
                found = wide_format(self._seen.spreads[group], wide_is_float=wide)
            else:
                found = choose(self._seen.bench, group, candidates(self._seen.spreads[group], bits, symmetric=symmetric))
            self._formats[key] = found
        return self._formats[key]

    def _is_half(self, layer_choice: int) -> bool:
        return self.space.wide_is_float and self.space.weight_bits[layer_choice] > 8

    def rounded(self, layer_name: str, choice: int) -> RoundedLayer:
        """Integers of a layer for an index into ``space.weight_bits``; not for half precision."""
        key = (layer_name, choice)
        if key not in self._rounded:
            self._rounded[key] = round_layer(
                self.graph[layer_name],
                self.space.weight_bits[choice],
                self._seen.moments[layer_name],
                self._seen.gains.convs[layer_name],
                self._seen.bench,
            )
        return self._rounded[key]

    def weight(self, layer_name: str, choice: int) -> Tensor:
        """Weights ``float32[O, I/groups, kh, kw]`` after rounding: what the integers (or halves) stand for."""
        if self._is_half(choice):
            return self.graph[layer_name].weights["weight"].half().float()
        return torch.from_numpy(self.rounded(layer_name, choice).dequantized)

    def bias(self, layer_name: str, choice: int) -> Tensor:
        """Bias ``float32[O]`` that belongs to ``weight``: corrected for the mean of its error, not yet rounded."""
        if self._is_half(choice):
            return torch.from_numpy(bias_of(self.graph[layer_name])).half().float()
        return torch.from_numpy(self.rounded(layer_name, choice).bias).float()

    def formats(self, plan_row: np.ndarray) -> dict[str, TensorFormat]:
        """Format of every tensor under a plan ``int[decisions]``."""
        return {node.name: self.format(node.name, int(plan_row[self._tensor_column[node.name]])) for node in self.graph.nodes}

    def layer(self, layer_name: str, choice: int, source: TensorFormat) -> LayerIntegers | LayerFloats:
        """Numbers of a layer that reads a tensor of format ``source``: floating point if either of them is."""
        key = (layer_name, choice, source)
        if key not in self._layers:
            if source.is_float or self._is_half(choice):
                self._layers[key] = LayerFloats(
                    self.space.weight_bits[choice],
                    self.weight(layer_name, choice).half().float().numpy(),
                    self.bias(layer_name, choice).half().float().numpy(),
                )
            else:
                rounded = self.rounded(layer_name, choice)
                unit = float(source.scale) * rounded.scale.astype(np.float64)
                bias = np.rint(rounded.bias / unit)
                if source.bits <= 8:
                    bias = np.clip(bias, -INT32, INT32)
                self._layers[key] = LayerIntegers(rounded.bits, rounded.integers, rounded.scale, bias.astype(np.int64))
        return self._layers[key]

    def quantized(self, plan_row: np.ndarray) -> QuantizedGraph:
        """The network of a plan ``int[decisions]``, every number decided."""
        formats = self.formats(plan_row)
        layers = {
            node.name: self.layer(node.name, int(plan_row[self._layer_column[node.name]]), formats[node.inputs[0]])
            for node in self.graph.convs
        }
        return QuantizedGraph(self.graph, formats, layers)

    def simulate(self, plan_row: np.ndarray, x: Tensor) -> Tensor:
        """Output of a plan for ``x [N, C, H, W]`` in 0..1, in real values: the arithmetic of the integer engine up to a rare code."""
        formats = self.formats(plan_row)

        def layer(node: Node) -> Prepared:
            name = node.name
            choice = int(plan_row[self._layer_column[name]])
            source, target = formats[self.graph[name].inputs[0]], formats[name]
            key = (name, choice, source, target)
            if key not in self._prepared:
                self._prepared[key] = prepare(self.graph[name], self.layer(name, choice, source), source, target)
            return self._prepared[key]

        return simulate(self.graph, formats, layer, x)
