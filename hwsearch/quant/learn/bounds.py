"""Learned bounds: where tensors and weights are clipped, trained until the quantized network gives what the floating-point one
gives. Integers stay the nearest; no label is used.

The quantizer of a tensor with ends ``l``, ``u`` and ``2^b`` codes has the step ``D = (u - l) / (2^b - 1)``, its zero on a code.
With the straight-through estimator for rounding (Bengio et al. 2013) the gradients are those of LSQ (Esser et al. 2020): 1 to the
end beyond which a value is clipped, ``e / (2^b - 1)`` and ``-e / (2^b - 1)`` to ``u`` and ``l`` inside, ``e`` the rounding error
in steps. Weights have one end a channel, alike; biases are rounded to the units of the sums. What is trained is the logarithm of
each end over where it began, so that one learning rate fits tensors of any size.

Papers differ in where they begin, in what they train when, and in the weight of intermediate features: a ``Course``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import Int
from hwsearch.quant.learn.ends import Ends
from hwsearch.quant.learn.regions import RegionEnds
from hwsearch.quant.learn.straight_through import rounded
from hwsearch.quant.learn.student import FakeQuantized, once, trained_groups, trained_layers
from hwsearch.quant.method import Draft, Progress
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph, as_kernel
from hwsearch.quant.observe.gains import macs_per_pixel
from hwsearch.quant.observe.sizes import several
from hwsearch.quant.weights.sums import layer_integers
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ir.shapes import known_channel_axes
from searchspaces.ops.maps.elementwise import Add

SIDE = 48
"""Input pixels of a training window's side."""
MACS = 3.4e12
"""Affordable multiply-accumulates for one plan with gradients; large networks get fewer steps."""
FEWEST_STEPS = 40

FULL = -1
"""As the rank of what is added to weights: any matrix."""

What = Literal["tensors", "weights", "all", "ends", "points", "increments"]
"""Bounds of tensors (their ends alone, or the breakpoints of those in two regions), of weights, what is added to weights, or
all."""
Distance = Callable[[Tensor, Tensor], Tensor]
"""Of two features ``[N, ...]``."""


@dataclass(frozen=True)
class Phase:
    """Some steps in which some bounds are trained, by Adam whose rate falls from ``rate`` to ``last`` along half a cosine."""

    what: What
    steps: int
    rate: float
    last: float


@dataclass(frozen=True)
class Course:
    """How bounds are trained. ``features``: weight of ``distance`` between the features of the two networks, beside the mean
    absolute error of the output in steps of 8 bits; ``batch``: windows a step; ``by_sensitivity``: features count by the softmax
    of their deviation over the mean of all, instead of alike; ``rank`` of what is added to the weights of every layer, 0:
    nothing, ``FULL``: any.
    """

    phases: Sequence[Phase]
    features: float
    distance: Distance
    batch: int
    by_sensitivity: bool = False
    rank: int = 0


def _increment(weight: Tensor, rank: int) -> tuple[Tensor, ...] | None:
    """What is trained beside a layer's weights: factors ``[O, rank]`` and ``[rank, K]``, or a whole matrix ``[O, K]``; nothing at
    first. None for rank 0."""
    if rank == 0:
        return None
    rows, columns = weight.flatten(1).shape
    if rank == FULL:
        return (torch.zeros(rows, columns, requires_grad=True),)
    down = torch.randn(rank, columns, generator=torch.Generator().manual_seed(columns)) / rank**0.5
    return torch.zeros(rows, rank, requires_grad=True), down.requires_grad_(True)


class _Weights:
    """The ends of one layer's channels: magnitudes ``[O]``. With a rank, ``up @ down`` of that rank is added to the weights, in
    units of their deviation; it begins as nothing, and is merged before rounding. ``first``: the layer whose weights these are,
    where another has them."""

    def __init__(
        self, layer: LayerIntegers, weight: Tensor, source: TensorFormat, rank: int = 0, first: _Weights | None = None
    ) -> None:
        self.bits, self.limit, self._float = layer.bits, Int(layer.bits).narrow_limit, weight
        self.increment: tuple[Tensor, ...] | None = _increment(weight, rank) if first is None else first.increment
        self.start = torch.from_numpy(layer.scale)
        self.bias = torch.from_numpy(layer.bias * (layer.scale.astype(np.float64) * source.scale))
        self.change: Tensor = torch.zeros_like(self.start, requires_grad=True) if first is None else first.change

    @property
    def weight(self) -> Tensor:
        """What is rounded: the weights, and what is added to them."""
        if self.increment is None:
            return self._float
        added = self.increment[0] if len(self.increment) == 1 else self.increment[0] @ self.increment[1]
        found: Tensor = self._float + added.view_as(self._float) * self._float.std()
        return found

    def _scale(self) -> Tensor:
        found: Tensor = self.start * self.change.exp()
        return found

    def _codes(self) -> Tensor:
        scale = self._scale().view(-1, *[1] * (self.weight.ndim - 1))
        return rounded((self.weight / scale).clamp(-self.limit, self.limit))

    def fake(self) -> Tensor:
        return self._codes() * self._scale().view(-1, *[1] * (self.weight.ndim - 1))

    def fake_bias(self, step: Tensor | float) -> Tensor:
        """The bias in units of the sums of a layer that reads a tensor of that step."""
        unit = self._scale() * step
        return rounded(self.bias.float() / unit) * unit

    def integers(self, source: TensorFormat) -> LayerIntegers:
        with torch.no_grad():
            scale, q = self._scale().numpy(), as_kernel(self._codes().to(torch.int8).numpy())
        return layer_integers(self.bits, q, scale, self.bias.numpy(), source)


class Student(FakeQuantized):
    """The fake-quantized network whose bounds are trained; ``rank``: see ``Course``."""

    def __init__(self, draft: Draft, rank: int = 0) -> None:
        start = draft.quantized
        self.tensors: dict[str, Ends | RegionEnds] = {
            group: Ends(fmt) if fmt.levels is None else RegionEnds(fmt) for group, fmt in trained_groups(start).items()
        }
        self.layers: dict[str, _Weights] = {}
        for name, layer in trained_layers(start).items():
            first = next((self.layers[user] for user in start.graph.weight_groups[name] if user in self.layers), None)
            weight, source = draft.network[name].weights["weight"], start.formats[start.graph[name].inputs[0]]
            self.layers[name] = _Weights(layer, weight, source, rank, first)
        super().__init__(start, self.tensors, self.layers, {})
        self._several = several(self.graph)
        self.kept = feature_names(self.graph)

    def parameters(self, what: What) -> list[Tensor]:
        found: list[Tensor] = []
        if what in ("tensors", "ends", "all"):
            found += [tensor.change for tensor in self.tensors.values()]
        if what in ("tensors", "points", "all"):
            found += [tensor.point_change for tensor in self.tensors.values() if isinstance(tensor, RegionEnds)]
        if what in ("weights", "all"):
            found += once(layer.change for layer in self.layers.values())
        if what in ("increments", "all"):
            found += once(part for layer in self.layers.values() for part in layer.increment or ())
        return found

    def changes(self) -> list[Tensor]:
        """All that was trained, as it is now."""
        return [change.detach().clone() for change in self.parameters("all")]

    def restore(self, changes: Sequence[Tensor]) -> None:
        """Go back to earlier ``changes``."""
        with torch.no_grad():
            for change, earlier in zip(self.parameters("all"), changes, strict=True):
                change.copy_(earlier)

    def __call__(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The output ``[N, C, H, W]`` and the features of a batch."""
        if len(x) == 1 or self._several:
            return self._run(x)
        outputs, features = zip(*(self._run(one) for one in x.split(1)), strict=True)
        return torch.cat(outputs), [torch.cat(parts) for parts in zip(*features, strict=True)]

    def _run(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        values = self.values(x, self.graph.at(*x.shape[2:]))
        return values[self.graph.output.name], [values[name] for name in self.kept]


def feature_names(graph: Graph) -> list[str]:
    """Tensors whose distance is part of the loss: ends of residual blocks, or every layer's result where there are none. Only
    those of pictures ``[N, C, H, W]``: tokens have no place of their own for each picture."""
    axes = known_channel_axes(graph)
    sums = [node.name for node in graph.nodes if isinstance(node.op, Add) and axes[node.name] == 1]
    return sums or [node.name for node in graph.convs[:-1] if axes[node.name] == 1]


def _unit(x: Tensor) -> Tensor:
    """Each picture of ``[N, ...]`` as a vector of length one."""
    flat = x.flatten(1)
    length: Tensor = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return flat / length.clamp_min(1e-12)


def of_directions(f: Tensor, g: Tensor) -> Tensor:
    """``|| f / ||f|| - g / ||g|| ||``, the mean over pictures."""
    apart: Tensor = torch.linalg.vector_norm(_unit(f) - _unit(g), dim=1)
    return apart.mean()


def of_energies(f: Tensor, g: Tensor) -> Tensor:
    """The mean squared difference of where two features have their energy: the mean square over channels, as a unit vector."""
    return (_unit(f.square().mean(dim=1)) - _unit(g.square().mean(dim=1))).square().mean()


def of_units(f: Tensor, g: Tensor) -> Tensor:
    """The mean squared difference of two features as vectors of length one."""
    return (_unit(f) - _unit(g)).square().mean()


def train(draft: Draft, course: Course, seed: int = 0, progress: Progress | None = None) -> QuantizedGraph:
    """A plan with its bounds trained. A phase that does not lower the loss on the windows that it saw is undone.

    As many steps as ``MACS`` allows, shared by the phases as the course says.
    """
    student, windows = Student(draft, course.rank), draft.windows(SIDE)
    targets = targets_of(student, draft.network, windows)
    batch = min(course.batch, len(windows))
    pixels = batch * windows.shape[2] * windows.shape[3]
    wanted = sum(phase.steps for phase in course.phases)
    affordable = draft.effort * MACS / (3 * pixels * macs_per_pixel(student.graph, windows.shape[1]))
    share = min(1.0, max(FEWEST_STEPS, affordable) / wanted)
    generator, done = torch.Generator().manual_seed(seed), 0
    best, kept = _total(student, windows, targets, course), student.changes()
    begun = best
    for phase in course.phases:
        steps = max(1, round(phase.steps * share))
        parameters = student.parameters(phase.what)
        if not parameters:
            continue
        optimizer = torch.optim.Adam(parameters, phase.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, phase.last)
        for _ in range(steps):
            chosen = torch.randint(0, len(windows), (batch,), generator=generator)
            loss = distillation_loss(student, windows[chosen], {name: t[chosen] for name, t in targets.items()}, course)
            optimizer.zero_grad()
            loss.backward()  # torch does not type it
            optimizer.step()
            schedule.step()
            done += 1
            if progress is not None:
                progress("training bounds", min(1.0, done / (wanted * share)))
        if (total := _total(student, windows, targets, course)) < best:
            best, kept = total, student.changes()
        student.restore(kept)
    return student.quantized() if best < begun else draft.quantized


def targets_of(student: Student, teacher: Graph, windows: Tensor) -> dict[str, Tensor]:
    """What the floating-point network gives: output and features, by name."""
    names = dict.fromkeys([*student.kept, student.graph.output.name])  # the output is a feature, too, where it is a sum
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    with torch.no_grad():
        for window in windows:
            seen: dict[str, Tensor] = {}

            def keep(node: Node, y: Tensor, seen: dict[str, Tensor] = seen) -> None:
                seen[node.name] = y

            execute(teacher, window[None], keep)
            for name in names:
                found[name].append(seen[name])
    return {name: torch.cat(parts) for name, parts in found.items()}


def distillation_loss(student: Student, x: Tensor, targets: Mapping[str, Tensor], course: Course) -> Tensor:
    """The loss of a batch ``x``: the mean absolute error of the output in steps of 8 bits, and that of features.

    Args:
        targets: what ``targets_of`` gives for the batch.
    """
    output, features = student(x)
    loss = 255 * (output - targets[student.graph.output.name]).abs().mean()
    if course.features == 0 or not features:
        return loss
    wanted = [targets[name] for name in student.kept]
    apart = torch.stack([course.distance(f, g) for f, g in zip(features, wanted, strict=True)])
    if course.by_sensitivity:
        deviations = torch.stack([g.flatten(1).std(dim=1).mean() for g in wanted])
        apart = apart * torch.softmax(deviations / deviations.mean().clamp_min(1e-12), dim=0)
    return loss + course.features * apart.mean()


def _total(student: Student, windows: Tensor, targets: Mapping[str, Tensor], course: Course) -> float:
    with torch.no_grad():
        parts = [
            float(distillation_loss(student, windows[i : i + 1], {name: t[i : i + 1] for name, t in targets.items()}, course))
            for i in range(len(windows))
        ]
    return float(np.mean(parts))
