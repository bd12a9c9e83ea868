"""What a method has answered, kept: every format and every layer is worked out once, whichever plans ask for it."""

from __future__ import annotations

import numpy as np

from hwmodels.numbers import Float, Int, NumberFormat
from hwsearch.quant.engine.simulate import Prepared, prepare
from hwsearch.quant.method import Method
from hwsearch.quant.network.formats import TensorFormat, rounded_array
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers, as_kernel
from hwsearch.quant.network.rewriting import AS_IT_IS, Scales
from hwsearch.quant.ranges.given import picture_format, picture_groups, share_format, share_groups
from hwsearch.quant.ranges.ranges import clamped, format_source
from hwsearch.quant.weights.rounder import RoundedLayer, bias_of, columns_of, multiplied
from hwsearch.quant.weights.sums import layer_integers


class MethodCache:
    """Formats and layers of one network by one method, for every number format.

    What no method decides is decided here: the grids of pictures and of what a softmax writes, floating point, where fused
    ReLUs clamp, and biases in the units of a layer's input.

    Attributes:
        method: what answers.
        graph: its network.
    """

    def __init__(self, method: Method, *, symmetric: bool) -> None:
        self.method, self.graph, self._symmetric = method, method.graph, symmetric
        self._group_of = self.graph.quantizer_groups()
        self._pictures, self._shares = picture_groups(self.graph), share_groups(self.graph)
        self._groups: dict[tuple[str, NumberFormat, int], TensorFormat] = {}
        self._formats: dict[tuple[str, NumberFormat, int], TensorFormat] = {}
        self._rounded: dict[tuple[str, Int, int], RoundedLayer] = {}
        self._layers: dict[tuple[str, NumberFormat, TensorFormat, int, int], LayerIntegers | LayerFloats] = {}
        self._prepared: dict[tuple[str, NumberFormat, TensorFormat, TensorFormat, int, int], Prepared] = {}

    def tensor(self, name: str, number: NumberFormat, scales: Scales = AS_IT_IS) -> TensorFormat:
        """Format of a node's tensor.

        Raises:
            KeyError: no such node.
        """
        key = (name, number, scales.key)
        if key not in self._formats:
            group = self._group(self._group_of[name], number, scales)
            self._formats[key] = clamped(group, format_source(self.graph, self.graph[name]))
        return self._formats[key]

    def _group(self, group: str, number: NumberFormat, scales: Scales) -> TensorFormat:
        key = (group, number, scales.key)
        if key not in self._groups:
            if group in self._pictures:
                found = picture_format(number, symmetric=self._symmetric)
            elif group in self._shares:
                found = share_format(number, symmetric=self._symmetric)
            elif isinstance(number, Float):
                found = TensorFormat(number)
            else:
                found = self.method.tensor(group, number, scales)
            self._groups[key] = found
        return self._groups[key]

    def rounded(self, name: str, number: Int, scales: Scales) -> RoundedLayer:
        """Integers of a layer whose input has scales. The result has the scale of ``graph``."""
        key = (name, number, scales.key)
        if key not in self._rounded:
            self._rounded[key] = self.method.layer(name, number, scales)
        return self._rounded[key]

    def layer(
        self, name: str, number: NumberFormat, source: TensorFormat, before: Scales, after: Scales
    ) -> LayerIntegers | LayerFloats:
        """Numbers of a layer that reads a tensor of format ``source`` with scales ``before`` and writes one with ``after``:
        floating point if its input or its weights are."""
        key = (name, number, source, before.key, after.key)
        if key not in self._layers:
            out = np.ones(1) if after.factors is None else after.factors
            floating = number if isinstance(number, Float) else source.number
            if isinstance(floating, Float):
                self._layers[key] = self._in_floats(name, number, floating, before, out)
            else:
                assert isinstance(number, Int)
                integers = self.rounded(name, number, before)
                scale = (integers.scale / out).astype(np.float32)
                self._layers[key] = layer_integers(
                    integers.bits, as_kernel(integers.integers), scale, integers.bias / out, source
                )
        return self._layers[key]

    def _in_floats(self, name: str, number: NumberFormat, computed: Float, before: Scales, out: np.ndarray) -> LayerFloats:
        """A layer computed in floating point, its weights divided by ``out``: rounded to integers before, or not."""
        if isinstance(number, Int):
            integers = self.rounded(name, number, before)
            weight, bias = integers.dequantized, integers.bias
        else:
            node = self.graph[name]
            weight, bias = multiplied(node, columns_of(node, before)).weights["weight"].numpy(), bias_of(node)
        real = (as_kernel(weight) / out.reshape(-1, 1, 1, 1), bias / out)
        return LayerFloats(number.bits, *(rounded_array(x, computed) for x in real))

    def prepared(
        self, name: str, number: NumberFormat, source: TensorFormat, target: TensorFormat, before: Scales, after: Scales
    ) -> Prepared:
        """The same layer as torch runs it."""
        key = (name, number, source, target, before.key, after.key)
        if key not in self._prepared:
            self._prepared[key] = prepare(self.graph[name], self.layer(name, number, source, before, after), source, target)
        return self._prepared[key]
