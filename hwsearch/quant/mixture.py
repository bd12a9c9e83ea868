"""Several methods in one plan: each layer and each tensor by the method that does least harm to it (``--method mse+gptq``).

For every width the methods give their numbers of all layers, or of all tensors, as each would alone. Measured is the noise at the
output of the floating-point network, on windows of the calibration pictures, with weights (or tensors) rounded to that width;
``descent`` says in which order. What comes out is no worse, on windows by which no single layer was decided, than the best of
the methods. So an answer for one width does not depend on the other widths of a plan, and the choice of the method needs no
search: methods of one family have one price, so that of (width, method) pairs of one width the solver needs the one with least
harm alone.

What is left out: weights are decided with tensors in floating point, and tensors with such weights; all of one width. The plan
is rescaled and finished as the first named method does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Generic, TypeGuard, TypeVar

import numpy as np

from hwmodels.errors import UsageError
from hwmodels.numbers import Int, NumberFormat
from hwsearch.documents.progress import split
from hwsearch.quant.descent import chosen
from hwsearch.quant.method import Draft, Method, MethodInfo, MethodModule, Progress
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.quant.network.rewriting import AS_IT_IS, Numbers, Scales
from hwsearch.quant.observations import Observations
from hwsearch.quant.observe.gains import Bench, quantizes
from hwsearch.quant.ranges.given import picture_groups, share_groups
from hwsearch.quant.ranges.ranges import clamped
from hwsearch.quant.weights.rounder import RoundedLayer, exchanged, used_again
from searchspaces.ir.graph import Graph, Node

T = TypeVar("T")


@dataclass(frozen=True)
class MadeBy:
    """Which method made what: by layer, and by quantizer group. What no method decides (grids of pictures, floating point) is
    in neither."""

    layers: Mapping[str, str] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Chosen(Generic[T]):
    """Of all layers, or of all tensors, at one width: whose form was taken, and the form."""

    methods: Mapping[str, str]
    forms: Mapping[str, T]


class _Choice(Generic[T]):
    """By which method each layer, or each tensor, is at every width.

    Args:
        names: of the layers or tensors, in the order in which they are decided. settled: whose method needs no deciding.
        ask: gets the form of one of them from a method.
        noise: power at the output, on a bench, when those named have these forms.
        benches: where they are decided, and where outcomes are.
    """

    def __init__(
        self,
        parts: Mapping[str, Method],
        names: Iterable[str],
        settled: Mapping[str, str],
        ask: Callable[[Method, str, Int, Scales], T],
        noise: Callable[[Bench, Mapping[str, T]], float],
        same: Callable[[T, T], bool],
        benches: Callable[[], tuple[Bench, Bench]],
    ) -> None:
        self.names, self._parts, self._settled = tuple(names), parts, settled
        self._ask, self._noise, self._same, self._benches = ask, noise, same, benches
        self._chosen: dict[Int, _Chosen[T]] = {}

    def form(self, name: str, number: Int, scales: Scales) -> T:
        """The form of one of them at a width, between tensors with these scales."""
        if name not in self._settled and scales.factors is None:
            return self.at(number).forms[name]
        return self._ask(self._parts[self.maker(name, number)], name, number, scales)

    def maker(self, name: str, number: Int) -> str:
        """The name of the method that it is by."""
        return self._settled.get(name) or self.at(number).methods[name]

    def at(self, number: Int, progress: Callable[[float], None] = lambda share: None) -> _Chosen[T]:
        """All of them at a width, decided when it is first asked for."""
        if number not in self._chosen:
            forms: dict[str, dict[str, T]] = {}
            for place, name in enumerate(self.names):
                forms[name] = {by: self._ask(part, name, number, AS_IT_IS) for by, part in self._parts.items()}
                progress((place + 1) / len(self.names) / 2)
            decide, judge = (partial(self._noise, bench) for bench in self._benches())
            methods = chosen(forms, decide, judge, self._same, lambda share: progress((1 + share) / 2))
            self._chosen[number] = _Chosen(methods, {name: forms[name][method] for name, method in methods.items()})
            progress(1.0)
        return self._chosen[number]


class Mixture:
    """See ``quant.method.Method``.

    Args:
        parts: methods of one family by name, at least two.
        given: layers and tensors whose method is settled.
    """

    def __init__(self, parts: Mapping[str, Method], seen: Observations, given: MadeBy | None = None) -> None:
        self._parts, self._seen, given = dict(parts), seen, given or MadeBy()
        self._first = next(iter(self._parts.values()))
        owners = dict.fromkeys(users[0] for users in self.graph.weight_groups.values())
        self._layers = _Choice(
            self._parts, owners, given.layers, _layer, self._noise_of_layers, _same_layer, lambda: self._benches
        )
        self._tensors = _Choice(
            self._parts, self._groups, given.tensors, _tensor, self._noise_of_tensors, _same_tensor, lambda: self._benches
        )

    @property
    def graph(self) -> Graph:
        """The network, the same for all parts."""
        return self._first.graph

    @cached_property
    def _benches(self) -> tuple[Bench, Bench]:
        """Where layers and tensors are decided, and where outcomes are."""
        forms = len(self._parts) * max(len(self.graph.convs), len(self._groups))
        return self._seen.bench(self.graph, 2 * forms), self._seen.wider_bench(self.graph)

    @cached_property
    def _groups(self) -> dict[str, list[Node]]:
        """Quantizer groups that methods decide about, with the nodes that are rounded."""
        groups, found = self.graph.quantizer_groups(), dict[str, list[Node]]()
        given = {*picture_groups(self.graph), *share_groups(self.graph)}
        for node in self.graph.nodes:
            if groups[node.name] not in given and quantizes(node):
                found.setdefault(groups[node.name], []).append(node)
        return found

    def settled(self, given: MadeBy) -> Mixture:
        """The same with the methods of some layers and tensors settled.

        Raises:
            UsageError: a layer or tensor that the network does not have, or a method that is not mixed here.
        """
        for kind, named, known in (
            ("layer", given.layers, self._layers.names),
            ("tensor", given.tensors, self._tensors.names),
        ):
            for name, method in named.items():
                if name not in known or method not in self._parts:
                    what = f"no {kind} {name!r}" if name not in known else f"no method {method!r} for the {kind} {name!r}"
                    raise UsageError(f"the plan's mixture of {', '.join(self._parts)} has {what}")
        return Mixture(self._parts, self._seen, given)

    def rewrite(self, numbers: Numbers) -> Mapping[str, Scales]:
        """As all parts rescale."""
        return self._first.rewrite(numbers)

    def tensor(self, group: str, number: Int, scales: Scales) -> TensorFormat:
        """As the method that was chosen for the group at this width."""
        return self._tensors.form(group, number, scales)

    def layer(self, name: str, number: Int, scales: Scales) -> RoundedLayer:
        """As the method that was chosen for the layer at this width."""
        return self._layers.form(name, number, scales)

    def decide(self, layers: Iterable[NumberFormat], tensors: Iterable[NumberFormat], progress: Progress) -> None:
        """Choose now for these formats, which takes minutes of a large network, and not when they are first asked for."""
        work: list[tuple[Callable[[Int, Callable[[float], None]], object], str, Int]] = [
            *((self._layers.at, "layers", number) for number in layers if _asked(number)),
            *((self._tensors.at, "tensors", number) for number in tensors if _asked(number)),
        ]
        for report, (choose, what, number) in zip(split(progress, len(work)), work, strict=True):
            choose(number, partial(report, f"methods of {what} at {number}"))

    def _noise_of_tensors(self, bench: Bench, formats: Mapping[str, TensorFormat]) -> float:
        """Noise power at the output when tensors, by their groups, are rounded."""
        return bench.noise({node.name: clamped(fmt, node).fake for group, fmt in formats.items() for node in self._groups[group]})

    def _noise_of_layers(self, bench: Bench, layers: Mapping[str, RoundedLayer]) -> float:
        """Noise power at the output when layers, by the first that uses their weights, are rounded."""
        nodes = {}
        for name, layer in layers.items():
            for user in self.graph.weight_groups[name]:
                node, moments = self.graph[user], partial(self._seen.moments.__getitem__, user)
                own = layer if user == name else used_again(node, self.graph[name], layer, moments)
                nodes[user] = exchanged(node, own)
        return bench.noise({}, nodes)

    def made_by(self, numbers: Numbers) -> MadeBy:
        """Which method made the layers and tensors of a plan."""
        groups = self.graph.quantizer_groups()
        return MadeBy(
            {name: self._layers.maker(name, number) for name in self._layers.names if _asked(number := numbers.layers[name])},
            {
                groups[name]: self._tensors.maker(groups[name], number)
                for name, number in numbers.tensors.items()
                if groups[name] in self._groups and _asked(number)
            },
        )

    def finish(self, draft: Draft, seed: int, progress: Progress | None = None) -> QuantizedGraph:
        """As the first named does it."""
        return self._first.finish(draft, seed, progress)


def _asked(number: NumberFormat) -> TypeGuard[Int]:
    """Whether methods are asked about this format."""
    return isinstance(number, Int) and number.group is None


def _layer(method: Method, name: str, number: Int, scales: Scales) -> RoundedLayer:
    return method.layer(name, number, scales)


def _tensor(method: Method, group: str, number: Int, scales: Scales) -> TensorFormat:
    return method.tensor(group, number, scales)


def _same_tensor(one: TensorFormat, other: TensorFormat) -> bool:
    return one == other


def _same_layer(one: RoundedLayer, other: RoundedLayer) -> bool:
    return all(np.array_equal(getattr(one, what), getattr(other, what)) for what in ("integers", "scale", "bias"))


class MixtureModule:
    """What a file of a method is, for several of one family, mixed."""

    def __init__(self, modules: Mapping[str, MethodModule]) -> None:
        self._modules = modules
        infos = [module.INFO for module in modules.values()]
        first = infos[0]
        self.INFO: MethodInfo = replace(
            first,
            title=f"{' + '.join(info.title for info in infos)}, layer by layer",
            summary=f"each layer and tensor by that of {', '.join(modules)} with the least noise at the output",
            source="; ".join(dict.fromkeys(["hwsearch", *(info.source for info in infos)])),
            reconstructed="; ".join(filter(None, dict.fromkeys(info.reconstructed for info in infos))),
            exported=all(info.exported for info in infos),
        )

    def observe(self, seen: Observations) -> Mixture:
        """See ``quant.method.MethodModule``."""
        return Mixture({name: module.observe(seen) for name, module in self._modules.items()}, seen)
