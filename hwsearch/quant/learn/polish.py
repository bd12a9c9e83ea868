"""Polishing one chosen plan: integers, scales and biases are moved together until the quantized network's output is
closest to the floating-point network's.

Calibration rounds each layer as if it were the only one. For a plan that is about to be used, the layers can make up for each
other and for the rounding of activations: the fake-quantized network is trained for a few hundred steps on the calibration
windows, with the straight-through estimator for rounding (Bengio, Leonard and Courville 2013) and learned step sizes (Esser
et al. 2020, "Learned Step Size Quantization"); the target is the output of the floating-point network, of the whole one where
blocks were dropped; no label is used. Some windows are held out; the plan as calibrated is returned if polishing does not win
there, by what a mean PSNR loses (``held_out.loss``), as wherever it is decided whether something helped.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import INT8
from hwsearch.quant.learn import kept
from hwsearch.quant.learn.held_out import loss as loss_on
from hwsearch.quant.learn.quantizers.straight_through import rounded
from hwsearch.quant.learn.student import FakeQuantized, by_layer, once
from hwsearch.quant.learn.watched import Watch, told
from hwsearch.quant.method import Draft, Progress
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph, as_kernel
from hwsearch.quant.observe.sizes import batched
from hwsearch.quant.observe.work import macs_per_pixel
from hwsearch.quant.weights.sums import layer_integers
from searchspaces.ir.graph import execute
from searchspaces.tasks.luma import output_luma

STEPS, STEPS_OF_BYTES = 200, 120
"""Where no layer has less than 8 bits, there is little to make up for."""
SIDE = 32
"""Input pixels of a window's side."""
LEARNING_RATES = (0.02, 0.028, 2.8)
"""Of Adam, for the three kinds of numbers of a layer in the units of ``_Layer``: all of them shrink with the rounding error of
the weights that there is to make up for."""
FASTER_FOR_BYTES = 2.0
"""Where no layer has less than 8 bits, activations leave more to make up for than weights (measured on FSRCNN and VDSR)."""
LEAN = 0.1
"""How far, in steps, a weight begins from its integer in the direction of the floating-point weight."""
HALF_STEP = 1 / 255
"""What counts as the step of a tensor in half precision."""
BATCH_PIXELS = 8192
"""Input pixels of all windows of a step."""
MACS = 3.4e12
"""Affordable multiply-accumulates for one plan with gradients (up to two minutes of a core); large networks get fewer steps."""
FEWEST_STEPS = 40
"""However large the network is."""


class _Layer:
    """The trained numbers of one integer layer: ``steps`` are weights in units of their scale. The others are changes: of the
    logarithm of the scales, in units of the relative rounding error of the largest weight, and of the bias, in units of that
    error times the output's step. ``first``: the layer whose weights these are, where another has them."""

    def __init__(
        self, layer: LayerIntegers, weight: Tensor, source: TensorFormat, target: TensorFormat, first: _Layer | None = None
    ) -> None:
        self.limit = 2 ** (layer.bits - 1) - 1
        self.bias_unit = (HALF_STEP if target.is_float else target.scale) / self.limit
        self.scale = torch.from_numpy(layer.scale).view(-1, *[1] * (weight.ndim - 1))
        integers = torch.from_numpy(layer.weight.astype(np.float32)).view(weight.shape)
        unit = source.scale * torch.from_numpy(layer.scale).double()
        self.start = (torch.from_numpy(layer.bias).double() * unit).float()
        # A weight begins on its integer, leaning to where the floating-point weight is.
        lean = (weight / self.scale - integers).clamp(-LEAN, LEAN)
        self.steps: Tensor = (integers + lean).requires_grad_() if first is None else first.steps
        self.log_scale: Tensor = torch.zeros_like(self.scale).requires_grad_() if first is None else first.log_scale
        self.bias = torch.zeros_like(self.start).requires_grad_()

    def trained(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.steps, self.log_scale, self.bias

    def scales(self) -> Tensor:
        found: Tensor = self.scale * (self.log_scale / self.limit).exp()
        return found

    def fake(self) -> Tensor:
        return rounded(self.steps.clamp(-self.limit, self.limit)) * self.scales()

    def fake_bias(self, step: Tensor | float) -> Tensor:
        """Not rounded: its unit is far below what is written in."""
        return self._real_bias()

    def _real_bias(self) -> Tensor:
        found: Tensor = self.start + self.bias * self.bias_unit
        return found

    def integers(self, source: TensorFormat) -> LayerIntegers:
        with torch.no_grad():
            q = self.steps.clamp(-self.limit, self.limit).round().to(torch.int8).numpy()
            scale = self.scales().flatten().numpy().astype(np.float32)
            bias = self._real_bias().double().numpy()
        bits = int(self.limit + 1).bit_length()
        return layer_integers(bits, as_kernel(q), scale, bias, source)


def polish(
    draft: Draft, *, steps: int | None = None, seed: int = 0, progress: Progress | None = None, name: str = "polish"
) -> QuantizedGraph:
    """The network of a plan with integers polished as a whole; formats of tensors stay. ``name``: of this polishing, among the
    loops of its training.

    Costs about 50 ms of one core per step for a network of 15 thousand multiply-accumulates per pixel; as many steps as
    ``MACS`` allows, up to ``steps`` (by default ``STEPS``, or ``STEPS_OF_BYTES``). Layers in half precision and 16-bit weights
    stay as they are; so does a network with state between frames. Where a loss is not finite, the plan's remarks tell (see
    ``watched``).
    """
    start, graph = draft.quantized, draft.quantized.graph
    if graph.remembered:
        return start  # what a frame leaves to the next is not trained
    windows = draft.windows(SIDE)
    teacher = draft.teacher or graph  # not ``draft.network``, in which idle channels may be at work
    with torch.no_grad():
        target = output_luma(batched(graph, lambda x: execute(teacher, x), windows))
    order = np.random.default_rng(seed).permutation(len(windows))
    held, seen = order[: max(1, len(order) // 4)], order[max(1, len(order) // 4) :]
    if len(seen) == 0:
        return start
    formats = start.formats

    def trained(name: str, layer: LayerIntegers, first: _Layer | None) -> _Layer:
        return _Layer(layer, draft.network[name].weights["weight"], formats[graph[name].inputs[0]], formats[name], first)

    layers = by_layer(start, trained)
    if not layers:
        return start
    step_macs = 3 * BATCH_PIXELS * macs_per_pixel(graph, windows.shape[1])
    bytes_only = min(layer.limit for layer in layers.values()) == INT8.narrow_limit
    rates = [rate * (FASTER_FOR_BYTES if bytes_only else 1.0) for rate in LEARNING_RATES]
    wanted = steps or (STEPS_OF_BYTES if bytes_only else STEPS)
    steps = min(wanted, max(FEWEST_STEPS, int(draft.effort * MACS / step_macs)))
    optimizer = torch.optim.Adam(
        [
            {"params": once(layer.steps for layer in layers.values()), "lr": rates[0]},
            {"params": once(layer.log_scale for layer in layers.values()), "lr": rates[1]},
            {"params": [layer.bias for layer in layers.values()], "lr": rates[2]},
        ],
        betas=(0.9, 0.95),
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=0.1)
    student = FakeQuantized(draft, {}, layers)
    watch = Watch(graph, ((name, part) for name, layer in layers.items() for part in layer.trained()))
    generator, sized = torch.Generator().manual_seed(seed), graph.at(*windows.shape[2:])
    batch = max(1, BATCH_PIXELS // (windows.shape[2] * windows.shape[3]))
    for step in kept.steps(draft.kept, name, steps, optimizer, schedule, generator, watch):
        chosen = torch.from_numpy(seen)[torch.randint(0, len(seen), (batch,), generator=generator)]
        luma = batched(graph, lambda x: output_luma(*student.values(x, sized, [graph.output.name])), windows[chosen])
        loss = torch.mean((luma - target[chosen]) ** 2)
        optimizer.zero_grad()
        loss.backward()
        watch.step(optimizer, float(loss.detach()), lambda: student.spoilt(windows[chosen]))  # noqa: B023  # asked at once
        schedule.step()
        if progress is not None:
            progress("polishing", (step + 1) / steps)
    refined = student.quantized()
    begun, ended = (loss_on(option, windows[held].split(1), teacher) for option in (start, refined))
    won = ended < begun
    return told(refined if won else start, "integers and scales", [watch], trained=won, begun=begun)
