"""Calibration: from a floating-point network and pictures to the number formats of every choice of the search space.

Activations and weights are calibrated apart from each other, on floating-point inputs, so that the result for one choice does
not depend on the other choices of a plan. How they are found is a method's business (``quant.method``); every width is computed
when it is first asked for, and kept (``quant.cache``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import UsageError
from hwmodels.numbers import INT8, Float
from hwmodels.parts.elsewhere import given
from hwsearch.quant import methods
from hwsearch.quant.cache import Beside, MethodCache
from hwsearch.quant.engine.simulate import Prepared, simulate
from hwsearch.quant.learn.kept import Kept
from hwsearch.quant.method import Draft, Method, Progress
from hwsearch.quant.mixture import MadeBy, Mixture
from hwsearch.quant.network.formats import TensorFormat, rounded
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from hwsearch.quant.network.rewriting import AS_IT_IS, Numbers, Scales
from hwsearch.quant.observations import Observations
from hwsearch.quant.observe.moments import Moments
from hwsearch.quant.overflow import check_overflow
from hwsearch.quant.weights.rounder import bias_of, columns_of, exchanged, multiplied
from searchspaces.ir.graph import Graph, Node
from searchspaces.space import PlanLike, SearchSpace


def calibrate(
    graph: Graph,
    crops: Sequence[Tensor],
    space: SearchSpace,
    *,
    method: str = methods.USUAL,
    seed: int = 0,
    progress: Progress | None = None,
    teacher: Graph | None = None,
) -> Calibration:
    """Let a method look at a network on pictures.

    Args:
        crops: network inputs ``[1, C, h, w]`` in 0..1; at least 16 from many pictures give good formats.
        method: its name (see ``quant.methods``); others can be asked later, with ``by``.
        seed: of the sampling of patches, windows and probes.
        teacher: see ``quant.method.Draft``.
    Raises:
        UsageError: no crops, no such method, a width below 2 bits, or operations in the graph that cannot be executed.
        FileError: values of the network overflow the floating-point format that the space offers.
    """
    if not crops:
        raise UsageError("calibration needs pictures", "Give at least 16 crops from many pictures.")
    if graph.uncounted:
        raise UsageError(f"the network cannot be quantized: {', '.join(graph.uncounted)} cannot be expressed")
    narrowest = min(*space.weight_bits, *space.activation_bits)
    if narrowest < 2:
        raise UsageError(f"{narrowest} bit cannot be calibrated", "Weights and activations need at least 2 bits.")
    crops = [crop.detach().float() for crop in crops]
    if len(crops) == 1:
        crops = crops * 2
    symmetric = space.symmetric_activations
    seen = Observations(graph, crops, space.weight_bits, symmetric=symmetric, seed=seed, progress=progress, teacher=teacher)
    result = Calibration(space, seen, method)
    check_overflow(result, seen.crops[0])
    if progress is not None:
        progress("calibrated", 1.0)
    return result


def _reach(seen: Observations, group: str, scales: Scales) -> float:
    spread = seen.spreads[group].spread(scales.factors)
    return max(-spread.low, spread.high)


class Calibration:
    """Number formats of every choice, for one network, one search space and one method.

    ``graph`` is the network as the method rewrote it for all plans. Under a plan some of its tensors may be rescaled: formats and
    integers of the plan then differ from those that ``format`` and ``weight`` report, which refer to tensors and weights of
    ``graph``.

    Attributes:
        graph: the network that is quantized; its function is that of the original.
        space: the choices.
        method: name of the method.
    """

    def __init__(self, space: SearchSpace, seen: Observations, method: str, caches: dict[str, MethodCache] | None = None) -> None:
        self.space, self.method, self._seen = space, method, seen
        self._caches = {} if caches is None else caches
        if method not in self._caches:
            self._caches[method] = self._cached(
                given(methods.load(method).observe(seen), Method, f"observe of the method {method}", "check_method")
            )
        self._cache = self._caches[method]
        self.graph = self._cache.graph
        split = len(space.layer_names)
        width_of = self.graph.width_groups()
        groups = {name: split + i for i, name in enumerate(space.group_names)}
        self._tensor_column = {node.name: groups[width_of[node.name]] for node in self.graph.nodes}
        columns = {name: i for i, name in enumerate(space.layer_names)}
        self._layer_column = {name: columns[users[0]] for name, users in self.graph.weight_groups.items()}

    def within(self, space: SearchSpace) -> Calibration:
        """The same calibration for a space of fewer numbers of the same network, which mean the same."""
        return Calibration(space, self._seen, self.method, self._caches)

    def by(self, method: str) -> Calibration:
        """What was observed, turned into numbers by another method; its numbers are kept once made."""
        return self if method == self.method else Calibration(self.space, self._seen, method, self._caches)

    def settled(self, given: MadeBy) -> Calibration:
        """The same with the method of some layers and tensors settled, where the method is a mixture.

        Raises:
            UsageError: it is none of those that are mixed, or there is no such layer or tensor.
        """
        if not (given.layers or given.tensors):
            return self
        if not isinstance(mixture := self._cache.method, Mixture):
            raise UsageError(f"the method {self.method} makes all layers and tensors of a plan")
        return Calibration(self.space, self._seen, self.method, {self.method: self._cached(mixture.settled(given))})

    def _cached(self, method: Method) -> MethodCache:
        seen = self._seen
        return MethodCache(
            method,
            lambda: seen.moments,
            lambda group, scales: _reach(seen, group, scales),
            symmetric=self.space.symmetric_activations,
        )

    @property
    def moments(self) -> Mapping[str, Moments]:
        """Second moments of what every layer of the network as it was traced reads, by its name."""
        return self._seen.moments

    def made_by(self, plan_row: PlanLike) -> MadeBy:
        """Which method made each layer and tensor of a plan ``int[decisions]``, where the method is a mixture; else nothing."""
        mixture = self._cache.method
        if not isinstance(mixture, Mixture):
            return MadeBy()
        return mixture.made_by(self.numbers(plan_row))

    def decide(self, progress: Progress, plan_row: PlanLike | None = None) -> None:
        """Let a mixture of methods choose now for every format of the space, or of a plan ``int[decisions]``, telling how far it
        has come; it would do so without a word when a format is first asked for. Other methods have nothing to choose."""
        mixture = self._cache.method
        if not isinstance(mixture, Mixture):
            return
        if plan_row is not None:
            numbers = self.numbers(plan_row)
            layers, tensors = set(numbers.layers.values()), set(numbers.tensors.values())
        else:
            offered = [{int(choice) for choice in self.space.choices(d)} for d in range(self.space.decisions)]
            split = len(self.space.layer_names)
            layers = {self.space.weight_formats[choice] for choice in set().union(*offered[:split])}
            tensors = {self.space.tensor_formats[choice] for choice in set().union(*offered[split:])}
        mixture.decide(sorted(layers), sorted(tensors), progress)

    def numbers(self, plan_row: PlanLike) -> Numbers:
        """The number formats of a plan ``int[decisions]``, of every layer and tensor."""
        return Numbers(
            {name: self.space.weight_formats[int(plan_row[column])] for name, column in self._layer_column.items()},
            {name: self.space.tensor_formats[int(plan_row[column])] for name, column in self._tensor_column.items()},
        )

    def format(self, node_name: str, choice: int) -> TensorFormat:
        """Format of a node's tensor in ``graph`` for an index into ``space.tensor_formats``.

        Raises:
            KeyError: no such node.
        """
        return self._cache.tensor(node_name, self.space.tensor_formats[choice])

    def _usual(self, layer_name: str, choice: int) -> Node:
        """A layer of ``graph`` with the rounded weights that it has beside 8-bit activations and layers of the same width."""
        node, number = self.graph[layer_name], self.space.weight_formats[choice]
        if isinstance(number, Float):
            return node.with_weights(**{key: rounded(value, number) for key, value in node.weights.items() if key != "slope"})
        alike = Numbers(dict.fromkeys(self._layer_column, number), dict.fromkeys(self._tensor_column, INT8))
        scales = self._cache.method.rewrite(alike).get(node.inputs[0], AS_IT_IS)
        return exchanged(node, self._cache.rounded(layer_name, number, scales), columns_of(node, scales))

    def weight(self, layer_name: str, choice: int) -> Tensor:
        """Weights ``float32[O, I/groups, kh, kw]`` of a layer of ``graph`` after rounding, for an index into
        ``space.weight_formats``: what the integers (or floats) stand for."""
        return self._usual(layer_name, choice).weights["weight"]

    def bias(self, layer_name: str, choice: int) -> Tensor:
        """Bias ``float32[O]`` that belongs to ``weight``: corrected for the mean of its error, not yet rounded."""
        node = self._usual(layer_name, choice)
        return torch.from_numpy(bias_of(node)).float()

    def formats(self, plan_row: PlanLike) -> dict[str, TensorFormat]:
        """Format of every tensor under a plan ``int[decisions]``."""
        numbers = self.numbers(plan_row)
        return self._formats(numbers, self._cache.method.rewrite(numbers))

    def _formats(self, numbers: Numbers, scales: Mapping[str, Scales]) -> dict[str, TensorFormat]:
        return {name: self._cache.tensor(name, number, scales.get(name, AS_IT_IS)) for name, number in numbers.tensors.items()}

    def draft(self, plan_row: PlanLike) -> Draft:
        """A plan ``int[decisions]`` as calibrated part by part, for ``Method.finish``."""
        numbers = self.numbers(plan_row)
        scales = self._cache.method.rewrite(numbers)
        formats = self._formats(numbers, scales)
        layers, nodes = {}, {}
        for node in self.graph.convs:
            source = node.inputs[0]
            before, after = scales.get(source, AS_IT_IS), scales.get(node.name, AS_IT_IS)
            beside = self._beside(node, formats)
            layers[node.name] = self._cache.layer(node.name, numbers.layers[node.name], formats[source], before, after, beside)
            nodes[node.name] = _rescaled(node, before, after)
        quantized, network = QuantizedGraph(self.graph, formats, layers), self.graph.replaced(nodes)
        return Draft(quantized, network, self._seen.crops, teacher=self.teacher)

    @property
    def teacher(self) -> Graph | None:
        """See ``quant.method.Draft``."""
        return self._seen.teacher

    def quantized(self, plan_row: PlanLike) -> QuantizedGraph:
        """The network of a plan ``int[decisions]``, every number decided."""
        return self.draft(plan_row).quantized

    def finished(
        self,
        plan_row: PlanLike,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        effort: float = 1.0,
        kept: Kept | None = None,
    ) -> QuantizedGraph:
        """The network of a plan ``int[decisions]`` as it is used: the method has looked at it as a whole. ``effort``, ``kept``:
        see ``quant.method.Draft``; ``kept`` must be of this plan, method, seed and effort alone.

        Raises:
            ValueError: the method parts weights that several layers use.
        """
        found = self._cache.method.finish(replace(self.draft(plan_row), effort=effort, kept=kept), seed, progress)
        for users in self.graph.weight_groups.values():
            own = [layer for name in users if isinstance(layer := found.layers[name], LayerIntegers)]
            if any(not np.array_equal(own[0].weight, one.weight) or not np.array_equal(own[0].scale, one.scale) for one in own):
                raise ValueError(f"the method {self.method} parts the weights that {', '.join(users)} use together")
        return found

    def _beside(self, node: Node, formats: Mapping[str, TensorFormat]) -> Beside:
        """The other layers that use a layer's weights, with what they read under a plan."""
        users = self.graph.weight_groups[node.name]
        return tuple((name, formats[self.graph[name].inputs[0]]) for name in users if name != node.name)

    def simulate(self, plan_row: PlanLike, x: Tensor) -> Tensor:
        """Output of a plan for ``x [N, C, H, W]`` in 0..1, in real values: the integer engine's arithmetic up to a rare code."""
        numbers = self.numbers(plan_row)
        scales = self._cache.method.rewrite(numbers)
        formats = self._formats(numbers, scales)

        def layer(node: Node) -> Prepared:
            source = node.inputs[0]
            before, after = scales.get(source, AS_IT_IS), scales.get(node.name, AS_IT_IS)
            number, beside = numbers.layers[node.name], self._beside(node, formats)
            return self._cache.prepared(node.name, number, formats[source], formats[node.name], before, after, beside)

        return simulate(self.graph, formats, layer, x)


def _rescaled(node: Node, before: Scales, after: Scales) -> Node:
    """A layer before rounding, between tensors with scales."""
    found = multiplied(node, columns_of(node, before))
    if after.factors is None:
        return found
    out = torch.from_numpy(after.factors).float()
    scaled = {"weight": found.weights["weight"] / out.view(-1, 1, 1, 1)}
    return found.with_weights(**scaled, **({"bias": found.weights["bias"] / out} if "bias" in found.weights else {}))
