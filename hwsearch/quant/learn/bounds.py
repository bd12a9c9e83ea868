"""Learned bounds: where tensors and weights are clipped, trained until the quantized network gives what the floating-point one
gives. Integers stay the nearest; no label is used.

The quantizer of a tensor with ends ``l``, ``u`` and ``2^b`` codes has the step ``D = (u - l) / (2^b - 1)``, its zero on a code.
With the straight-through estimator for rounding (Bengio et al. 2013) the gradients are those of LSQ (Esser et al. 2020): 1 to the
end beyond which a value is clipped, ``e / (2^b - 1)`` and ``-e / (2^b - 1)`` to ``u`` and ``l`` inside, ``e`` the rounding error
in steps. Weights have one end a channel, alike; biases are rounded to the units of the sums. What is trained is the logarithm of
each end over where it began, so that one learning rate fits tensors of any size.

Papers differ in where they begin, in what they train when, and in the weight of intermediate features: a ``Distillation``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import INT8
from hwsearch.quant.learn import kept
from hwsearch.quant.learn.distillation import FULL, Distillation, What
from hwsearch.quant.learn.features import feature_names, of_directions
from hwsearch.quant.learn.modules import Module, last_use, modules
from hwsearch.quant.learn.quantizers.added import AddedWeights, Around, bias_step, channel_scales
from hwsearch.quant.learn.quantizers.decisions import DecidedWeights
from hwsearch.quant.learn.quantizers.ends import Ends
from hwsearch.quant.learn.quantizers.normalized import NormalizedEnds
from hwsearch.quant.learn.quantizers.regions import RegionEnds
from hwsearch.quant.learn.quantizers.weights import Weights
from hwsearch.quant.learn.student import FakeQuantized, by_layer, once, trained_groups, trained_layers
from hwsearch.quant.learn.watched import Watch, finite, told
from hwsearch.quant.method import Draft, Progress
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from hwsearch.quant.observe.sizes import several
from hwsearch.quant.observe.work import macs_per_pixel
from hwsearch.quant.ranges.regions import Rule
from searchspaces.ir import branches
from searchspaces.ir.graph import Graph, Node, execute

SIDE = 48
"""Input pixels of a training window's side."""
MACS = 3.4e12
"""Affordable multiply-accumulates for one plan with gradients; large networks get fewer steps."""
FEWEST_STEPS = 40
"""However large the network is."""
UNTRAINED = Distillation(phases=(), features=0.0, distance=of_directions, batch=1)
"""Of a student that is only looked at."""


class Student(FakeQuantized):
    """The fake-quantized network whose bounds are trained, and what a distillation adds to them."""

    def __init__(self, draft: Draft, distillation: Distillation | None = None) -> None:
        start, self.distillation = draft.quantized, distillation or UNTRAINED
        self.tensors = {group: _ends(fmt, self.distillation.rule) for group, fmt in trained_groups(start).items()}
        trained, added = trained_layers(start), self.distillation.added
        self.scales = channel_scales(start.graph, self.tensors, trained) if "scales" in added else {}
        branched = branches.given(start.graph) if "branches" in added else {}
        self.branched = {name: parts for name, parts in branched.items() if {name, *parts} <= trained.keys()}
        self.layers = by_layer(start, lambda name, layer, first: self._layer(layer, draft.network[name], start, first))
        for name, factors in self.branched.items():
            whole, down, up = (self.layers[part] for part in (name, *factors))
            assert isinstance(whole, AddedWeights)
            whole.leave_to(down, up)
        super().__init__(draft, self.tensors, self.layers)
        self._several = several(self.graph)
        self.kept = feature_names(self.graph)
        if self.distillation.deepest:
            self.kept = self.kept[-1:]

    def _layer(self, layer: LayerIntegers, node: Node, start: QuantizedGraph, first: Weights | None) -> Weights:
        """What is trained of a layer; ``first``: the same of the layer whose weights it uses."""
        distillation, weight, source = self.distillation, node.weights["weight"], start.formats[node.inputs[0]]
        if distillation.decided and layer.bits < INT8.bits:
            return DecidedWeights(layer, weight, source, distillation.rank, first if isinstance(first, DecidedWeights) else None)
        if not distillation.added:
            return Weights(layer, weight, source, distillation.rank, first, largest=distillation.largest)
        rank = FULL if any(node.name in factors for factors in self.branched.values()) else distillation.rank
        around = Around(self.scales.get(node.inputs[0]), self.scales.get(node.name), bias_step(start.formats[node.name]))
        return AddedWeights(layer, weight, source, rank, first, around)

    def _trained(self) -> Iterator[tuple[What, str, Tensor]]:
        """All that is trained: what it is, the last node that uses it, and the numbers."""
        used, groups, factors = last_use(self.graph), self._group_of, {part for both in self.branched.values() for part in both}
        for group, tensor in self.tensors.items():
            yield "ends", used[group], tensor.change
            if isinstance(tensor, RegionEnds):
                yield "points", used[group], tensor.point_change
        for name, layer in self.layers.items():
            if not layer.largest:
                yield "weights", name, layer.change
            if isinstance(layer, DecidedWeights):
                yield "weights", name, layer.slopes
                yield "weights", name, layer.thresholds
            for part in layer.increment or ():
                yield "branches" if name in factors else "increments", name, part
            if isinstance(layer, AddedWeights) and "biases" in self.distillation.added:
                yield "biases", name, layer.bias_change
        for name, scales in self.scales.items():
            yield "scales", used[groups[name]], scales.change

    def named(self, what: What, module: Module | None = None) -> list[tuple[str, Tensor]]:
        """What is trained, with the last node that uses it; ``module``: by it alone, and of what no later one uses."""
        kinds = ("ends", "points") if what == "tensors" else (what,)
        return [
            (node, numbers)
            for kind, node, numbers in self._trained()
            if (what == "all" or kind in kinds) and (module is None or node in module.nodes)
        ]

    def parameters(self, what: What, module: Module | None = None) -> list[Tensor]:
        """What is trained, each once; see ``named``."""
        return once(numbers for _, numbers in self.named(what, module))

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
        output, *features = self.shown(x, [self.graph.output.name, *self.kept])
        return output, features

    def shown(self, x: Tensor, wanted: Sequence[str], exact: Collection[str] = ()) -> list[Tensor]:
        """Tensors of a batch as the floating-point network has them, without scales of channels; ``exact``: see ``values``."""
        if len(x) > 1 and not self._several:
            return [torch.cat(parts) for parts in zip(*(self.shown(one, wanted, exact) for one in x.split(1)), strict=True)]
        found = self.values(x, self.graph.at(*x.shape[2:]), wanted, exact)
        return [y / self.scales[name].of(y) if name in self.scales else y for name, y in zip(wanted, found, strict=True)]

    def at_once(self, batch: int) -> int:
        """Windows of a batch whose loss is propagated together. Where the network takes one at a time, so is the loss, which is
        a mean over windows: what its derivatives need is then there for one window alone, and more of it can be kept (see
        ``segments``). Not where features count by how they vary over the batch."""
        return batch if self._several or self.distillation.by_sensitivity else 1

    def _read(self, name: str, value: Tensor) -> Tensor:
        return super()._read(name, value * self.scales[name].of(value) if name in self.scales else value)


def _ends(fmt: TensorFormat, rule: Rule) -> Ends | RegionEnds | NormalizedEnds:
    """What is trained of a tensor."""
    if fmt.normalized is not None:
        return NormalizedEnds(fmt)
    return Ends(fmt) if fmt.levels is None else RegionEnds(fmt, rule)


def train(draft: Draft, distillation: Distillation, seed: int = 0, progress: Progress | None = None) -> QuantizedGraph:
    """A plan with its bounds trained. A phase that does not lower the loss on the windows that it saw is undone; that through the
    modules as a whole. Where a loss is not finite, the plan's remarks tell (see ``watched``).

    As many steps as ``MACS`` allows, shared by the phases as the distillation says.
    """
    student, windows = Student(draft, distillation), draft.windows(SIDE)
    targets = targets_of(student, draft.target, windows)
    batch = min(distillation.batch, len(windows))
    pixels = batch * windows.shape[2] * windows.shape[3]
    wanted = sum(phase.steps for phase in distillation.phases)
    affordable = draft.effort * MACS / (3 * pixels * macs_per_pixel(student.graph, windows.shape[1]))
    share = min(1.0, max(FEWEST_STEPS, affordable) / wanted)
    generator, done, watches = torch.Generator().manual_seed(seed), 0, list[Watch]()
    best, won = _total(student, windows, targets, distillation), student.changes()
    other = distillation.decided or student.branched  # the network with which it begins is not the one that is there
    begun = (
        _total(Student(draft, replace(distillation, decided=False, added=())), windows, targets, distillation) if other else best
    )
    for number, phase in enumerate(distillation.phases):
        turns = modules(student.graph, student.kept)[::-1] if phase.what == "modules" else [None]
        steps = max(1, round(phase.steps * share / len(turns)))
        for turn, module in enumerate(turns):
            what: What = "all" if module else phase.what
            parameters, watch = student.parameters(what, module), Watch(student.graph, student.named(what, module))
            if not parameters:
                continue
            watches.append(watch)
            optimizer = torch.optim.Adam(parameters, phase.rate)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, phase.last)
            name, loss_of = f"bounds-{number}-{turn}", _loss(student, windows, targets, module)
            for step in kept.steps(draft.kept, name, steps, optimizer, schedule, generator, watch):
                chosen = torch.randint(0, len(windows), (batch,), generator=generator)
                optimizer.zero_grad()
                loss = propagate(loss_of, chosen, student.at_once(batch))
                watch.step(optimizer, loss, lambda: student.spoilt(windows[chosen]))  # noqa: B023  # asked at once
                schedule.step()
                if progress is not None:
                    progress("training bounds", min(1.0, (done + step + 1) / (wanted * share)))
            done += steps
        if (total := _total(student, windows, targets, distillation)) < best:
            best, won = total, student.changes()
        student.restore(won)
    trained = best < begun
    return told(student.quantized() if trained else draft.quantized, "bounds", watches, trained=trained, begun=begun)


def propagate(loss_of: Callable[[Tensor], Tensor], chosen: Tensor, at_once: int) -> float:
    """Add the derivatives of the mean loss of windows to what is trained, so many windows at a time.

    Args:
        loss_of: the mean loss of windows, as a function of which.

    Returns:
        That loss.
    """
    lost = 0.0
    for part in chosen.split(at_once):
        loss = loss_of(part) * (len(part) / len(chosen))
        loss.backward()
        lost += float(loss.detach())
    return lost


def targets_of(student: Student, teacher: Graph, windows: Tensor) -> dict[str, Tensor]:
    """What the floating-point network gives: output and features, by name. Where a layer of the student's has a branch and the
    teacher's has none, that layer writes what the branch's sum does."""
    names = dict.fromkeys([*student.kept, student.graph.output.name])  # the output is a feature, too, where it is a sum
    known, sums = {node.name for node in teacher.nodes}, f".{branches.SUM}"
    written_as = {name: name if name in known else name.removesuffix(sums) for name in names}
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    with torch.no_grad():
        for window in windows:
            seen: dict[str, Tensor] = {}

            def keep(node: Node, y: Tensor, seen: dict[str, Tensor] = seen) -> None:
                seen[node.name] = y

            execute(teacher, window[None], keep)
            for name in names:
                found[name].append(seen[written_as[name]])
    return {name: torch.cat(parts) for name, parts in found.items()}


def distillation_loss(student: Student, x: Tensor, targets: Mapping[str, Tensor], distillation: Distillation) -> Tensor:
    """The loss of a batch ``x``: the error of the output, and that of features.

    Args:
        targets: what ``targets_of`` gives for the batch.
    """
    output, features = student(x)
    loss = distillation.output(output, targets[student.graph.output.name])
    if distillation.features == 0 or not features:
        return loss
    wanted = [targets[name] for name in student.kept]
    apart = torch.stack([distillation.distance(f, g) for f, g in zip(features, wanted, strict=True)])
    if distillation.by_sensitivity:
        deviations = torch.stack([g.flatten(1).std(dim=1).mean() for g in wanted])
        apart = apart * torch.softmax(deviations / deviations.mean().clamp_min(1e-12), dim=0)
    return loss + distillation.features * apart.mean()


def _loss(student: Student, windows: Tensor, targets: Mapping[str, Tensor], module: Module | None) -> Callable[[Tensor], Tensor]:
    """What is lowered, as a function of which windows are looked at: the loss of all; of a module the squared error of what it
    writes, and of the picture, each over what it is at first."""
    if module is None:
        return lambda chosen: distillation_loss(
            student, windows[chosen], {name: t[chosen] for name, t in targets.items()}, student.distillation
        )
    names = (module.end, student.graph.output.name)

    def errors(chosen: Tensor) -> Tensor:
        shown = student.shown(windows[chosen], names, module.before)
        return torch.stack([(y - targets[name][chosen]).square().mean() for name, y in zip(names, shown, strict=True)])

    with torch.no_grad():
        first = errors(torch.arange(min(student.distillation.batch, len(windows)))).clamp_min(1e-12)
    return lambda chosen: (errors(chosen) / first).sum()


def _total(student: Student, windows: Tensor, targets: Mapping[str, Tensor], distillation: Distillation) -> float:
    with torch.no_grad():
        parts = [
            float(
                distillation_loss(student, windows[i : i + 1], {name: t[i : i + 1] for name, t in targets.items()}, distillation)
            )
            for i in range(len(windows))
        ]
    return finite(float(np.mean(parts)))
