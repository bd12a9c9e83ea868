"""What every proxy starts from: the error that each choice makes, and the derivatives of the output by whatever is quantized.

The error of a weight choice is the change of a layer's weights and bias; that of a tensor choice is the change of every tensor of
its width group that is rounded anew. A view or a concatenation repeats values that are already on the grid, so it adds no error.
The tensor that is shown is compared as its user sees it, which the task says: storing a picture on the 8-bit grid costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import UsageError
from hwsearch.quality.proxy import OUTPUT_SQNR
from hwsearch.quant.calibrate import Calibration
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ops.moves.move import View
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Sample, Task

Report = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is done, 0..1."""


def judged_by(task: Task | None, samples: Sequence[Any]) -> Task:
    """The task given, or image super-resolution of the scale that the pictures show."""
    return task or SuperResolution.of(samples)


def _shown(graph: Graph) -> frozenset[str]:
    """Names of the tensors that hold the values of the output: the output itself, seen through views."""
    node, names = graph.output, {graph.output.name}
    while isinstance(node.op, View):
        node = graph[node.inputs[0]]
        names.add(node.name)
    return frozenset(names)


class Errors:
    """Quantization errors of all choices of a calibrated network in a task.

    Attributes:
        members: names of the tensors that are rounded, for each width group.
        users: names of the layers that use the weights of each layer, itself among them.
    """

    def __init__(self, calibration: Calibration, task: Task) -> None:
        self.calibration, self.graph, self.space = calibration, calibration.graph, calibration.space
        self._displayed = task.displayed
        self._shown = _shown(self.graph)
        groups = self.graph.width_groups()
        self.members = {
            group: tuple(n.name for n in self.graph.nodes if groups[n.name] == group and not n.op.moves)
            for group in self.space.group_names
        }
        self.users = self.graph.weight_groups
        self._weights: dict[tuple[str, int], tuple[Tensor, Tensor | None]] = {}

    def weight(self, layer: str, choice: int) -> tuple[Tensor, Tensor | None]:
        """Error of a layer's weights ``[O, I/groups, kh, kw]`` and of its bias ``[O]`` (None where the layer has none)."""
        key = (layer, choice)
        if key not in self._weights:
            held = self.graph[layer].weights
            bias = held.get("bias")
            self._weights[key] = (
                self.calibration.weight(layer, choice) - held["weight"],
                None if bias is None else self.calibration.bias(layer, choice) - bias,
            )
        return self._weights[key]

    def changed(self, layer: str, choice: int) -> Node:
        """A layer with its weights and bias quantized."""
        node, (weight, bias) = self.graph[layer], self.weight(layer, choice)
        held = {"weight": node.weights["weight"] + weight}
        if bias is not None:
            held["bias"] = node.weights["bias"] + bias
        return node.with_weights(**held)

    def tensor(self, name: str, choice: int, x: Tensor) -> Tensor:
        """Error of storing tensor ``name``, whose values are ``x``, any shape."""
        fake = self.calibration.format(name, choice).fake(x)
        return self._displayed(fake) - self._displayed(x) if name in self._shown else fake - x

    def stored(self, values: Mapping[str, Tensor]) -> dict[tuple[str, int], Tensor]:
        """Error of storing every tensor at every width that it may have, by name and choice; ``values``: the tensors."""
        return {
            (member, choice): self.tensor(member, choice, values[member].detach())
            for _, name, is_weight, choice in self.choices()
            if not is_weight
            for member in self.members[name]
        }

    def choices(self) -> Iterator[tuple[int, str, bool, int]]:
        """``(decision, name, whether of a layer's weights, choice)`` for everything that may be chosen."""
        layers = len(self.space.layer_names)
        for decision, name in enumerate(self.space.names):
            for choice in self.space.choices(decision):
                yield decision, name, decision < layers, int(choice)


@dataclass(frozen=True, eq=False)
class Forward:
    """One sample's pass through the float network, ready for derivatives.

    ``view``: the output as quality sees it (``Task.view``), for pictures the luma ``[1, 1, H, W]``, 0..255; ``tensors``: name
    -> values; ``layers``: name -> (weights, bias). Weights that several layers use are one tensor, whose derivative is that by
    all of their uses together.
    """

    view: Tensor
    tensors: dict[str, Tensor]
    layers: dict[str, tuple[Tensor, Tensor | None]]

    def gradients(self, weight: Tensor, keep: bool) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, Tensor | None]]]:
        """Derivatives of ``sum(weight * view)``: by every tensor, and by the weights and biases of every layer.

        Args:
            keep: whether the graph is needed again.
        """
        flat = list(self.tensors.values())
        for pair in self.layers.values():
            flat += [t for t in pair if t is not None]
        found = torch.autograd.grad(self.view, flat, weight, retain_graph=keep, allow_unused=True)
        values = iter([torch.zeros_like(t) if g is None else g for t, g in zip(flat, found, strict=True)])
        tensors = {name: next(values) for name in self.tensors}
        layers = {name: (next(values), None if bias is None else next(values)) for name, (_, bias) in self.layers.items()}
        return tensors, layers


Layers = dict[str, tuple[Tensor, Tensor | None]]
"""Weight and bias of every layer, or the derivatives by them, by its name."""


def forward(graph: Graph, x: Tensor, task: Task) -> Forward:
    """Run the float network on an input ``x``, a batch of one, remembering what derivatives need.

    Raises:
        UsageError: the network has state between frames.
    """
    if graph.remembered:
        raise UsageError(
            f"{graph.name} has state between frames, and this proxy takes derivatives on single pictures",
            f"Use the proxy {OUTPUT_SQNR}.",
        )
    layers: dict[str, tuple[Tensor, Tensor | None]] = {}
    nodes: dict[str, Node] = {}
    for node in graph.convs:
        held = {key: node.weights[key].detach().clone().requires_grad_(True) for key in ("weight", "bias") if key in node.weights}
        if (first := graph.weight_groups[node.name][0]) in layers:
            held["weight"] = layers[first][0]
        layers[node.name] = (held["weight"], held.get("bias"))
        nodes[node.name] = node.with_weights(**held)
    tensors: dict[str, Tensor] = {}

    def remember(node: Node, value: Tensor) -> Tensor:
        value = value if value.requires_grad else value.detach().requires_grad_(True)
        tensors[node.name] = value
        return value

    with torch.enable_grad():
        output = execute(graph.replaced(nodes), x, remember)
        return Forward(task.view(output), tensors, layers)


def tensors(graph: Graph, x: Tensor) -> dict[str, Tensor]:
    """Every tensor of the float network on an input ``x``, by name; of the frames of a clip one after the other."""
    values: dict[str, list[Tensor]] = {}

    def keep(node: Node, value: Tensor) -> None:
        values.setdefault(node.name, []).append(value)

    with torch.no_grad():
        execute(graph, x, keep)
    return {name: torch.cat(found) if len(found) > 1 else found[0] for name, found in values.items()}


def inner_products(
    errors: Errors, tensors: dict[str, Tensor], stored: dict[tuple[str, int], Tensor], layers: Layers
) -> np.ndarray:
    """First-order change that each choice makes, ``float64[D, C]``: the derivative times the error, summed over all that it
    rounds.

    Args:
        tensors, layers: derivatives, as ``Forward.gradients`` gives them. stored: errors of the tensors, as ``Errors.stored``
            gives them.
    """
    change = np.zeros(errors.space.allowed.shape)
    for decision, name, is_weight, choice in errors.choices():
        if is_weight:
            total = torch.sum(layers[name][0] * errors.weight(name, choice)[0], dtype=torch.float64).item()
            for user in errors.users[name]:
                db, eb = layers[user][1], errors.weight(user, choice)[1]
                if db is not None and eb is not None:
                    total += torch.sum(db * eb, dtype=torch.float64).item()
        else:
            members = errors.members[name]
            total = sum(torch.sum(tensors[m] * stored[m, choice], dtype=torch.float64).item() for m in members)
        change[decision, choice] = total
    return change


def noise_power(task: Task, output: Tensor, reference: Tensor) -> float:
    """Mean squared difference of two outputs as the user of the task sees them."""
    error = task.view(task.limited(output)) - task.view(task.limited(reference))
    return float(error.double().square().mean())


def float_error(graph: Graph, samples: Sequence[Sample], task: Task) -> np.ndarray:
    """Error power of the float network on each sample, ``float64[samples]``; at least 1e-6."""
    with torch.no_grad():
        return np.array([max(task.error(execute(graph, sample.low), sample), 1e-6) for sample in samples])
