"""All numbers of a plan trained together: integers and scales of weights, biases, ends of tensors.

The fake-quantized network is trained against what the floating-point network shows, on windows of the calibration pictures that
are drawn anew in every step, turned and mirrored at random, and every other one with more contrast; no label is used. Straight
through every rounding (Bengio et al. 2013) gradients are those of LSQ+ (Bhalgat et al. 2020); an integer weight moves when its
real value has moved to the next, and the bias makes up for what that does to the mean of what is written (``centred``).

What is lowered is what a mean PSNR loses (``held_out.lost``). Beside it the noise at the ends of blocks was tried: it did harm
where it was measured (FSRCNN x2 at 4 bits, 300 steps: 0.9 dB).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import INT8, Int
from hwsearch.quant.learn import kept
from hwsearch.quant.learn.centred import Shift, means
from hwsearch.quant.learn.held_out import apart, lost
from hwsearch.quant.learn.held_out import loss as loss_on
from hwsearch.quant.learn.quantizers.ends import Ends
from hwsearch.quant.learn.quantizers.straight_through import rounded
from hwsearch.quant.learn.student import FakeQuantized, by_layer, once, trained_groups
from hwsearch.quant.learn.watched import Watch, told
from hwsearch.quant.method import Draft, Progress
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph, as_kernel
from hwsearch.quant.observe.sizes import Sizes, several
from hwsearch.quant.observe.work import macs_per_pixel
from hwsearch.quant.weights.sums import layer_integers
from searchspaces.ir.graph import Graph, execute

SIDE = 48
"""Input pixels of a training window's side."""
BATCH_PIXELS = 4700
"""Input pixels of all windows of a step."""
LEAN = 0.25
"""How far, in steps, a weight begins from its integer in the direction of the floating-point weight."""
PARTS = 17
"""Biases are trained in so many parts of a step of what is written, of at least 4 bits."""
MEANT_FOR = 4
"""Bits of the tensors that the rates of ``Hyperparameters`` are meant for. Where a step is finer, everything moves less at a
time: with rates that cross steps of an 8-bit tensor, published FSRCNN x2 at W4A8 lost 0.8 to 4 dB from one look to the next; with
a quarter of the full rates for its weights it ends at 1.10 dB lost on Set5, with half of them and twice the steps at 0.76
(simulated)."""
BIASES = 0.2
"""The rate of biases. At ten times that, 50 steps from fitted layers took published PAN x4 at W3A3 from 3.54 to 3.75 dB lost on
six crops of photos, instead of to 3.66 (simulated, one seed)."""
CONTRAST = 2.0
"""How many times stronger the contrast of a window may be made. Few pictures rarely hold the edges that all pictures have."""


@dataclass(frozen=True)
class Hyperparameters:
    """How long, and how fast: Adam's rates of integers in steps, of scales and ends as logarithms, of biases in ``1 / PARTS`` of
    a step that they are written in; all between tensors of ``MEANT_FOR`` bits. ``macs``: multiply-accumulates that one plan may
    cost, at least ``fewest`` steps, at most ``steps`` where it takes no more effort than usual."""

    steps: int = 3000
    fewest: int = 100
    macs: float = 8e12
    weights: float = 0.02
    scales: float = 0.004
    biases: float = BIASES
    ends: float = 0.01


class _Layer:
    """One layer in integers. ``steps`` are its weights in units of the scale that they began with; trained are they, the scales'
    logarithms and the bias. ``pace``: how fast, beside what is written in ``MEANT_FOR`` bits; ``finer``: how many of its steps
    are one of a layer of so many bits. ``first``: the layer whose weights these are, where another has them."""

    def __init__(
        self,
        layer: LayerIntegers,
        weight: Tensor,
        mean: Tensor,
        source: TensorFormat,
        target: TensorFormat,
        first: _Layer | None = None,
    ) -> None:
        self.bits, self.limit = layer.bits, Int(layer.bits).narrow_limit
        self._start = _along(torch.from_numpy(layer.scale), weight)
        integers = torch.from_numpy(layer.weight.astype(np.float32)).view(weight.shape)
        steps = (integers + (weight / self._start - integers).clamp(-LEAN, LEAN)).requires_grad_()
        self.steps: Tensor = steps if first is None else first.steps
        self.scale_change: Tensor = torch.zeros_like(self._start, requires_grad=True) if first is None else first.scale_change
        self._bias = torch.from_numpy(layer.bias * (layer.scale.astype(np.float64) * source.scale)).float()
        bits = max(MEANT_FOR, min(target.bits, INT8.bits))
        reach = 1.0 if target.is_float else (target.qmax - target.qmin) * target.scale
        self._unit = reach / (PARTS * (2**bits - 1))
        self.pace = 2 ** ((MEANT_FOR - bits) / 4)
        self.finer = 2.0 ** max(layer.bits - MEANT_FOR, 0)
        self.bias_change = torch.zeros_like(self._bias, requires_grad=True)
        self._shift = Shift(mean, integers * self._start)

    def trained(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.steps, self.scale_change, self.bias_change

    def _scale(self) -> Tensor:
        found: Tensor = self._start * self.scale_change.exp()
        return found

    def _codes(self) -> Tensor:
        return rounded((self.steps * (-self.scale_change).exp()).clamp(-self.limit, self.limit))

    def fake(self) -> Tensor:
        return self._codes() * self._scale()

    def fake_bias(self, step: Tensor | float) -> Tensor:
        """In units of the sums of a layer that reads a tensor of that step."""
        unit = self._scale().flatten() * step
        return rounded(self._real_bias() / unit) * unit

    def _real_bias(self) -> Tensor:
        found: Tensor = self._bias + self.bias_change * self._unit - self._shift(self.fake())
        return found

    def integers(self, source: TensorFormat) -> LayerIntegers:
        with torch.no_grad():
            scale = self._scale().flatten().numpy().astype(np.float32)
            q = as_kernel(self._codes().to(torch.int8).numpy())
            bias = self._real_bias().double().numpy()
        return layer_integers(self.bits, q, scale, bias, source)


def _along(values: Tensor, weight: Tensor) -> Tensor:
    """Values ``[O]``, one an output channel, against weights ``[O, ...]``."""
    return values.view(-1, *[1] * (weight.ndim - 1))


class Student(FakeQuantized):
    """The fake-quantized network of a plan, all of whose numbers are trained. Given grids (pictures, shares) and layers and
    tensors of more than 8 bits stay as they are."""

    def __init__(self, draft: Draft) -> None:
        start = draft.quantized
        formats, graph = start.formats, start.graph
        self.tensors = {group: Ends(fmt) for group, fmt in trained_groups(start).items() if fmt.keeps_all}
        read = means(draft.network, draft.pictures)

        def trained(name: str, layer: LayerIntegers, first: _Layer | None) -> _Layer:
            weight = draft.network[name].weights["weight"]
            return _Layer(layer, weight, read[name], formats[graph[name].inputs[0]], formats[name], first)

        self.layers = by_layer(start, trained)
        super().__init__(draft, self.tensors, self.layers)

    def groups(self, hyperparameters: Hyperparameters) -> list[dict[str, Any]]:
        """What Adam trains, and how fast: one group for each rate."""
        rates: dict[float, list[Tensor]] = {}
        for layer in self.layers.values():
            own = (
                hyperparameters.weights * layer.pace * layer.finer,
                hyperparameters.scales * layer.pace,
                hyperparameters.biases,
            )
            for tensor, rate in zip(layer.trained(), own, strict=True):
                rates.setdefault(rate, []).append(tensor)
        for ends in self.tensors.values():
            coarse = min(1.0, (2**MEANT_FOR - 1) / ends.grid.levels)
            rates.setdefault(hyperparameters.ends * coarse, []).append(ends.change)
        known: set[int] = set()  # weights that several layers use are trained once, as the first of them says
        found = []
        for rate, tensors in rates.items():
            fresh = [tensor for tensor in once(tensors) if id(tensor) not in known]
            known |= {id(tensor) for tensor in fresh}
            found.append({"params": fresh, "lr": rate})
        return [group for group in found if group["params"]]

    def named(self) -> list[tuple[str, Tensor]]:
        """What is trained, with the node that it belongs to; of tensors, the first that has their quantizer."""
        found = [(name, tensor) for name, layer in self.layers.items() for tensor in layer.trained()]
        return found + [(group, ends.change) for group, ends in self.tensors.items()]

    def __call__(self, x: Tensor, graph: Graph) -> Tensor:
        """The output for ``x [N, C, h, w]``; ``graph``: the network at that size."""
        (output,) = self.values(x, graph, [graph.output.name])
        return output


class Windows:
    """Windows of pictures, drawn anew every time: turned where the network takes them so, mirrored, with more contrast."""

    def __init__(self, graph: Graph, pictures: Sequence[Tensor], seed: int) -> None:
        self._pictures, self.random, self._sizes = pictures, np.random.default_rng(seed), Sizes.of(graph)
        height, width = (min(SIDE, *(picture.shape[axis] for picture in pictures)) for axis in (2, 3))
        self.size = self._sizes.within(height, width)
        self.count = max(1, round(BATCH_PIXELS / (self.size[0] * self.size[1])))

    def __call__(self) -> Tensor:
        """A batch ``[N, C, h, w]``."""
        return torch.cat([self._one() for _ in range(self.count)])

    def _one(self) -> Tensor:
        picture, (h, w) = self._pictures[int(self.random.integers(len(self._pictures)))], self.size
        top, left = (int(self.random.integers(0, picture.shape[axis] - side + 1)) for axis, side in ((2, h), (3, w)))
        window = picture[:, :, top : top + h, left : left + w]
        if self.random.integers(2):
            window = contrasted(window, float(self.random.uniform(1, CONTRAST)))
        if self.random.integers(2):
            window = window.flip(3)
        turns = int(self.random.integers(4)) if h == w else 2 * int(self.random.integers(2))
        found: Tensor = window.rot90(turns, (2, 3))
        return found


def contrasted(x: Tensor, gain: float) -> Tensor:
    """Pictures ``[N, C, h, w]`` in 0..1, each of ``gain`` times its contrast about its mean, and cut."""
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    found: Tensor = ((x - mean) * gain + mean).clamp(0, 1)
    return found


def train(draft: Draft, hyperparameters: Hyperparameters, seed: int = 0, progress: Progress | None = None) -> QuantizedGraph:
    """A plan with all of its numbers trained; as it was where that is no better on pictures kept from the training. Where a loss
    is not finite, the plan's remarks tell (see ``watched``)."""
    held, seen = apart(draft.pictures, seed)
    if not seen:
        return draft.quantized
    student, windows = Student(draft), Windows(draft.quantized.graph, seen, seed)
    graph, teacher = student.graph.at(*windows.size), draft.target.at(*windows.size)
    shown, parts = draft.quantized.formats[graph.output.name], windows.count if several(student.graph) else 1
    pixels = windows.count * windows.size[0] * windows.size[1]
    affordable = draft.effort * hyperparameters.macs / (4 * pixels * macs_per_pixel(student.graph, student.graph.channels))
    steps = int(min(hyperparameters.steps * max(1.0, draft.effort), max(hyperparameters.fewest, affordable)))
    groups = student.groups(hyperparameters)
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [group["lr"] for group in groups], steps, pct_start=0.1)
    watch = Watch(student.graph, student.named())
    for step in kept.steps(draft.kept, "together", steps, optimizer, schedule, windows.random, watch):
        optimizer.zero_grad()
        seen_now, lost_now = windows(), 0.0
        for x in seen_now.split(parts):
            with torch.no_grad():
                wanted = shown.fake(execute(teacher, x))
            loss: Tensor = lost(student(x, graph), wanted) * (len(x) / windows.count)
            loss.backward()
            lost_now += float(loss.detach())
        watch.step(optimizer, lost_now, lambda: student.spoilt(seen_now))  # noqa: B023  # asked at once
        schedule.step()
        if progress is not None:
            progress("training all numbers", (step + 1) / steps)
    found = student.quantized()
    begun = loss_on(draft.quantized, held, draft.target)
    trained = loss_on(found, held, draft.target) < begun
    return told(found if trained else draft.quantized, "all numbers", [watch], trained=trained, begun=begun)
