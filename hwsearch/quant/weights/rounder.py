"""Weights of one layer at one width: integers, scales, and the bias that makes up for the mean of their error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from hwmodels.numbers import Int
from hwsearch.quant.network.rewriting import Scales
from hwsearch.quant.observe.moments import Moments
from hwsearch.quant.observe.race import Race
from hwsearch.quant.weights.equalize import input_factors
from hwsearch.quant.weights.rounding import Curvature, cancel_across_channels, largest, nearest, round_rows
from searchspaces.ir.graph import Node, groups_of


@dataclass(frozen=True, eq=False)
class RoundedLayer:
    """``integers int8[O, I/G, kh, kw]`` (``[O, I]`` of a linear layer; int16 above 8 bits), ``scale float32[O]``, ``bias
    float64[O]`` in real values, corrected.

    ``method`` names what won: "nearest", "compensated" or "joint".
    """

    bits: int
    integers: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    method: str

    @property
    def dequantized(self) -> np.ndarray:
        """The weights that the integers stand for, float32 of their shape."""
        found: np.ndarray = self.integers.astype(np.float32) * along(self.scale, self.integers.ndim)
        return found


def along(values: np.ndarray, rank: int) -> np.ndarray:
    """Values ``[O]``, one an output channel, against weights ``[O, ...]`` of that rank."""
    return values.reshape(-1, *[1] * (rank - 1))


def bias_of(node: Node) -> np.ndarray:
    """The bias ``float64[O]`` of a convolution, zero if it has none."""
    bias = node.weights.get("bias")
    return np.zeros(node.weights["weight"].shape[0]) if bias is None else bias.double().numpy()


def corrected_bias(node: Node, weight: np.ndarray, moments: Moments) -> np.ndarray:
    """Bias ``float64[O]`` for changed weights ``[O, I/G, kh, kw]``: the mean of the layer's result stays (Nagel et al. 2019)."""
    groups = groups_of(node)
    error = (node.weights["weight"].numpy() - weight).reshape(groups, -1, moments.mean.shape[1]).astype(np.float64)
    found: np.ndarray = bias_of(node) + np.einsum("gok,gk->go", error, moments.mean.astype(np.float64)).reshape(-1)
    return found


def used_again(node: Node, first: Node, layer: RoundedLayer, moments: Callable[[], Moments]) -> RoundedLayer:
    """The integers of ``layer``, which are those of the convolution ``first``, for a ``node`` that has the same weights, with its
    own bias: corrected where the method does so, by the ``moments`` of what the node reads."""
    if np.array_equal(layer.bias, bias_of(first)):
        return replace(layer, bias=bias_of(node))
    return replace(layer, bias=corrected_bias(node, layer.dequantized, moments()))


def multiplied(node: Node, columns: np.ndarray | None) -> Node:
    """The convolution with weight k of each group multiplied by ``columns float64[G, K]``: what reads an input divided by
    them."""
    if columns is None:
        return node
    weight = node.weights["weight"]
    rows = weight.reshape(groups_of(node), -1, columns.shape[1]) * torch.from_numpy(columns).unsqueeze(1)
    return node.with_weights(weight=rows.reshape(weight.shape).float())


def exchanged(node: Node, layer: RoundedLayer, columns: np.ndarray | None = None) -> Node:
    """The convolution with rounded weights and corrected bias, in floating point. ``columns`` as in ``Rounder``: undone
    here, so that the result reads the input as ``node`` does."""
    rounded = node.with_weights(weight=torch.from_numpy(layer.dequantized), bias=torch.from_numpy(layer.bias).float())
    return rounded if columns is None else multiplied(rounded, 1 / columns)


def columns_of(node: Node, scales: Scales) -> np.ndarray | None:
    """What multiplies the weights of a convolution whose input is divided by ``scales``: ``float64[G, K]``; None for nothing."""
    return None if scales.factors is None else input_factors(node, scales.factors)


class Rounder:
    """Rounds one convolution to any width; what is the same for all widths is worked out once.

    Args:
        moments: of the layer's input.
        gain: ``float64[O, O]``, how noise on the result reaches the output (``gains.Gains.convs``).
        race: compares; None: the errors that cancel across channels are believed.
        columns: ``float64[G, K]``; the layer is rounded for an input whose column k is divided by them.
    """

    def __init__(
        self, node: Node, moments: Moments, gain: np.ndarray, race: Race | None, columns: np.ndarray | None = None
    ) -> None:
        self._original, self._gain, self._race, self._columns = node, gain, race, columns
        self._node = multiplied(node, columns)
        self._moments = moments if columns is None else moments.scaled(columns)
        self._curvatures = [Curvature(*pair) for pair in zip(self._moments.fit, self._moments.held, strict=True)]
        self._rows = self._node.weights["weight"].numpy().reshape(groups_of(node), -1, moments.mean.shape[1])

    def nearest(self, bits: int) -> RoundedLayer:
        """Each weight to the nearest of ``bits`` >= 2, over the whole range."""
        limit, rows = 2 ** (bits - 1) - 1, self._rows.reshape(-1, self._rows.shape[2])
        top = largest(rows) / limit
        return self._layer(bits, nearest(rows, top, limit), top, "nearest")

    def best(self, bits: int) -> RoundedLayer:
        """The integers of ``bits`` >= 2 that disturb least.

        Two ways compete: the best of ``round_rows`` per channel, nearest rounding over the whole range being one of them, and
        that with errors cancelling across channels. The one that adds less noise to the network's output wins. Above 8 bits
        there is nothing to win.
        """
        if Int(bits).is_wide:
            return self.nearest(bits)
        compensated, scales, joint = [], [], []
        for group, (rows, curvature) in enumerate(zip(self._rows, self._curvatures, strict=True)):
            q, s = round_rows(rows, curvature, bits)
            here = slice(group * len(rows), (group + 1) * len(rows))
            compensated.append(q)
            scales.append(s)
            joint.append(cancel_across_channels(rows, q, s, curvature, self._gain[here, here], bits))
        scale = np.concatenate(scales)
        options = [
            self._layer(bits, np.concatenate(joint), scale, "joint"),
            self._layer(bits, np.concatenate(compensated), scale, "compensated"),
        ]
        if self._race is None or np.array_equal(options[0].integers, options[1].integers):
            return options[0]
        return options[self._race.quietest([exchanged(self._original, o, self._columns) for o in options])]

    def _layer(self, bits: int, q: np.ndarray, scale: np.ndarray, method: str) -> RoundedLayer:
        shape = tuple(self._node.weights["weight"].shape)
        integers = q.reshape(shape).astype(np.int16 if Int(bits).is_wide else np.int8)
        weight = integers.astype(np.float32) * along(scale, integers.ndim)
        bias = corrected_bias(self._node, weight, self._moments)
        return RoundedLayer(bits, integers, scale.astype(np.float32), bias, method)


class Rounders:
    """Rounders by layer and scales. The last one is kept: proxies ask for the widths of a layer one after the other. More would
    cost memory, 13 MB for a 3x3 layer of 64 channels and sixteen times as much for 256."""

    def __init__(self, make: Callable[[str, Scales], Rounder]) -> None:
        self._make = make
        self._last: tuple[tuple[str, int], Rounder] | None = None

    def __call__(self, name: str, scales: Scales) -> Rounder:
        key = (name, scales.key)
        if self._last is None or self._last[0] != key:
            self._last = (key, self._make(name, scales))
        return self._last[1]
