"""What a method has answered, kept: every format and every layer is worked out once, whichever plans ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from hwmodels.numbers import FP16, Float, Int, NumberFormat
from hwsearch.quant.engine.simulate import Prepared, prepare
from hwsearch.quant.method import Method
from hwsearch.quant.network.formats import TensorFormat, power_of_two_scale, rounded_array
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers, as_kernel
from hwsearch.quant.network.rewriting import AS_IT_IS, Scales
from hwsearch.quant.observe.moments import Moments
from hwsearch.quant.ranges.given import picture_format, picture_groups, share_format, share_groups
from hwsearch.quant.ranges.ranges import clamped, format_source
from hwsearch.quant.weights.floating import computed_in, rounded_in_groups, rounded_weights
from hwsearch.quant.weights.rounder import RoundedLayer, bias_of, columns_of, multiplied, used_again
from hwsearch.quant.weights.sums import alike, layer_integers

Beside = tuple[tuple[str, TensorFormat], ...]
"""Other layers with the same weights: their names, and the formats that they read."""


class MethodCache:
    """Formats and layers of one network by one method, for every number format.

    What no method decides is decided here: the grids of pictures and of what a softmax writes, floating point, where fused
    ReLUs clamp, and biases in the units of a layer's input. Weights that several layers use are rounded once, for the first of
    them; the others have its integers and scales, and biases of their own.

    Attributes:
        method: what answers.
        graph: its network.

    Args:
        moments: of what layers read; asked for where a method corrects the biases of layers with the same weights.
        reach: the largest magnitude seen in a quantizer group whose channels are divided by scales.
    """

    def __init__(
        self,
        method: Method,
        moments: Callable[[], Mapping[str, Moments]],
        reach: Callable[[str, Scales], float],
        *,
        symmetric: bool,
    ) -> None:
        self.method, self.graph, self._symmetric = method, method.graph, symmetric
        self._moments, self._reach = moments, reach
        self._group_of = self.graph.quantizer_groups()
        self._pictures, self._shares = picture_groups(self.graph), share_groups(self.graph)
        self._groups: dict[tuple[str, NumberFormat, int], TensorFormat] = {}
        self._formats: dict[tuple[str, NumberFormat, int], TensorFormat] = {}
        self._rounded: dict[tuple[str, Int, int], RoundedLayer] = {}
        self._layers: dict[tuple[str, NumberFormat, TensorFormat, int, int, Beside], LayerIntegers | LayerFloats] = {}
        self._prepared: dict[tuple[str, NumberFormat, TensorFormat, TensorFormat, int, int, Beside], Prepared] = {}

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
                scale = 1.0 if number.is_wide else power_of_two_scale(self._reach(group, scales), number)
                found = TensorFormat(number, scale)
            else:
                found = self.method.tensor(group, number, scales)
            self._groups[key] = found
        return self._groups[key]

    def rounded(self, name: str, number: Int, scales: Scales) -> RoundedLayer:
        """Integers of a layer whose input has scales. The result has the scale of ``graph``."""
        key, first = (name, number, scales.key), self.graph.weight_groups[name][0]
        if key not in self._rounded:
            if name == first:
                self._rounded[key] = self.method.layer(name, number, scales)
            else:
                layer, node = self.rounded(first, number, scales), self.graph[name]
                self._rounded[key] = used_again(node, self.graph[first], layer, lambda: self._moments()[name])
        return self._rounded[key]

    def layer(
        self, name: str, number: NumberFormat, source: TensorFormat, before: Scales, after: Scales, beside: Beside = ()
    ) -> LayerIntegers | LayerFloats:
        """Numbers of a layer that reads a tensor of format ``source`` with scales ``before`` and writes one with ``after``:
        floating point if its input or its weights are. ``beside``: the other layers that use its weights.

        Raises:
            ValueError: the method scales a tensor around weights that several layers use.
        """
        key = (name, number, source, before.key, after.key, beside)
        if beside and (before.factors is not None or after.factors is not None):
            raise ValueError(f"the method rescales what is around {name!r}, whose weights other layers use too")
        if key not in self._layers:
            out = np.ones(1) if after.factors is None else after.factors
            if (computed := computed_in(number, source.number)) is not None:
                self._layers[key] = self._in_floats(name, number, computed, before, out)
            else:
                assert isinstance(number, Int)
                integers = self.rounded(name, number, before)
                scale = (integers.scale / out).astype(np.float32)
                own = layer_integers(integers.bits, as_kernel(integers.integers), scale, integers.bias / out, source)
                others = (self.layer(other, number, fmt, AS_IT_IS, AS_IT_IS) for other, fmt in beside)
                self._layers[key] = alike([own, *(one for one in others if isinstance(one, LayerIntegers))])[0]
        return self._layers[key]

    def _in_floats(self, name: str, number: NumberFormat, computed: Float, before: Scales, out: np.ndarray) -> LayerFloats:
        """A layer computed in floating point, its weights divided by ``out``: rounded to integers before, or not."""
        if isinstance(number, Int) and number.group is None:
            integers = self.rounded(name, number, before)
            weight, bias = integers.dequantized, integers.bias
        else:
            node = self.graph[name]
            weight, bias = multiplied(node, columns_of(node, before)).weights["weight"].numpy(), bias_of(node)
            if isinstance(number, Int):
                weight = rounded_in_groups(weight, number)
        kernel, bias = as_kernel(weight) / out.reshape(-1, 1, 1, 1), bias / out
        if isinstance(number, Float) and number != computed:
            kernel = rounded_weights(kernel, number)
        return LayerFloats(
            number.bits,
            rounded_weights(kernel, computed),
            rounded_array(bias, computed if computed.is_wide else FP16),
            computed,
        )

    def prepared(
        self,
        name: str,
        number: NumberFormat,
        source: TensorFormat,
        target: TensorFormat,
        before: Scales,
        after: Scales,
        beside: Beside = (),
    ) -> Prepared:
        """The same layer as torch runs it."""
        key = (name, number, source, target, before.key, after.key, beside)
        if key not in self._prepared:
            layer = self.layer(name, number, source, before, after, beside)
            self._prepared[key] = prepare(self.graph[name], layer, source, target)
        return self._prepared[key]
