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

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import INT8
from hwsearch.quant.learn import kept
from hwsearch.quant.learn.course import Course, What
from hwsearch.quant.learn.features import feature_names, of_directions
from hwsearch.quant.learn.quantizers.decisions import DecidedWeights
from hwsearch.quant.learn.quantizers.ends import Ends
from hwsearch.quant.learn.quantizers.normalized import NormalizedEnds
from hwsearch.quant.learn.quantizers.regions import RegionEnds
from hwsearch.quant.learn.quantizers.weights import Weights
from hwsearch.quant.learn.student import FakeQuantized, once, trained_groups, trained_layers
from hwsearch.quant.method import Draft, Progress
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from hwsearch.quant.observe.sizes import several
from hwsearch.quant.observe.work import macs_per_pixel
from searchspaces.ir.graph import Graph, Node, execute

SIDE = 48
"""Input pixels of a training window's side."""
MACS = 3.4e12
"""Affordable multiply-accumulates for one plan with gradients; large networks get fewer steps."""
FEWEST_STEPS = 40
UNTRAINED = Course(phases=(), features=0.0, distance=of_directions, batch=1)
"""Of a student that is only looked at."""


class Student(FakeQuantized):
    """The fake-quantized network whose bounds are trained, and what a course adds to them."""

    def __init__(self, draft: Draft, course: Course | None = None) -> None:
        start = draft.quantized
        self.tensors = {group: _ends(fmt) for group, fmt in trained_groups(start).items()}
        self.layers: dict[str, Weights] = {}
        for name, layer in trained_layers(start).items():
            first = next((self.layers[user] for user in start.graph.weight_groups[name] if user in self.layers), None)
            weight, source = draft.network[name].weights["weight"], start.formats[start.graph[name].inputs[0]]
            self.layers[name] = _weights(layer, weight, source, first, course or UNTRAINED)
        super().__init__(start, self.tensors, self.layers, {})
        self._several = several(self.graph)
        self.kept = feature_names(self.graph)
        if course and course.deepest:
            self.kept = self.kept[-1:]

    def parameters(self, what: What) -> list[Tensor]:
        found: list[Tensor] = []
        if what in ("tensors", "ends", "all"):
            found += [tensor.change for tensor in self.tensors.values()]
        if what in ("tensors", "points", "all"):
            found += [tensor.point_change for tensor in self.tensors.values() if isinstance(tensor, RegionEnds)]
        if what in ("weights", "all"):
            found += once(layer.change for layer in self.layers.values() if not layer.largest)
            decided = [layer for layer in self.layers.values() if isinstance(layer, DecidedWeights)]
            found += once(part for layer in decided for part in (layer.slopes, layer.thresholds))
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
        output, *features = self.values(x, self.graph.at(*x.shape[2:]), [self.graph.output.name, *self.kept])
        return output, features


def _weights(layer: LayerIntegers, weight: Tensor, source: TensorFormat, first: Weights | None, course: Course) -> Weights:
    """What is trained of a layer; ``first``: the same of the layer whose weights it uses."""
    if course.decided and layer.bits < INT8.bits:
        return DecidedWeights(layer, weight, source, course.rank, first if isinstance(first, DecidedWeights) else None)
    return Weights(layer, weight, source, course.rank, first, largest=course.largest)


def _ends(fmt: TensorFormat) -> Ends | RegionEnds | NormalizedEnds:
    """What is trained of a tensor."""
    if fmt.normalized is not None:
        return NormalizedEnds(fmt)
    return Ends(fmt) if fmt.levels is None else RegionEnds(fmt)


def train(draft: Draft, course: Course, seed: int = 0, progress: Progress | None = None) -> QuantizedGraph:
    """A plan with its bounds trained. A phase that does not lower the loss on the windows that it saw is undone.

    As many steps as ``MACS`` allows, shared by the phases as the course says.
    """
    student, windows = Student(draft, course), draft.windows(SIDE)
    targets = targets_of(student, draft.target, windows)
    batch = min(course.batch, len(windows))
    pixels = batch * windows.shape[2] * windows.shape[3]
    wanted = sum(phase.steps for phase in course.phases)
    affordable = draft.effort * MACS / (3 * pixels * macs_per_pixel(student.graph, windows.shape[1]))
    share = min(1.0, max(FEWEST_STEPS, affordable) / wanted)
    generator, done = torch.Generator().manual_seed(seed), 0
    best, won = _total(student, windows, targets, course), student.changes()
    begun = best if not course.decided else _total(Student(draft, replace(course, decided=False)), windows, targets, course)
    for number, phase in enumerate(course.phases):
        steps = max(1, round(phase.steps * share))
        parameters = student.parameters(phase.what)
        if not parameters:
            continue
        optimizer = torch.optim.Adam(parameters, phase.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, phase.last)
        for step in kept.steps(draft.kept, f"bounds-{number}", steps, optimizer, schedule, generator):
            chosen = torch.randint(0, len(windows), (batch,), generator=generator)
            loss = distillation_loss(student, windows[chosen], {name: t[chosen] for name, t in targets.items()}, course)
            optimizer.zero_grad()
            loss.backward()  # torch does not type it
            optimizer.step()
            schedule.step()
            if progress is not None:
                progress("training bounds", min(1.0, (done + step + 1) / (wanted * share)))
        done += steps
        if (total := _total(student, windows, targets, course)) < best:
            best, won = total, student.changes()
        student.restore(won)
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
