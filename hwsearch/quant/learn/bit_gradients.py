"""What one more bit would do to a quantized network: derivatives of a distillation loss by the bits of every quantizer.

"Gradient Knows Best" (CVPR 2026; known from two readers' notes, no code) gives each quantizer a continuous number of bits ``b``
and propagates the loss against the floating-point network back to it. With the ends of its range as they are, only the step
``D = (u - l) / (2^b - 1)`` depends on it, and with the straight-through estimator

    dL/db = -ln 2 * 2^b / (2^b - 1) * <dL/dx', x' - clip(x)>

where ``x'`` is what is stored: the loss's change along the rounding error, to first order (``2^(b-1) / (2^(b-1) - 1)`` for a
symmetric range in the narrow codes). So one backward pass tells of all quantizers. Bits stand still while gradients are taken:
the notes call the offset a probe.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import UsageError
from hwmodels.numbers import Int
from hwsearch.quant.learn.bounds import Student, distillation_loss, targets_of
from hwsearch.quant.learn.distillation import Distillation
from hwsearch.quant.learn.features import of_units
from hwsearch.quant.method import Draft
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.observe.sizes import several
from hwsearch.quant.observe.work import macs_per_pixel
from hwsearch.quant.ranges.ranges import clamped, format_source, range_format
from searchspaces.ir.graph import Graph, Node

LOSS = Distillation(phases=(), features=10.0, distance=of_units, batch=2)
"""As published: the mean absolute error, and ten times that of unit features of blocks."""
SIDE = 48
"""Input pixels of a window's side."""
MACS = 2e11
"""Affordable multiply-accumulates of all passes together; large networks see fewer windows."""
FEWEST_BATCHES = 4
"""However large the network is."""


@dataclass(frozen=True, eq=False)
class Probed:
    """One quantizer in one batch: what went in, between which ends (a channel's, for weights), what is stored, and the loss's
    derivative by the latter; any shape."""

    real: Tensor
    stored: Tensor
    gradient: Tensor
    ends: tuple[Tensor, Tensor]

    @property
    def clipped(self) -> Tensor:
        """What went in, between its ends: the value that more bits would come nearer to."""
        return torch.maximum(torch.minimum(self.real, self.ends[1]), self.ends[0])

    def along(self, error: Tensor) -> float:
        """First-order change of the loss by an error of what is stored."""
        return float(torch.sum(self.gradient * error, dtype=torch.float64))


@dataclass(frozen=True, eq=False)
class Seen:
    """Every quantizer of a batch: tensors by node, weights by layer; and the output."""

    tensors: Mapping[str, Probed]
    layers: Mapping[str, Probed]
    output: Tensor

    @property
    def is_finite(self) -> bool:
        """Whether the output and all derivatives are finite numbers."""
        gradients = (probed.gradient for probed in (*self.tensors.values(), *self.layers.values()))
        return all(bool(one.isfinite().all()) for one in (self.output, *gradients))


class Probe(Student):
    """A student that remembers what its quantizers do. Nothing of it is trained."""

    most_values = sys.maxsize  # derivatives by every tensor: none may be computed again

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self._tensors: dict[str, tuple[Tensor, Tensor]] = {}
        self._weights: dict[str, tuple[Tensor, Tensor]] = {}
        self._output: Tensor | None = None

    def __call__(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        output, features = super().__call__(x)
        self._output = output.detach()
        return output, features

    def _stored(self, node: Node, value: Tensor) -> Tensor:
        fake = super()._stored(node, value)
        fake = fake if fake.requires_grad else fake.detach().requires_grad_(True)
        self._tensors[node.name] = (value.detach(), fake)
        return fake

    def _weight(self, name: str) -> Tensor:
        fake = super()._weight(name)
        self._weights[name] = (self.layers[name].weight, fake)
        return fake

    def look(self, x: Tensor, targets: Mapping[str, Tensor], distillation: Distillation = LOSS) -> Seen:
        """Forward and backward of a batch ``x``; ``targets``: see ``bounds.targets_of``."""
        self._tensors, self._weights = {}, {}
        loss = distillation_loss(self, x, targets, distillation)
        fakes = [fake for _, fake in (*self._tensors.values(), *self._weights.values())]
        found = iter(torch.autograd.grad(loss, fakes, allow_unused=True))

        def probed(real: Tensor, fake: Tensor, ends: tuple[Tensor, Tensor]) -> Probed:
            gradient = next(found)
            return Probed(real, fake.detach(), torch.zeros_like(fake) if gradient is None else gradient, ends)

        tensors = {name: probed(*pair, _ends(self.start.formats[name])) for name, pair in self._tensors.items()}
        layers = {name: probed(*pair, self._reach(name)) for name, pair in self._weights.items()}
        assert self._output is not None
        return Seen(tensors, layers, self._output)

    def by_bits(self, seen: Seen) -> tuple[dict[str, float], dict[str, float]]:
        """``dL/db`` of every layer's weights and of every tensor, by name; 0 for floating point."""
        layers = {
            name: -_per_bit(self.layers[name].bits, symmetric=True) * probed.along(probed.stored - probed.clipped)
            for name, probed in seen.layers.items()
        }
        tensors = {}
        for name, probed in seen.tensors.items():
            fmt = self.start.formats[name]
            change = (
                0.0 if fmt.is_float else _per_bit(fmt.bits, _is_symmetric(fmt)) * probed.along(probed.stored - probed.clipped)
            )
            tensors[name] = -change
        return layers, tensors

    def _reach(self, name: str) -> tuple[Tensor, Tensor]:
        """The ends of a layer's weights, ``float32[O, 1, ...]`` each."""
        layer = self.layers[name]
        reach = (layer.start * layer.limit).view(-1, *[1] * (layer.weight.ndim - 1))
        return -reach, reach


def _per_bit(bits: int, symmetric: bool) -> float:
    """``-D' / D`` of the step ``D`` by the bits."""
    codes = 2.0 ** (bits - 1 if symmetric else bits)
    return float(np.log(2) * codes / (codes - 1))


def _is_symmetric(fmt: TensorFormat) -> bool:
    return fmt.is_symmetric and fmt.zero_point == fmt.grid.middle


def _ends(fmt: TensorFormat) -> tuple[Tensor, Tensor]:
    """The lowest and the highest value of a format; of floating point, none."""
    if fmt.is_float:
        return torch.tensor(-torch.inf), torch.tensor(torch.inf)
    return torch.tensor((fmt.qmin - fmt.zero_point) * fmt.scale), torch.tensor((fmt.qmax - fmt.zero_point) * fmt.scale)


def of_bits(graph: Graph, node: Node, fmt: TensorFormat, number: Int) -> TensorFormat:
    """The format of a tensor with other bits between the same ends; both at most a byte wide."""
    if _is_symmetric(fmt):
        found = range_format(0.0, fmt.grid.narrow_limit * fmt.scale, number, symmetric=True)
    else:
        low, high = -fmt.zero_point * fmt.scale, (fmt.grid.levels - fmt.zero_point) * fmt.scale
        found = range_format(low, high, number, symmetric=False)
    return clamped(found, format_source(graph, node))


def weights_of_bits(probed: Probed, number: Int) -> Tensor:
    """A layer's weights, rounded to other bits between the same ends."""
    step = probed.ends[1] / number.narrow_limit
    found: Tensor = torch.round(probed.clipped / step) * step
    return found


def looks(draft: Draft, probe: Probe, seed: int) -> Iterator[tuple[Seen, Tensor]]:
    """What ``probe`` sees in batches of the calibration windows, or one by one where the network takes one at a time, each at
    most once; and the floating-point output. A batch with derivatives that are not finite is left out.

    Raises:
        UsageError: there was no other.
    """
    seen_any = False
    windows = draft.windows(SIDE)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(windows)))
    batch = min(LOSS.batch, len(windows))
    pixels = batch * windows.shape[2] * windows.shape[3]
    affordable = max(FEWEST_BATCHES, int(MACS / (3 * pixels * macs_per_pixel(probe.graph, windows.shape[1]))))
    at_once = batch if several(probe.graph) else 1  # what a network that takes one at a time does with the others is forgotten
    for chosen in list(order.split(batch))[:affordable]:
        for x in windows[chosen].split(at_once):
            targets = targets_of(probe, draft.network, x)
            seen = probe.look(x, targets)
            if seen.is_finite:
                seen_any = True
                yield seen, targets[probe.graph.output.name]
    if not seen_any:
        raise UsageError(
            f"{probe.graph.name} has no finite derivatives by its quantizers at these widths",
            "Take another proxy or rule: `hwsearch proxies` and `hwsearch allocators` list them.",
        )


def bit_gradients(draft: Draft, seed: int = 0) -> tuple[dict[str, float], dict[str, float]]:
    """Mean of ``dL/db`` over batches: of every layer's weights, and of every tensor that is rounded, by name."""
    probe = Probe(draft)
    found = [probe.by_bits(seen) for seen, _ in looks(draft, probe, seed)]
    layers, tensors = ([one[k] for one in found] for k in (0, 1))
    return _mean(layers), _mean(tensors)


def _mean(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}
