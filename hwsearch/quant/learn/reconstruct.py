"""Layers fitted one behind the other to what they really read.

Calibration rounds every layer as if it read what the floating-point network writes. Under few bits it reads that with the noise
of all layers before it, and what was the right weight then is too large a one: of a noisy input the best linear estimate is
smaller, and leans on what is less noisy (Wiener). So layers are taken in the order of the network, each with the integers of
those before it. With ``x`` what the layer reads in the quantized network, and ``z`` what it computes in the floating-point one
before the activation,

    min over W, b    E |W x + b - z|^2 + damping |W - W0|^2

has a closed form. W is rounded with compensation, and b keeps the mean of what is written. Reconstruction of layers that read
what the quantized network writes is in AdaRound (Nagel et al. 2020), there by gradients and of the rounding alone.

Nothing is trained: a layer takes a forward pass, and the solution of a system as large as its kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import INT8
from hwsearch.quant.engine.simulate import as_real, of_decoded
from hwsearch.quant.learn.held_out import apart, loss
from hwsearch.quant.learn.student import trained_groups, trained_layers
from hwsearch.quant.method import Draft
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers, QuantizedGraph, as_kernel
from hwsearch.quant.observe.moments import patches
from hwsearch.quant.observe.sizes import Sizes
from hwsearch.quant.weights.idle import Copies, occupied, splits
from hwsearch.quant.weights.rounder import bias_of
from hwsearch.quant.weights.rounding import Curvature, round_rows
from hwsearch.quant.weights.sums import layer_integers
from searchspaces.ir.graph import Node, apply
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import activate

WINDOWS, SIDE = 32, 48
"""On how many windows of the calibration pictures layers are fitted, and their sides in input pixels."""
PER_WEIGHT, FEWEST = 24, 12_000
"""How many places are looked at for each weight of a row, in all windows together, and at least."""
DAMPING = 1e-3
"""Over the mean square of what a row reads."""
CONSTANT = 1e-6
"""What varies by less, over the mean square, is taken for constant: rounding errors of moments must not be fitted to."""


def with_reconstructed_layers(draft: Draft, seed: int) -> Draft:
    """A plan to go on with: its layers fitted, where that loses less on pictures that neither this nor what follows sees (unless
    there is only one). Channels that are idle on those that this sees are given work before; where layers so fitted lose no
    less than unfitted ones, the layers are fitted as they are.

    That a fit with idle channels at work did better than one without was so in 20 of 20 (FSRCNN and ABPN at W4A8, W4A4 and W3A3,
    three seeds, VDSR at W4A4, two; noise against floating point on four photos), so the second is not made beside the first.
    """
    held, seen = apart(draft.pictures, seed)
    shown = replace(draft, pictures=seen or held)
    if draft.network.remembered:
        return shown
    copies = splits(draft.network, shown.pictures, _fittable(draft.quantized), turned=Sizes.of(draft.network).turns)
    least = loss(draft.quantized, held, draft.target)
    for pairs in (copies, Copies()) if copies else (Copies(),):
        begun = replace(shown, network=occupied(draft.network, pairs))
        fitted = reconstruct(begun, seed, pairs)
        if loss(fitted, held, draft.target) < least:
            return replace(begun, quantized=fitted)
    return shown


def _fittable(plan: QuantizedGraph) -> dict[str, LayerIntegers]:
    """The layers that are fitted."""
    return {name: layer for name, layer in trained_layers(plan).items() if len(plan.graph.weight_groups[name]) == 1}


def of_few_bits(plan: QuantizedGraph) -> bool:
    """Whether a layer or a tensor that may be trained has less than 8 bits. Above, there is hardly any noise to fit layers to:
    FSRCNN at W8A8 gained nothing."""
    widths = [layer.bits for layer in trained_layers(plan).values()] + [fmt.bits for fmt in trained_groups(plan).values()]
    return min(widths, default=INT8.bits) < INT8.bits


def reconstruct(draft: Draft, seed: int = 0, copies: Copies | None = None) -> QuantizedGraph:
    """A plan whose layers are fitted one behind the other. Formats of tensors stay, and so do layers in floating point and of
    more than 8 bits, and those whose weights other layers use, too. ``copies``: channels of the network that are copies of others
    (see ``weights.idle``): they are rounded so that both errors together are least."""
    start = draft.quantized
    fitted = _fittable(start)
    if start.graph.remembered or not fitted:
        return start
    windows = draft.windows(SIDE)
    generator = torch.Generator().manual_seed(seed)
    chosen = [windows[i : i + 1] for i in torch.randperm(len(windows), generator=generator)[:WINDOWS].tolist()]
    graph, network = (one.at(*windows.shape[2:]) for one in (start.graph, draft.network))
    layers: dict[str, LayerIntegers | LayerFloats] = dict(start.layers)
    last = {source: node.name for node in graph.nodes for source in node.inputs}
    meant, read = ([dict[str, Tensor]() for _ in chosen] for _ in range(2))
    with torch.no_grad():
        for node in graph.nodes:
            ideal = network[node.name]
            if node.name in fitted:
                source = node.inputs[0]
                seen = (
                    _pair(ideal, exact[source], rough[source], len(chosen), generator)
                    for exact, rough in zip(meant, read, strict=True)
                )
                pairs, formats = (copies or {}).get(node.name, {}), (start.formats[source], start.formats[node.name])
                layers[node.name] = _fitted(ideal, fitted[node.name].bits, formats, seen, pairs)
            for x, exact, rough in zip(chosen, meant, read, strict=True):
                exact[node.name] = x if isinstance(node.op, Input) else apply(ideal, [exact[name] for name in node.inputs])
                rough[node.name] = _written(start, layers, node, x, rough)
                for source in set(node.inputs):
                    if last[source] == node.name:
                        del exact[source], rough[source]
    return replace(start, layers=layers)


def _pair(node: Node, exact: Tensor, rough: Tensor, windows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What a layer reads in both networks at the same random places of a window: ``float32[G, N, K]`` each."""
    places = -(-max(FEWEST, PER_WEIGHT * node.weights["weight"][0].numel()) // windows)
    begun, found = generator.get_state(), []
    for x in (exact, rough):
        generator.set_state(begun)
        found.append(patches(x, node, places, generator).transpose(0, 1))
    return found[0], found[1]


class _Sums:
    """What second moments of a layer's input are made of, about vectors ``float32[G, K]`` near the means of what is ``read`` and
    of what would be (``meant``)."""

    def __init__(self, read: Tensor, meant: Tensor) -> None:
        self._about, self.count = (read, meant), 0
        groups, size = read.shape
        self._read, self._meant = torch.zeros(2, groups, size, dtype=torch.float64)
        self._second, self._cross = torch.zeros(2, groups, size, size, dtype=torch.float64)

    def add(self, read: Tensor, meant: Tensor) -> None:
        """So many more vectors ``float32[G, N, K]``."""
        x, wanted = (seen - about[:, None] for seen, about in zip((read, meant), self._about, strict=True))
        self.count += x.shape[1]
        self._read += x.sum(dim=1)
        self._meant += wanted.sum(dim=1)
        self._second += x.transpose(1, 2) @ x
        self._cross += x.transpose(1, 2) @ wanted

    def with_those_of(self, other: _Sums) -> _Sums:
        """Of both, which are about the same vectors."""
        found = _Sums(*self._about)
        found.count = self.count + other.count
        for name in ("_read", "_meant", "_second", "_cross"):
            setattr(found, name, getattr(self, name) + getattr(other, name))
        return found

    def means(self) -> tuple[Tensor, Tensor]:
        """``float64[G, K]`` of what is read and of what would be."""
        read, meant = self._about
        return read + self._read / self.count, meant + self._meant / self.count

    def moments(self) -> tuple[Tensor, Tensor]:
        """About the means, ``float64[G, K, K]``: the second moment of what is read, and its product with what would be."""
        read, meant = self._read / self.count, self._meant / self.count
        along = read[:, :, None]
        return self._second / self.count - along * read[:, None], self._cross / self.count - along * meant[:, None]


def _fitted(
    node: Node,
    bits: int,
    formats: tuple[TensorFormat, TensorFormat],
    seen: Iterable[tuple[Tensor, Tensor]],
    copies: Mapping[int, int],
) -> LayerIntegers:
    """The integers of a layer that is to write what ``node`` does. ``formats``: of what it reads and writes; ``seen``: of several
    windows, what it would read and what it reads; every other one is kept from rounding, which decides on those.

    A copy makes up for the rounding error of its original, and half a step of the tensor lies between them: the mean of the two
    is on a grid twice as fine, of weights and of the tensor."""
    source, target = formats
    halves: list[_Sums] = []
    for i, (meant, read) in enumerate(seen):
        if i == 0:
            halves = [_Sums(read.mean(dim=1), meant.mean(dim=1)) for _ in range(2)]
        halves[i % 2].add(read, meant)
    together = halves[0].with_those_of(halves[1])
    (mean, ideal), (second, cross) = together.means(), together.moments()
    weight = node.weights["weight"]
    rows = weight.reshape(len(mean), -1, mean.shape[1]).double()
    level = torch.maximum(second.diagonal(dim1=1, dim2=2).mean(dim=1), CONSTANT * mean.square().mean(dim=1)).clamp_min(1e-12)
    damping = DAMPING * level[:, None, None] * torch.eye(mean.shape[1]).double()
    solved = torch.linalg.solve(second + damping, (cross + damping) @ rows.transpose(1, 2)).transpose(1, 2)
    moments = [(half if half.count else together).moments()[0].float().numpy() for half in halves]
    found = [round_rows(own.float().numpy(), Curvature(fit, held), bits) for own, fit, held in zip(solved, *moments, strict=True)]
    q, scale = (np.concatenate(parts).astype(np.float32) for parts in zip(*found, strict=True))
    bias = bias_of(node).astype(np.float64)
    if copies:
        taken, origin = list(copies), list(copies.values())
        wanted = 2 * solved[0, taken].float().numpy() - (q * scale[:, None])[origin]
        q[taken], scale[taken] = round_rows(wanted, Curvature(*(own[0] for own in moments)), bits)
        bias[taken] += 0.0 if target.is_float else target.scale / 2
    rounded = torch.from_numpy(q * scale[:, None]).double().view_as(rows)
    moved = (rows * ideal[:, None] - rounded * mean[:, None]).sum(dim=2).flatten().numpy()
    return layer_integers(bits, as_kernel(q.reshape(weight.shape).astype(np.int8)), scale, bias + moved, source)


def _written(
    start: QuantizedGraph, layers: Mapping[str, LayerIntegers | LayerFloats], node: Node, x: Tensor, rough: Mapping[str, Tensor]
) -> Tensor:
    """What a node writes in the quantized network, in real values."""
    formats = start.formats
    if isinstance(node.op, Input):
        return formats[node.name].fake(x)
    inputs = [rough[source] for source in node.inputs]
    if node.name in layers:
        real = as_real(node, layers[node.name], formats[node.inputs[0]])
        value = activate(apply(real.with_op(activation=None), inputs), node.activation, node.weights)
    else:
        value = of_decoded(node, inputs)
    return value if node.op.moves else formats[node.name].fake(value)
